"""Data sets of every format: the same data gives the same ``.rec``, and comes back the same."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recpack
from recpack.cli.app import main
from recpack.pipeline import export as exporting
from recpack.pipeline import prepare as preparation
from recpack.records.unpack import unpack
from recpack.scanning.run import ScanResult
from recpack.sinks.image_folder import image_folder
from recpack.sources.open import open_dataset
from recpack.sources.selection import Selection
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import parse_location
from recpack.storage.s3.objects import list_objects, put
from tests.conftest import Store
from tests.support.datasets import (
    CLASSES,
    WRITERS,
    Picture,
    write_image_json,
    write_manifest,
    write_voc,
)
from tests.support.s3server import S3Server


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    exact = st.sampled_from([0.0, 0.25, 0.5])

    def span(side: int) -> tuple[float, float]:
        low = draw(st.integers(0, side - 1)) + draw(exact)
        # two pixels, because a box within the first one is taken for ratios
        return low, min(draw(st.integers(min(int(low) + 2, side), side)) + draw(exact), side)

    boxes = []
    for _ in range(draw(st.integers(0, 4))):
        (left, right), (top, bottom) = span(width), span(height)
        boxes.append((draw(st.integers(0, len(CLASSES) - 1)), left, top, right, bottom))
    return Picture(width, height, boxes)


DATA = st.lists(pictures(), min_size=1, max_size=4).filter(
    lambda found: any(picture.boxes for picture in found)
)
OPTIONS = {"shuffle": None, "negatives": "keep", "jobs": 1}


def files(output: Path) -> tuple[bytes, bytes]:
    return output.read_bytes(), output.with_suffix(".idx").read_bytes()


@settings(max_examples=20)
@given(found=DATA)
@pytest.mark.parametrize("source", sorted(set(WRITERS) - {"voc"}))
def test_every_format_gives_the_rec_of_voc(
    source: str, found: list[Picture], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("data")
    place = WRITERS[source](root / source, found)
    result = recpack.convert(place, root / "a.rec", **OPTIONS)
    voc = write_voc(root / "voc", found)
    expected = recpack.convert(voc, root / "b.rec", classes=CLASSES, **OPTIONS)
    codes = [sorted(one.code for one in each.problems) for each in (result, expected)]
    assert codes[0] == codes[1]
    assert set(codes[0]) <= {"no-objects", "object-repeated"}
    assert result.manifest.classes == CLASSES
    assert files(root / "a.rec") == files(root / "b.rec")
    shutil.rmtree(root)


@settings(max_examples=12)
@given(found=DATA)
@pytest.mark.parametrize(
    ("source", "target"),
    list(itertools.product(sorted(WRITERS), ["voc", "image-json", "augmented-manifest"])),
)
def test_there_and_back(
    source: str, target: str, found: list[Picture], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """source → rec, and source → target → rec."""
    root = tmp_path_factory.mktemp("data")
    place = WRITERS[source](root / source, found)
    options = OPTIONS | {"classes": CLASSES}
    recpack.convert(place, root / "a.rec", **options)
    if target == "voc":
        unpack(root / "a.rec", root / "back")
        back = root / "back"
    elif target == "image-json":
        back = root / "back"
        recpack.convert(place, f"{back}/train/", **options)
    else:
        back = root / "back.manifest"
        recpack.convert(place, back, images_url="s3://bucket/here", **options)
        tree = open_dataset(place, Selection(), S3Client()).root
        options |= {"images": str(tree)}
        prefix = json.loads(back.read_text().splitlines()[0])["source-ref"]
        assert prefix.startswith("s3://bucket/here/")
        # what the references have in common is where the images are
        folder = Path(prefix.removeprefix("s3://bucket/here/")).parent
        options["images"] = str(Path(str(tree)) / folder)
    if target != "voc":
        options.pop("classes")
    recpack.convert(back, root / "b.rec", **options)
    assert files(root / "a.rec") == files(root / "b.rec")
    shutil.rmtree(root)


TWO = [
    Picture(60, 40, [(0, 1, 2, 30, 40), (2, 0, 0, 60, 40)]),
    Picture(50, 50, [(1, 5.5, 5, 20.25, 30)]),
]


@pytest.mark.parametrize("source", sorted(WRITERS))
def test_an_object_twice_in_one_image_is_told(source: str, tmp_path: Path) -> None:
    box = (1, 2.0, 0.0, 30.0, 40.0)
    images = [
        Picture(64, 40, [box, (0, *box[1:]), box, (1, 2.0, 0.0, 30.0, 39.0)]),
        Picture(64, 41, [box]),
    ]
    place = WRITERS[source](tmp_path / "in", images)
    options = {"classes": CLASSES, "jobs": 1}
    check = recpack.check(place, **options)
    (problem,) = check.problems
    assert (problem.code, problem.severity, problem.action) == (
        "object-repeated", "warning", "kept"
    )  # fmt: skip
    assert (problem.object, problem.value) == (3, "2 0 30 40, as object 1")
    assert (check.objects, check.refused) == (5, False)
    with pytest.raises(recpack.DataError, match=r"object-repeated: .*; 1 error"):
        recpack.convert(place, tmp_path / "a.rec", **options, strict=True)


@pytest.mark.parametrize("source", sorted(WRITERS))
def test_the_command_line_tells_them_apart(source: str, tmp_path: Path) -> None:
    place = WRITERS[source](tmp_path / "in", TWO)
    classes = ["--classes", ",".join(CLASSES)] if source == "voc" else []
    assert main(["convert", str(place), str(tmp_path / "a.rec"), "--quiet", *classes]) == 0
    named = ["--from", source, *classes]
    assert main(["convert", str(place), str(tmp_path / "b.rec"), "--quiet", *named]) == 0
    assert main(["check", str(place), "--report", str(tmp_path / "r.html"), *classes]) == 0
    assert main(["list", str(place), str(tmp_path / "c.lst"), "--quiet", *classes]) == 0
    assert files(tmp_path / "a.rec") == files(tmp_path / "b.rec")
    assert (tmp_path / "c.lst").read_bytes() == (tmp_path / "a.lst").read_bytes()


@pytest.mark.parametrize("source", sorted(WRITERS))
def test_the_report_draws_the_boxes(source: str, tmp_path: Path) -> None:
    place = WRITERS[source](tmp_path / "in", [Picture(60, 40, [(0, 1, 2, 30, 55)])])
    classes = ["--classes", ",".join(CLASSES)] if source == "voc" else []
    assert main(["check", str(place), "--report", str(tmp_path / "r.html"), *classes]) == 0
    page = (tmp_path / "r.html").read_text()
    sample, problem = re.findall(
        r'<rect x="([^"]+)" y="([^"]+)" width="([^"]+)" height="([^"]+)" fill="none"', page
    )
    unit = 320 / 60  # of the picture on the page
    assert [float(edge) / unit for edge in sample] == pytest.approx([1, 2, 29, 38], abs=0.01)
    assert [float(edge) / unit for edge in problem] == pytest.approx([1, 2, 29, 53], abs=0.01)
    assert "data:image/jpeg" in page
    assert "box-outside" in page


@pytest.mark.parametrize("source", sorted(WRITERS))
def test_data_sets_on_s3(source: str, tmp_path: Path, store: Store) -> None:
    place = WRITERS[source](tmp_path / "in", TWO)
    for path in sorted((tmp_path / "in").rglob("*")):
        if path.is_file():
            key = f"{source}/{path.relative_to(tmp_path / 'in')}"
            put(store.access, parse_location(f"s3://{store.bucket}/{key}"), path.read_bytes())
    there = f"s3://{store.bucket}/{source}"
    if place.is_file():
        there += f"/{place.name}"
    options = OPTIONS | ({"classes": CLASSES} if source == "voc" else {})
    recpack.convert(place, tmp_path / "a.rec", **options)
    recpack.convert(there, tmp_path / "b.rec", endpoint_url=store.url, **options)
    assert files(tmp_path / "a.rec") == files(tmp_path / "b.rec")
    manifest = f"s3://{store.bucket}/out/x.manifest"
    recpack.convert(there, manifest, endpoint_url=store.url, **options)
    options.pop("classes", None)
    recpack.convert(manifest, tmp_path / "c.rec", endpoint_url=store.url, **options)
    assert files(tmp_path / "a.rec") == files(tmp_path / "c.rec")


def test_images_and_json_files_into_s3(tmp_path: Path, store: Store) -> None:
    place = write_voc(tmp_path / "in", TWO)
    options = OPTIONS | {"endpoint_url": store.url}
    target = f"s3://{store.bucket}/job/train"
    recpack.convert(place, target + "/", classes=CLASSES, **options)
    for folder, suffix in ((target, "jpg"), (target + "_annotation", "json")):
        keys = [key for key, _ in list_objects(store.access, parse_location(folder + "/"))]
        assert keys == [f"000.{suffix}", f"001.{suffix}"]
    recpack.convert(f"s3://{store.bucket}/job", tmp_path / "b.rec", **options)
    recpack.convert(place, tmp_path / "a.rec", classes=CLASSES, **options)
    assert files(tmp_path / "a.rec") == files(tmp_path / "b.rec")
    with pytest.raises(recpack.SinkError, match="is not empty"):
        recpack.convert(place, target + "/", classes=CLASSES, **options)
    with pytest.raises(recpack.SinkError, match="no such bucket"):
        recpack.convert(place, "s3://no-such-bucket/x/", classes=CLASSES, **options)


def test_images_into_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train").mkdir()
    monkeypatch.chdir(tmp_path / "train")
    recpack.convert(write_voc(tmp_path / "in", TWO), "./", **OPTIONS, classes=CLASSES)
    assert len(os.listdir(tmp_path / "train")) == len(TWO)
    assert len(os.listdir(tmp_path / "train_annotation")) == len(TWO)


def test_images_do_not_go_into_the_root_of_a_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can't be replaced, which is said before the work."""
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: path == f"{tmp_path}/disk")
    with pytest.raises(recpack.SinkError, match=r"disk is the root .*; name a folder in it"):
        recpack.convert(write_voc(tmp_path / "in", TWO), f"{tmp_path}/disk/", **OPTIONS)


