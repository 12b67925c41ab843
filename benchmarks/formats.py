"""Conversion of the same data from every format, and verification by one worker and by two."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Claim, Table, commands
from benchmarks.setting import Setting, companions, recpack


def tables(setting: Setting) -> Iterator[Table]:
    """Two tables: conversion by format, verification by jobs."""
    devkit = setting.devkit(setting.images)
    root = make_formats(devkit, setting.memory / "formats")
    out = setting.memory / "out.rec"
    outputs = companions(out)
    sources: dict[str, list[object]] = {
        "recpack convert, Pascal VOC": [devkit],
        "COCO": [root, "--from", "coco"],
        "YOLO": [root, "--from", "yolo"],
        "image JSON": [root, "--from", "image-json"],
        "augmented manifest": [root / "train.manifest", "--images", root / "train"],
    }
    works = {
        name: commands(recpack("convert", *source, out, "--quiet"), fresh=outputs)
        for name, source in sources.items()
    }
    voc, *others = works
    claims = [Claim(f"{name} against Pascal VOC", [name], [voc]) for name in others]
    yield Table(f"{setting.images:,} images by format, output in memory", works, claims)
    whole = setting.memory / "whole.rec"
    subprocess.run([*map(str, recpack("convert", devkit, whole, "--quiet"))], check=True)
    verify_works = {
        f"recpack verify --jobs {jobs}": commands(
            recpack("verify", whole, "--reader", "sagemaker", "--jobs", jobs, "--quiet")
        )
        for jobs in (1, 2)
    }
    one, two = verify_works
    yield Table(
        f"verify --reader sagemaker, {setting.images:,} records",
        verify_works,
        [Claim("two jobs against one", [one], [two])],
    )


def make_formats(devkit: Path, root: Path) -> Path:
    """Write a devkit's data in the other formats, all in one folder with one copy of the images."""
    if (root / "data.yaml").exists():
        return root
    command = recpack("convert", devkit, f"{root}/train/", "--no-shuffle", "--quiet")
    subprocess.run(list(map(str, command)), check=True)
    images: list[dict[str, object]] = []
    objects: list[dict[str, object]] = []
    lines: list[str] = []
    names: list[str] = []
    for number, path in enumerate(sorted((root / "train_annotation").iterdir())):
        document = json.loads(path.read_bytes())
        (size,) = document["image_size"]
        width, height = size["width"], size["height"]
        names = [one["name"] for one in document["categories"]]
        file = document["file"]
        images.append({"id": number, "file_name": file, "width": width, "height": height})
        rows = []
        for one in document["annotations"]:
            edges = [one["left"], one["top"], one["width"], one["height"]]
            class_id = one["class_id"]
            objects.append({
                "id": len(objects) + 1, "image_id": number, "category_id": class_id + 1,
                "bbox": edges, "area": edges[2] * edges[3], "iscrowd": 0,
            })  # fmt: skip
            x, y = (edges[0] + edges[2] / 2) / width, (edges[1] + edges[3] / 2) / height
            rows.append(f"{class_id} {x} {y} {edges[2] / width} {edges[3] / height}\n")
        (root / "train" / f"{path.stem}.txt").write_text("".join(rows))
        boxes = {key: document[key] for key in ("image_size", "annotations")}
        lines.append(json.dumps({
            "source-ref": f"s3://bucket/train/{file}", "boxes": boxes,
            "boxes-metadata": {"class-map": dict(enumerate(names))},
        }) + "\n")  # fmt: skip
    categories = [{"id": id_, "name": name} for id_, name in enumerate(names, 1)]
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_train.json").write_text(
        json.dumps({"images": images, "annotations": objects, "categories": categories})
    )
    (root / "train.manifest").write_text("".join(lines))
    (root / "data.yaml").write_text(f"train: train\nnames: {json.dumps(names)}\n")
    return root
