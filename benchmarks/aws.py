"""The AWS way's list step, restated: ``python benchmarks/aws.py ROOT YEARS OUT.lst``."""

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
    """What the AWS sample tool's list step writes and does, restated from its source: a look
    whether each file exists, a NumPy array for each image, coordinates as in the XML over
    ``<size>``, four decimals, running index, path relative to the devkit."""
    labels = []
    images = []
    for year in years:
        folder = os.path.join(root, f"VOC{year}")
        for id_ in (root / f"VOC{year}/ImageSets/Main/{image_set}.txt").read_text().split():
            file = os.path.join(folder, "Annotations", id_ + ".xml")
            assert os.path.exists(file)
            tree = ElementTree.parse(file).getroot()
            size = tree.find("size")
            width, height = _number(size, "width"), _number(size, "height")
            label = []
            for item in tree.iter("object"):
                assert _number(item, "difficult") in (0, 1)
                box = item.find("bndbox")
                label.append([
                    CLASSES.index(str(item.findtext("name"))),
                    _number(box, "xmin") / width, _number(box, "ymin") / height,
                    _number(box, "xmax") / width, _number(box, "ymax") / height,
                ])  # fmt: skip
            labels.append(np.array(label))
            images.append(os.path.join(folder, "JPEGImages", id_ + ".jpg"))
    lines = []
    for index, (array, image) in enumerate(zip(labels, images, strict=True)):
        assert os.path.exists(image)
        values = [f"{value:.4f}" for value in array.ravel()]
        path = os.path.relpath(image, root)
        lines.append("\t".join([str(index), "2", str(array.shape[1]), *values, path]) + "\n")
    return "".join(lines)


def _number(element: Any, tag: str) -> float:
    return float(element.find(tag).text)


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(aws_list(Path(sys.argv[1]), sys.argv[2].split(",")))