def test_what_the_files_say(tmp_path: Path) -> None:
    place = write_voc(tmp_path / "in", TWO)
    options = OPTIONS | {"classes": CLASSES}
    recpack.convert(place, f"{tmp_path}/out/val", output_format="image-json", **options)
    document = json.loads((tmp_path / "out/val_annotation/001.json").read_text())
    assert document == {
        "file": "001.jpg",
        "image_size": [{"width": 50, "height": 50, "depth": 3}],
        "annotations": [
            {"class_id": 1, "left": 5.5, "top": 5, "width": 14.75, "height": 25},
        ],
        "categories": [{"class_id": id_, "name": name} for id_, name in enumerate(CLASSES)],
    }
    original = tmp_path / "in/JPEGImages/001.jpg"
    assert (tmp_path / "out/val/001.jpg").read_bytes() == original.read_bytes()
    recpack.convert(place, tmp_path / "x.jsonl", images_url="s3://bucket/p/", **options)
    first, second = map(json.loads, (tmp_path / "x.jsonl").read_text().splitlines())
    assert first["source-ref"] == "s3://bucket/p/JPEGImages/000.jpg"
    assert second["bounding-box"]["annotations"] == document["annotations"]
    assert second["bounding-box-metadata"]["class-map"] == {"1": "dog"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "x.jsonl"]


