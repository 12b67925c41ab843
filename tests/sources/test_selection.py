"""What is read of a data set: years and image sets mean the same for every format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import recpack
from recpack.sources.selection import Selection
from tests.support.datasets import (
    CLASSES,
    Picture,
    write_coco,
    write_image_json,
    write_voc,
    write_yolo,
)

PICTURES = [Picture(60, 40, [(0, 1, 2, 30, 40)]), Picture(50, 50, [(1, 5, 5, 20, 30)])]


@pytest.mark.parametrize("text", ["a,b", "a, b", " a ,b ", ["a", "b"], ("a", " b")])
def test_names_of_sets_are_read_once(text: str | Sequence[str]) -> None:
    assert Selection(set=text).sets == ("a", "b")
    assert Selection(year=text).years == ("a", "b")


def test_a_year_may_be_a_number() -> None:
    assert Selection(year=2007).years == ("2007",)


def voc(root: Path) -> None:
    """A set for each of two years, which pair with them."""
    for year in ("2007", "2012"):
        write_voc(root / f"VOC{year}", PICTURES)
    for year, name in (("2007", "train"), ("2012", "val")):
        sets = root / f"VOC{year}" / "ImageSets" / "Main"
        sets.mkdir(parents=True)
        (sets / f"{name}.txt").write_text("000\n001\n")


def coco(root: Path) -> None:
    write_coco(root, PICTURES)
    for name in ("train", "val"):
        source = root / "annotations" / "instances_train2017.json"
        shutil.copy(source, root / "annotations" / f"instances_{name}.json")
        shutil.copytree(root / "train2017", root / name)


def yolo(root: Path) -> None:
    for name in ("train", "val"):
        write_yolo(root / name, PICTURES)
    sets = {name: f"{name}/images" for name in ("train", "val")}
    (root / "data.yaml").write_text(json.dumps({"names": list(CLASSES)} | sets))


def image_json(root: Path) -> None:
    write_image_json(root, PICTURES)
    for name in ("", "_annotation"):
        shutil.copytree(root / f"train{name}", root / f"val{name}")


@pytest.mark.parametrize("write", [voc, coco, yolo, image_json])
def test_a_space_between_sets(tmp_path: Path, write: Callable[[Path], None]) -> None:
    root = tmp_path / "data"
    root.mkdir()
    write(root)
    files = []
    for number, sets in enumerate(("train,val", "train, val", ["train", "val"])):
        sink = recpack.MemorySink()
        result = recpack.convert(root, sink, set=sets, classes=CLASSES)
        assert result.manifest.num_samples == 4, number
        files.append(sink.files)
    assert files[0] == files[1] == files[2]
