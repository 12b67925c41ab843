"""What a data set says twice: one name for several class ids, one image in several entries; and ids
that have no name but the user's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recpack
from tests.support.datasets import (
    CLASSES,
    Picture,
    write_coco,
    write_image_json,
    write_manifest,
    write_voc,
    write_yolo,
)  # fmt: skip

OPTIONS = {"shuffle": None, "negatives": "keep", "jobs": 1}
TWO = [
    Picture(60, 40, [(0, 1, 2, 30, 40), (2, 0, 0, 60, 40)]),
    Picture(50, 50, [(1, 5.5, 5, 20.25, 30)]),
]
WRITERS = {
    "coco": write_coco,
    "yolo": write_yolo,
    "image-json": write_image_json,
    "augmented-manifest": write_manifest,
}
WHERE = {
    "coco": "annotations/instances_train2017.json",
    "yolo": "data.yaml",
    "image-json": ".",
    "augmented-manifest": "train.manifest",
}


def rewrite(place: Path, change: Callable[[str], str]) -> None:
    """Change every text of a data set."""
    for path in [place] if place.is_file() else sorted(place.rglob("*")):
        if path.suffix in (".json", ".yaml", ".manifest"):
            path.write_text(change(path.read_text()))


def convert(place: Path, output: Path, **options: Any) -> tuple[list[tuple[str, str]], list[float]]:
    """The problems, and the class of each object."""
    result = recpack.convert(place, output, **OPTIONS | options)
    with recpack.RecordReader(output) as records:
        classes = [float(id_) for record in records for id_ in record.boxes[:, 0]]
    return [(problem.code, problem.file) for problem in result.problems], classes


@pytest.mark.parametrize("source", WRITERS)
def test_one_name_for_two_ids_is_told(tmp_path: Path, source: str) -> None:
    place = WRITERS[source](tmp_path / "in", TWO)
    rewrite(place, lambda text: text.replace("a bird", "cat"))
    found = convert(place, tmp_path / "a.rec")
    assert found == ([("class-repeated", WHERE[source])], [0.0, 0.0, 1.0])
    assert recpack.check(place, jobs=1).classes == {"cat": 2, "dog": 1}
    with pytest.raises(recpack.DataError, match=r"'cat': (0, 2|7, 17)"):
        convert(place, tmp_path / "b.rec", strict=True)
    # the remedy: each id has its own name
    place = WRITERS[source](tmp_path / "again", TWO)
    assert convert(place, tmp_path / "c.rec") == ([], [0.0, 2.0, 1.0])


def test_a_category_that_only_groups_can_have_the_name_of_its_only_class(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "in", [Picture(60, 40, [(0, 1, 2, 30, 40)])])
    path = root / WHERE["coco"]
    document = json.loads(path.read_text())
    document["categories"] = [
        {"id": 0, "name": "cat", "supercategory": "none"},
        {"id": 7, "name": "cat", "supercategory": "cat"},
    ]
    path.write_text(json.dumps(document))
    assert convert(root, tmp_path / "a.rec") == ([], [0.0])


def test_a_name_twice_in_classes_is_refused() -> None:
    with pytest.raises(recpack.ConfigError, match="classes named twice: a; name each once"):
        recpack.ClassMap.parse(["a", "b", "a"])


def image_json_twice(root: Path, change: Callable[[str], str]) -> Path:
    write_image_json(root, TWO)
    text = (root / "train_annotation/000.json").read_text()
    (root / "train_annotation/again.json").write_text(change(text))
    return root


def manifest_twice(root: Path, change: Callable[[str], str]) -> Path:
    path = write_manifest(root, TWO)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, change(lines[0])]))
    return path


def manifest_by_another_path(root: Path, change: Callable[[str], str]) -> Path:
    path = manifest_twice(root, change)
    *lines, last = path.read_text().splitlines()
    path.write_text("\n".join([*lines, last.replace('"source-ref": "', '"source-ref": "./')]))
    return path


@pytest.mark.parametrize("write", [image_json_twice, manifest_twice, manifest_by_another_path])
def test_an_image_listed_twice(
    tmp_path: Path, write: Callable[[Path, Callable[[str], str]], Path]
) -> None:
    # the same said twice counts once
    place = write(tmp_path / "same", lambda text: text)
    (problem,) = recpack.check(place, jobs=1).problems
    assert (problem.code, problem.severity) == ("image-repeated", "warning")
    assert convert(place, tmp_path / "a.rec")[1] == [0.0, 2.0, 1.0]
    # different things: nobody knows whether they belong together
    place = write(tmp_path / "other", lambda text: text.replace('"left": 1', '"left": 3'))
    with pytest.raises(recpack.DataError) as caught:
        convert(place, tmp_path / "b.rec")
    assert [one.code for one in caught.value.problems] == ["image-repeated"] * 2
    assert convert(place, tmp_path / "c.rec", on_error="skip")[1] == [1.0]


def test_an_image_that_two_voc_annotations_name(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "in", TWO)
    text = (root / "Annotations/000.xml").read_text()
    text = text.replace("<filename></filename>", "<filename>000.jpg</filename>")
    again, options = root / "Annotations/again.xml", {"classes": ",".join(CLASSES)}
    again.write_text(text)
    found = convert(root, tmp_path / "a.rec", **options)
    assert found == ([("image-repeated", "JPEGImages/000.jpg")], [0.0, 2.0, 1.0])
    again.write_text(text.replace("<xmin>1<", "<xmin>3<"))
    checked = recpack.check(root, jobs=1, **options)
    assert (checked.samples, checked.fatal) == (1, 1)
    with pytest.raises(recpack.DataError, match="1 file: the image or its id is listed more than"):
        convert(root, tmp_path / "b.rec", **options)
    left_out = convert(root, tmp_path / "c.rec", on_error="skip", **options)
    assert left_out == ([("image-repeated", "JPEGImages/000.jpg")], [1.0])


def test_a_coco_name_in_two_folders_is_neither(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "in", TWO)
    (root / "train2017").rename(root / "first")
    assert convert(root, tmp_path / "a.rec")[0] == []
    shutil.copytree(root / "first", root / "second")
    with pytest.raises(recpack.DataError) as caught:
        convert(root, tmp_path / "b.rec")
    assert {one.code for one in caught.value.problems} == {"path-ambiguous"}
    assert "first/000.jpg, second/000.jpg" in str(caught.value)
    assert convert(root, tmp_path / "c.rec", images=root / "first")[0] == []
    # a name that only one folder has is found there
    (root / "first/000.jpg").unlink()
    (root / "second/001.jpg").unlink()
    assert [code for code, _ in convert(root, tmp_path / "d.rec")[0]] == ["path-resolved"] * 2


def without_names(text: str) -> str:
    document = json.loads(text)
    document.pop("categories", None)
    for value in document.values():
        if isinstance(value, dict):
            value.pop("class-map", None)
    return json.dumps(document)


@pytest.mark.parametrize("write", [write_image_json, write_manifest])
def test_ids_without_names_get_those_of_the_user(
    tmp_path: Path, write: Callable[[Path, list[Picture]], Path]
) -> None:
    place = write(tmp_path / "in", TWO)
    rewrite(place, lambda text: "\n".join(map(without_names, text.splitlines())))
    with pytest.raises(
        recpack.DataError, match="name all in the order of their ids with --classes"
    ):
        convert(place, tmp_path / "a.rec")
    classes = ",".join(CLASSES)
    assert convert(place, tmp_path / "b.rec", classes=classes) == ([], [0.0, 2.0, 1.0])
    with pytest.raises(recpack.DataError, match="class-undefined"):
        convert(place, tmp_path / "c.rec", classes="cat,dog")
    # names of the files count: the user's only choose and order them
    named = write(tmp_path / "named", TWO)
    order = ",".join(reversed(CLASSES))
    assert convert(named, tmp_path / "d.rec", classes=order) == ([], [2.0, 0.0, 1.0])
