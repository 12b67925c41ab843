"""One data set in every format that recpack reads, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tests.support.devkits import box_xml, xml

CLASSES = ("cat", "dog", "a bird")


@dataclass(frozen=True)
class Picture:
    """An image of this size, with boxes of (class id, left, top, right, bottom) in pixels."""

    width: int
    height: int
    boxes: Sequence[tuple[int, float, float, float, float]]

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((self.height, self.width, 3), len(path.stem) * 9, np.uint8)
        path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())

    def name(self, number: int) -> str:
        return f"{number:03}.jpg"


def make_classes(root: Path) -> None:
    """Folders of classes: ``flowers``, and ``sets`` with a training and a validation set; tables of
    the first: ``labels.csv`` and ``tags.csv``."""
    labels, tags = ["image,label"], ["image,daisy,rose,tulip"]
    for rank, name in enumerate(("daisy", "rose", "tulip")):
        for number in range(10):
            picture = Picture(60 + 10 * rank + number, 40, ())
            path = f"{name}/{number}.jpg"
            picture.write(root / "flowers" / path)
            picture.write(root / "sets" / ("val" if number > 7 else "train") / path)
            labels.append(f"flowers/{path},{name}")
            tags.append(f"flowers/{path},{int(rank == 0)},{int(rank == 1)},1")
    (root / "labels.csv").write_text("\n".join(labels))
    (root / "tags.csv").write_text("\n".join(tags))


def write_voc(root: Path, pictures: Sequence[Picture]) -> Path:
    for number, picture in enumerate(pictures):
        picture.write(root / "JPEGImages" / picture.name(number))
        objects = [box_xml(CLASSES[box[0]], box[1:]) for box in picture.boxes]
        text = xml(picture.width, picture.height, *objects)
        path = root / "Annotations" / f"{number:03}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return root


def write_coco(root: Path, pictures: Sequence[Picture]) -> Path:
    """Category ids with gaps, in another order than the names."""
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, picture in enumerate(pictures):
        picture.write(root / "train2017" / picture.name(number))
        images.append({
            "id": 1000 - number, "file_name": picture.name(number),
            "width": picture.width, "height": picture.height,
        })  # fmt: skip
        for id_, left, top, right, bottom in picture.boxes:
            annotations.append({
                "id": len(annotations) + 1, "image_id": 1000 - number, "category_id": 7 + 5 * id_,
                "bbox": [left, top, right - left, bottom - top], "iscrowd": 0,
                "area": (right - left) * (bottom - top), "segmentation": [[left, top] * 3],
            })  # fmt: skip
    categories = [{"id": 7 + 5 * id_, "name": name} for id_, name in enumerate(CLASSES)][::-1]
    document = {"images": images, "annotations": annotations, "categories": categories}
    path = root / "annotations" / "instances_train2017.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    return root


def write_yolo(root: Path, pictures: Sequence[Picture]) -> Path:
    for number, picture in enumerate(pictures):
        picture.write(root / "images" / "train" / picture.name(number))
        rows = []
        for id_, left, top, right, bottom in picture.boxes:
            x, y = (left + right) / 2 / picture.width, (top + bottom) / 2 / picture.height
            sides = ((right - left) / picture.width, (bottom - top) / picture.height)
            rows.append(f"{id_} {x!r} {y!r} {sides[0]!r} {sides[1]!r}\n")
        path = root / "labels" / "train" / f"{number:03}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(rows))
    names = "".join(f"  {id_}: {name}\n" for id_, name in enumerate(CLASSES))
    (root / "data.yaml").write_text(f"path: .\ntrain: images/train\nnames:\n{names}")
    return root


def _sagemaker(picture: Picture) -> dict[str, object]:
    boxes = [
        {"class_id": id_, "left": left, "top": top, "width": right - left, "height": bottom - top}
        for id_, left, top, right, bottom in picture.boxes
    ]
    size = {"width": picture.width, "height": picture.height, "depth": 3}
    return {"image_size": [size], "annotations": boxes}


def write_image_json(root: Path, pictures: Sequence[Picture]) -> Path:
    categories = [{"class_id": id_, "name": name} for id_, name in enumerate(CLASSES)]
    for number, picture in enumerate(pictures):
        picture.write(root / "train" / picture.name(number))
        document = {"file": picture.name(number), "categories": categories, **_sagemaker(picture)}
        path = root / "train_annotation" / f"{number:03}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))
    return root


def write_manifest(root: Path, pictures: Sequence[Picture]) -> Path:
    lines = []
    for number, picture in enumerate(pictures):
        picture.write(root / "photos" / picture.name(number))
        lines.append(json.dumps({
            "source-ref": f"photos/{picture.name(number)}",
            "boxes": _sagemaker(picture),
            "boxes-metadata": {"class-map": dict(enumerate(CLASSES)), "job-name": "x"},
        }))  # fmt: skip
    path = root / "train.manifest"
    path.write_text("\n".join(lines) + "\n")
    return path


WRITERS = {
    "voc": write_voc,
    "coco": write_coco,
    "yolo": write_yolo,
    "image-json": write_image_json,
    "augmented-manifest": write_manifest,
}
