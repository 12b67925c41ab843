"""Exports as Roboflow, Label Studio and CVAT write them, with one object an image."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.sources.test_layouts import ROW, XML, coco, images, lay
from tests.support.devkits import jpeg

SETS = ("train", "valid", "test")
NAMES = [f"images/cb0618f{number}-cat.jpg" for number in range(10)]
EXPORTS: dict[str, dict[str, str]] = {
    "roboflow": images(*(f"{name}/a_jpg.rf.1.jpg" for name in SETS))
    | {f"{name}/_annotations.coco.json": coco("a_jpg.rf.1.jpg") for name in SETS},
    "roboflow-yolo": images("train/images/a.jpg", "valid/images/b.jpg")
    | {"train/labels/a.txt": ROW, "valid/labels/b.txt": ROW}
    | {"data.yaml": "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
        "nc: 1\nnames: ['cat']\n"},
    "roboflow-voc": images(*(f"{name}/a.jpg" for name in SETS))
    | {f"{name}/a.xml": XML for name in SETS},
    "label-studio": images(*NAMES) | {"result.json": coco(*NAMES)},
    "label-studio-yolo": images("images/a.jpg") | {"labels/a.txt": ROW, "classes.txt": "cat\n"}
    | {"notes.json": '{"categories": [{"id": 0, "name": "cat"}], "info": {"year": 2026}}'},
    "label-studio-voc": images("images/a.jpg") | {"Annotations/a.xml": XML},
    "cvat": images("images/default/a.jpg") | {"annotations/instances_default.json": coco("a.jpg")},
    "cvat-yolo": images("obj_train_data/a.jpg")
    | {"obj_train_data/a.txt": ROW, "obj.names": "cat\n"}
    | {"obj.data": "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n"}
    | {"train.txt": "data/obj_train_data/a.jpg\n"},
    "cvat-ultralytics": images("images/train/a.jpg")
    | {"labels/train/a.txt": ROW, "train.txt": "data/images/train/a.jpg\n"}
    | {"data.yaml": "path: .\ntrain: train.txt\nnames:\n  0: cat\n"},
    "cvat-voc": images("JPEGImages/a.jpg")
    | {"Annotations/a.xml": XML, "ImageSets/Main/default.txt": "a\n", "labelmap.txt": "# cat"},
}  # fmt: skip


def make_exports(folder: Path) -> None:
    """A zip of each below ``folder``; Label Studio's COCO also unpacked, without its images, and
    beside a list for GluonCV."""
    for name, files in EXPORTS.items():
        root = lay(folder / "exports" / name, files)
        shutil.make_archive(str(folder / name), "zip", root)
    shutil.copytree(folder / "exports/label-studio", folder / "labelled")
    for number, name in enumerate(NAMES):  # equal images would stay in one part of a split
        (folder / "labelled" / name).write_bytes(jpeg(60, 40, number))
    shutil.copytree(folder / "labelled/images", folder / "images")
    served = [f"/data/local-files/?d={name}" for name in NAMES]
    lay(folder, {"label-studio.json": coco(*served)})
    lay(folder / "photos", {"gluon/a.jpg": ""})
    lay(folder, {"gluoncv.lst": "0\t4\t5\t60\t40\t0\t0.1\t0.1\t0.5\t0.5\tgluon/a.jpg\n"})
