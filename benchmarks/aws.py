"""The list step of the AWS sample, written again: ``python benchmarks/aws.py ROOT YEARS OUT.lst``.

It does the same as MXNet's ``example/ssd/tools/prepare_dataset.py``, which the AWS sample uses: the
same look-ups, arrays, checks and formatting, a progress bar for every image, and the import of
OpenCV. (The COCO part, which that tool imports too, is left out.)
"""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = [
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
]  # fmt: skip


def aws_list(root: Path, years: list[str], image_set: str = "trainval") -> str:
    """The tool's list: coordinates from the XML divided by ``<size>``, four decimals, a running
    index, the path relative to the devkit."""
    sets = [_VocSet(root, year, image_set) for year in years]
    total = sum(len(part.ids) for part in sets)
    lines = []
    for index in range(total):
        _progress(index, total)
        part, position = _locate(sets, index)
        label = part.labels[position]
        if label.size < 1:
            continue
        path = os.path.relpath(part.image(position), root)
        row = [str(index), "2", str(label.shape[1])]
        row += [format(value, ".4f") for value in label.ravel()]
        lines.append("\t".join([*row, path]) + "\n")
    return "".join(lines)


class _VocSet:
    """One year. Reads all its labels at the start."""

    def __init__(self, root: Path, year: str, image_set: str) -> None:
        self.folder = os.path.join(root, "VOC" + year)
        file = os.path.join(self.folder, "ImageSets", "Main", image_set + ".txt")
        assert os.path.exists(file)
        with open(file) as lines:
            self.ids = [line.strip() for line in lines.readlines()]
        self.labels = [self._label(id_) for id_ in self.ids]

    def image(self, position: int) -> str:
        file = os.path.join(self.folder, "JPEGImages", self.ids[position] + ".jpg")
        assert os.path.exists(file), f"Path does not exist: {file}"
        return file

    def _label(self, id_: str) -> Any:
        file = os.path.join(self.folder, "Annotations", id_ + ".xml")
        assert os.path.exists(file), f"Path does not exist: {file}"
        root: Any = ElementTree.parse(file).getroot()
        size = root.find("size")
        width, height = float(size.find("width").text), float(size.find("height").text)
        label = []
        for item in root.iter("object"):
            int(item.find("difficult").text)
            name = item.find("name").text
            if name not in CLASSES:
                continue
            box = item.find("bndbox")
            label.append([
                CLASSES.index(name),
                float(box.find("xmin").text) / width, float(box.find("ymin").text) / height,
                float(box.find("xmax").text) / width, float(box.find("ymax").text) / height,
            ])  # fmt: skip
        return np.array(label)


def _locate(sets: list[_VocSet], index: int) -> tuple[_VocSet, int]:
    for part in sets:
        if index < len(part.ids):
            return part, index
        index -= len(part.ids)
    raise IndexError(index)


def _progress(count: int, total: int) -> None:
    filled = round(24 * count / total)
    bar = "=" * filled + "-" * (24 - filled)
    sys.stdout.write(f"[{bar}] {round(100 * count / total, 1)}% ...\r")
    sys.stdout.flush()


if __name__ == "__main__":
    import cv2  # noqa: F401

    Path(sys.argv[3]).write_text(aws_list(Path(sys.argv[1]), sys.argv[2].split(",")))
