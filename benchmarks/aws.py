"""The AWS way, restated where it is not installed: ``python benchmarks/aws.py ROOT YEARS OUT.lst``.

Only the standard library, so that it starts as fast as it can.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
).split()  # noqa: SIM905


def aws_list(root: Path, years: list[str], image_set: str = "trainval") -> str:
    """What the AWS sample tool's list step writes, restated from its source: coordinates as in
    the XML over ``<size>``, four decimals, running index, path relative to the devkit."""
    lines: list[str] = []
    for year in years:
        folder = root / f"VOC{year}"
        for id_ in (folder / "ImageSets" / "Main" / f"{image_set}.txt").read_text().split():
            tree = ElementTree.parse(folder / "Annotations" / f"{id_}.xml").getroot()
            width = float(tree.findtext("size/width", ""))
            height = float(tree.findtext("size/height", ""))
            label: list[float] = []
            for item in tree.iter("object"):
                label.append(CLASSES.index(item.findtext("name", "")))
                for tag, side in (
                    ("xmin", width), ("ymin", height), ("xmax", width), ("ymax", height)
                ):  # fmt: skip
                    label.append(float(item.findtext(f"bndbox/{tag}", "")) / side)
            text = "\t".join(f"{value:.4f}" for value in label)
            lines.append(f"{len(lines)}\t2\t5\t{text}\tVOC{year}/JPEGImages/{id_}.jpg\n")
    return "".join(lines)


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(aws_list(Path(sys.argv[1]), sys.argv[2].split(",")))