def test_changed_images_have_the_boxes_of_their_size(tmp_path: Path) -> None:
    place = write_voc(tmp_path / "in", [Picture(60, 40, [(0, 6, 4, 30, 20)])])
    options = OPTIONS | {"classes": CLASSES, "resize": 20}
    recpack.convert(place, f"{tmp_path}/out/", **options)
    document = json.loads((tmp_path / "out_annotation/000.json").read_text())
    assert document["image_size"] == [{"width": 30, "height": 20, "depth": 3}]
    assert document["annotations"] == [
        {"class_id": 0, "left": 3, "top": 2, "width": 12, "height": 8}
    ]
    recpack.convert(place, f"{tmp_path}/gray/", color="gray", **options)
    document = json.loads((tmp_path / "gray_annotation/000.json").read_text())
    assert document["image_size"] == [{"width": 30, "height": 20, "depth": 1}]
    with pytest.raises(recpack.ConfigError, match="can't change images"):
        recpack.convert(place, tmp_path / "x.manifest", **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"split": "0.5/0.5"}, recpack.ConfigError, "split: only for a .rec"),
        ({"difficult": "column"}, recpack.ConfigError, "sixth column"),
        ({"size_mismatch": "rescale"}, recpack.ConfigError, "size_mismatch"),
        ({}, recpack.ConfigError, "--images-url"),
        ({"images_url": "bucket/x"}, recpack.ConfigError, "not an S3 location"),
        (
            {"output_format": "image-json", "output": "s3://bucket/"},
            recpack.ConfigError,
            "a folder",
        ),
        ({"output_format": "image-json", "output": "/"}, recpack.ConfigError, "name a folder"),
        ({"output": "x.rec", "images_url": "s3://bucket"}, recpack.ConfigError, "x.manifest"),
        ({"output": "x/", "images_url": "s3://bucket"}, recpack.ConfigError, "has its images"),
        ({"source_format": "coco"}, recpack.DataError, "there are no coco annotations"),
        ({"source_format": "yolo"}, recpack.DataError, "there are no yolo annotations"),
        ({"source_format": "tfrecord"}, recpack.ConfigError, "source_format: .*tfrecord"),
        ({"output_format": "coco"}, recpack.ConfigError, "output_format: .*'coco'"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, options: dict[str, str], error: type[Exception], message: str
) -> None:
    place = write_voc(tmp_path / "in", TWO)
    given = {"output": tmp_path / "x.manifest"} | options
    output = given.pop("output")
    with pytest.raises(error, match=message):
        recpack.convert(place, output, classes=CLASSES, **given)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_images_that_a_manifest_can_not_change(tmp_path: Path) -> None:
    place = write_voc(tmp_path / "in", TWO)
    gray = cv2.imencode(".jpg", np.zeros((40, 60), np.uint8))[1].tobytes()
    (place / "JPEGImages/000.jpg").write_bytes(gray)
    options = OPTIONS | {"classes": CLASSES, "images_url": "s3://bucket"}
    with pytest.raises(recpack.DataError, match="image-unconverted"):
        recpack.convert(place, tmp_path / "x.manifest", **options)
    with pytest.raises(recpack.DataError, match="image-unconverted"):
        recpack.convert(place, tmp_path / "x.manifest", dry_run=True, **options)
    result = recpack.convert(place, tmp_path / "x.manifest", on_error="skip", **options)
    assert result.manifest.num_samples == 1
    assert len((tmp_path / "x.manifest").read_text().splitlines()) == 1


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that changes after it was judged."""
    place = write_voc(tmp_path / "in", TWO)
    good = (place / "JPEGImages/001.jpg").read_bytes()
    scan_source = preparation.scan_source

    def scan_and_break(*arguments: Any) -> ScanResult:
        found = scan_source(*arguments)
        (place / "JPEGImages/001.jpg").write_bytes(b"nothing")
        return found

    monkeypatch.setattr(exporting, "scan_source", scan_and_break)
    with pytest.raises(recpack.DataError, match=r"image-changed(.|\n)*JPEGImages/001.jpg"):
        recpack.convert(place, f"{tmp_path}/out/", classes=CLASSES, **OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    monkeypatch.undo()
    (place / "JPEGImages/001.jpg").write_bytes(good)
    monkeypatch.setattr(exporting, "scan_source", scan_and_break)
    options = OPTIONS | {"classes": CLASSES, "on_error": "skip"}
    result = recpack.convert(place, f"{tmp_path}/out/", **options)
    assert result.manifest.num_samples == 1
    assert [(one.code, one.action) for one in result.problems] == [
        ("image-changed", "dropped image")
    ]
    names = [
        path.name for folder in ("out", "out_annotation") for path in (tmp_path / folder).iterdir()
    ]
    assert names == ["000.jpg", "000.json"]
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(tmp_path / "out_annotation")
    (place / "JPEGImages/001.jpg").write_bytes(good)
    (tmp_path / "file").write_text("")
    with pytest.raises(recpack.SinkError, match="can't be written"):
        recpack.convert(place, f"{tmp_path}/file/out/", classes=CLASSES, on_error="skip", **OPTIONS)


def test_one_name_in_two_folders(tmp_path: Path) -> None:
    for year in ("2007", "2012"):
        write_voc(tmp_path / f"in/VOC{year}", TWO[:1])
    options = OPTIONS | {"classes": CLASSES}
    recpack.convert(tmp_path / "in", f"{tmp_path}/out/train/", **options)
    names = sorted(path.name for path in (tmp_path / "out/train_annotation").iterdir())
    assert names == ["000.json", "000_1.json"]
    recpack.convert(tmp_path / "out", tmp_path / "b.rec", **OPTIONS)
    recpack.convert(tmp_path / "in", tmp_path / "a.rec", **options)
    assert files(tmp_path / "a.rec") == files(tmp_path / "b.rec")


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("{", "json-malformed", ""),
        ('{"x": ' + "[" * 100_000, "json-malformed", ""),
        ('{"file": "000.jpg"}', "json-malformed", ""),
        ('{"file": "000.jpg", "annotations": [{"class_id": "a"}]}', "json-malformed", ""),
        ('{"file": "../../x.jpg", "annotations": []}', "path-unsafe", "image"),
        ('{"file": "none.jpg", "annotations": []}', "image-missing", "filename"),
        (
            '{"file": "000.jpg", "annotations": [{"class_id": 9, "left": 1, "top": 1, '
            '"width": 5, "height": 5}]}',
            "class-undefined", "class_id",
        ),
    ],
)  # fmt: skip
def test_json_files_that_are_wrong(tmp_path: Path, text: str, code: str, field: str) -> None:
    place = write_image_json(tmp_path / "in", TWO)
    (place / "train_annotation/000.json").write_text(text)
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(place, tmp_path / "a.rec", **OPTIONS)
    problem = next(one for one in caught.value.problems if one.severity == "error")
    assert (problem.code, problem.file) == (code, "train_annotation/000.json")
    assert problem.field == field or code == "json-malformed"
    result = recpack.convert(place, tmp_path / "a.rec", on_error="skip", **OPTIONS)
    assert result.manifest.num_samples == 1


@pytest.mark.parametrize("source", ["image-json", "augmented-manifest"])
def test_numbers_in_quotes_are_the_numbers(tmp_path: Path, source: str) -> None:
    place = WRITERS[source](tmp_path / "in", TWO)
    recpack.convert(place, tmp_path / "a.rec", **OPTIONS)
    file = place / "train_annotation/000.json" if place.is_dir() else place
    text = file.read_text()
    file.write_text(re.sub(r'("(?:class_id|left)": )([0-9.]+)', r'\1"\2"', text))
    assert file.read_text() != text
    recpack.convert(place, tmp_path / "b.rec", **OPTIONS)
    assert files(tmp_path / "a.rec") == files(tmp_path / "b.rec")
    file.write_text(re.sub(r'("left": )[0-9.]+', r'\1"nan"', text))
    with pytest.raises(recpack.DataError, match="number-bad"):
        recpack.convert(place, tmp_path / "c.rec", **OPTIONS)


@pytest.mark.parametrize("classes", [None, "auto", ",".join(CLASSES)])
@pytest.mark.parametrize("source", ["image-json", "augmented-manifest"])
def test_no_class_is_invented(tmp_path: Path, source: str, classes: str | None) -> None:
    place = WRITERS[source](tmp_path / "in", TWO)
    file = place / "train_annotation/000.json" if place.is_dir() else place
    file.write_text(file.read_text().replace('"class_id": 2, "left"', '"class_id": 99, "left"'))
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(place, tmp_path / "a.rec", classes=classes, **OPTIONS)
    (problem,) = caught.value.problems
    assert (problem.code, problem.object, problem.field, problem.value) == (
        "class-undefined", 2, "class_id", "99",
    )  # fmt: skip


@pytest.mark.parametrize("source", sorted(set(WRITERS) - {"yolo"}))
def test_ratios_where_pixels_belong(tmp_path: Path, source: str) -> None:
    """One image of ratios among images of pixels."""
    ratios = Picture(60, 40, [(0, 0.1, 0.2, 0.5, 1.0), (1, 0, 0, 1, 1.0000001)])
    place = WRITERS[source](tmp_path / "in", [*TWO, ratios])
    options = OPTIONS | {"classes": CLASSES}
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(place, tmp_path / "a.rec", **options)
    (problem,) = caught.value.problems
    assert (problem.code, problem.severity) == ("box-ratios", "error")
    assert [float(edge) for edge in problem.value.split()] == [0.1, 0.2, 0.5, 1.0]
    result = recpack.convert(place, tmp_path / "a.rec", on_error="skip", **options)
    assert result.manifest.num_samples == 2


@pytest.mark.parametrize(
    "picture",
    [
        Picture(60, 40, [(0, 0.1, 0.2, 0.5, 1.0), (1, 5, 5, 20, 20)]),
        Picture(8, 8, [(0, 0, 0, 1, 1)]),
        Picture(60, 40, [(0, 0, 0, 0, 0)]),
    ],
)
def test_pixels_that_are_small(tmp_path: Path, picture: Picture) -> None:
    place = write_voc(tmp_path / "in", [*TWO, picture])
    result = recpack.convert(place, tmp_path / "a.rec", **OPTIONS, classes=CLASSES)
    assert {one.code for one in result.problems} <= {"box-empty"}


def test_labels_that_ground_truth_failed_to_make(tmp_path: Path) -> None:
    """The first line too: it does not say which attribute holds the boxes."""
    place = write_manifest(tmp_path / "in", TWO)
    good = place.read_text()
    failed = json.dumps({
        "source-ref": "photos/000.jpg",
        "boxes-metadata": {"failure-reason": "ClientError: expired. ", "job-name": "x"},
    })  # fmt: skip
    place.write_text(f"{failed}\n{good}")
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(place, tmp_path / "a.rec", **OPTIONS)
    (problem,) = caught.value.problems
    assert (problem.code, problem.field, problem.value) == (
        "label-failed", "failure-reason", "ClientError: expired.",
    )  # fmt: skip
    assert problem.file.endswith("train.manifest line 1")
    result = recpack.convert(place, tmp_path / "a.rec", on_error="skip", **OPTIONS)
    assert result.manifest.num_samples == 2
    assert result.manifest.classes == CLASSES
    place.write_text(f"{failed}\n{failed}\n")
    with pytest.raises(recpack.DataError, match="failed to label this image and all others"):
        recpack.convert(place, tmp_path / "b.rec", **OPTIONS)


LINE = '{"source-ref": "photos/000.jpg", "boxes": {"annotations": []}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("{}", "no source-ref with boxes"),
        (
            '{"source-ref": "a.jpg", "c": 0, "c-metadata": {"class-name": "cat"}}',
            "attributes: source-ref, c, c-metadata. Give the output of a job for bounding boxes",
        ),
        ("[]", "line 1: Expected `object`"),
        ('{"x": ' + "[" * 100_000, "line 1: (maximum recursion|.*truncated)"),
        (LINE.replace("}}", '}, "more": {"annotations": []}}'), "are in boxes, more; choose one"),
        (LINE + "\n" + LINE.replace("photos", "s3://b"), "some images are on S3"),
        (
            LINE.replace("photos", "s3://aaa") + "\n" + LINE.replace("photos", "s3://bbb"),
            "in several buckets",
        ),
        (
            LINE.replace("]}", ']}, "boxes-metadata": {"class-map": {"0": "a"}}')
            + "\n"
            + LINE.replace("]}", ']}, "boxes-metadata": {"class-map": {"0": "b"}}'),
            "class 0 is 'a' and 'b'",
        ),
    ],
)  # fmt: skip
def test_manifests_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    place = write_manifest(tmp_path, TWO)
    place.write_text(text)
    with pytest.raises(recpack.RecpackError, match=message):
        recpack.convert(place, tmp_path / "a.rec", **OPTIONS)
    assert not (tmp_path / "a.rec").exists()


def test_a_line_that_is_wrong(tmp_path: Path) -> None:
    place = write_manifest(tmp_path, TWO)
    text = place.read_text().splitlines()
    place.write_text("\n".join([text[0], '{"source-ref": "x"}', "", "{", text[1]]))
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(place, tmp_path / "a.rec", **OPTIONS)
    told = [(one.file.rpartition("/")[2], one.code) for one in caught.value.problems]
    assert told == [
        ("train.manifest line 2", "json-malformed"), ("train.manifest line 4", "json-malformed"),
    ]  # fmt: skip


def test_references_of_strangers_stay_in_the_folder(tmp_path: Path) -> None:
    """Unless --images says where the images are."""
    place = write_manifest(tmp_path / "in", TWO)
    there = str(tmp_path / "photos")
    (tmp_path / "in" / "photos").rename(there)
    text = place.read_text()
    for wrong in (text.replace('"photos', f'"{there}'), text.replace('"photos', '"../photos')):
        place.write_text(wrong)
        with pytest.raises(recpack.DataError) as caught:
            recpack.convert(place, tmp_path / "none.rec", **OPTIONS)
        assert {one.code for one in caught.value.problems} == {"path-unsafe"}
        result = recpack.convert(place, tmp_path / "a.rec", images=there, overwrite=True, **OPTIONS)
        assert result.manifest.num_samples == 2


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    place = write_voc(tmp_path / "in", TWO)
    options = OPTIONS | {"classes": CLASSES}
    for name in ("out.recpack-0123456789abcdef", "out_annotation.recpack-0123456789abcdef"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old.jpg").write_bytes(b"old")
    recpack.convert(place, f"{tmp_path}/out/", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "out_annotation"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000.jpg", "001.jpg"]


def test_folders_of_links_and_of_long_names(tmp_path: Path) -> None:
    place = write_voc(tmp_path / "in", TWO)
    options = OPTIONS | {"classes": CLASSES}
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "mine").write_text("mine")
    for name in ("out.recpack-partial", "out.recpack-0123456789abcdef"):
        (tmp_path / name).symlink_to(tmp_path / "victim")
    recpack.convert(place, f"{tmp_path}/out/", **options)
    assert [path.name for path in (tmp_path / "victim").iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    for name in ("link", "link2_annotation"):
        (tmp_path / name).symlink_to(tmp_path / "empty")
    for name, message in (
        ("link", "link is not a folder"),
        ("link2", "link2_annotation is not a folder"),
        ("n" * 220, "its name is 1 bytes too long"),  # with _annotation
    ):
        with pytest.raises(recpack.SinkError, match=message):
            recpack.convert(place, f"{tmp_path}/{name}/", **options)
    (place / "JPEGImages/000.jpg").rename(place / "JPEGImages" / ("n" * 251 + ".jpg"))
    xml = place / "Annotations/000.xml"
    xml.rename(xml.with_name("n" * 251 + ".xml"))
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(recpack.SinkError, match="its name is 1 bytes too long"):
        recpack.convert(place, f"{tmp_path}/new/", **options)  # n….json is longer
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_two_runs_into_one_folder(tmp_path: Path) -> None:
    place = write_voc(tmp_path / "in", TWO)
    first = image_folder(f"{tmp_path}/out", S3Client())
    with first.filling():
        first.write("mine.jpg", b"mine")
        with pytest.raises(recpack.SinkError, match="another run is writing it"):
            recpack.convert(place, f"{tmp_path}/out/", classes=CLASSES, **OPTIONS)
        first.publish()
    assert (tmp_path / "out" / "mine.jpg").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize("source", sorted(set(WRITERS) - {"voc"}))
def test_options_of_devkits_are_refused(source: str, tmp_path: Path) -> None:
    place = WRITERS[source](tmp_path / "in", TWO)
    with pytest.raises(recpack.ConfigError, match=f"year: only for a devkit, but this is {source}"):
        recpack.convert(place, tmp_path / "a.rec", year="2007")
    with pytest.raises(recpack.ConfigError, match="annotations: only for a devkit"):
        recpack.convert(
            place, tmp_path / "a.rec", annotations="x", images="y", source_format=source
        )


def test_no_image_left_is_an_error(tmp_path: Path) -> None:
    place = write_voc(tmp_path / "in", TWO)
    gray = cv2.imencode(".jpg", np.zeros((60, 60), np.uint8))[1].tobytes()
    for name in ("000.jpg", "001.jpg"):
        (place / "JPEGImages" / name).write_bytes(gray)
    options = OPTIONS | {"classes": CLASSES, "images_url": "s3://bucket", "on_error": "skip"}
    with pytest.raises(recpack.DataError, match="no image is left"):
        recpack.convert(place, tmp_path / "x.manifest", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("output", ["x.manifest", "x/"])
def test_a_dry_run_writes_nothing(tmp_path: Path, output: str) -> None:
    place = write_voc(tmp_path / "in", TWO)
    options = OPTIONS | {"classes": CLASSES, "dry_run": True}
    if output == "x.manifest":
        options["images_url"] = "s3://bucket"
    found = recpack.convert(place, f"{tmp_path}/{output}", **options)
    assert found.manifest.num_samples == 2
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_store_that_fails_says_what_stays(
    tmp_path: Path, hostile: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write_voc(tmp_path / "in", TWO)
    hostile.fault = lambda one: "403" if (one.name, one.count) == ("put_object", 2) else None
    command = ["convert", str(place), "s3://bucket/new/train/", "--classes", ",".join(CLASSES)]
    assert main([*command, "--endpoint-url", hostile.url, "--jobs", "1"]) == 1
    told = capsys.readouterr().err
    assert "access denied" in told
    assert "below s3://bucket/new/train/ stay: remove them" in told
    assert len(hostile.objects) == 1
