"""A folder for each class."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recpack
from recpack.formats.image_codec import decode
from recpack.formats.manifest import Source
from recpack.storage.s3.location import parse_location
from recpack.storage.s3.objects import put
from recpack.storage.trees.local import LocalFolder
from tests.cli.test_cli import run
from tests.conftest import Store
from tests.sources.test_layouts import XML, coco, images, lay
from tests.sources.test_wild import encoded, exif, pixels
from tests.support.archives import make_tar, make_zip
from tests.support.devkits import jpeg

OPTIONS: dict[str, Any] = {"shuffle": None, "jobs": 1}


def rows(root: Path | str, output: Path, **options: Any) -> list[str]:
    """The rows of the list: ``label path``."""
    recpack.write_list(root, output, overwrite=True, **(OPTIONS | options))
    return [" ".join(line.split("\t")[1:]) for line in output.read_text().splitlines()]


def test_convert_list_and_check_without_an_option(tmp_path: Path) -> None:
    root = lay(tmp_path / "in", images("dog/a.jpg", "cat/b.JPG", "cat/a.jpg"))
    (root / "cat" / "b.JPG").write_bytes(jpeg(60, 40))
    result = recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    manifest = result.manifest
    assert manifest.classes == ("cat", "dog")
    assert dict(manifest.objects) == {"cat": 2, "dog": 1}
    assert (manifest.label_width, manifest.header_width, manifest.object_width) == (1, 0, 0)
    assert manifest.source == Source("folders", ("all",))
    with recpack.RecordReader(tmp_path / "a.rec") as records:
        found = [(one.flag, one.label.tolist(), one.kind) for one in records]
    assert found == [(0, [id_], "class") for id_ in (0, 0, 1)]
    assert (
        tmp_path / "a.lst"
    ).read_text() == "0\t0.0\tcat/a.jpg\n1\t0.0\tcat/b.JPG\n2\t1.0\tdog/a.jpg\n"
    assert rows(root, tmp_path / "b.lst") == ["0.0 cat/a.jpg", "0.0 cat/b.JPG", "1.0 dog/a.jpg"]
    check = recpack.check(root, jobs=1)
    assert (check.labels, check.samples, check.classes) == ("class", 3, {"cat": 2, "dog": 1})
    assert check.class_images == {"cat": 2, "dog": 1}
    assert not check.refused
    assert (check.box_sides, check.aspects) == ({}, {})
    assert recpack.verify(tmp_path / "a.rec").records == 3


def test_nested_folders_in_the_order_of_a_walk(tmp_path: Path) -> None:
    """A folder before those in it; ``a b`` before ``a/c``, as names are sorted, not paths."""
    root = lay(
        tmp_path / "in",
        images("a/c/1.jpg", "a/2.jpg", "a b/1.jpg", "a/C/1.jpg", "z/1.jpg", "a/10.jpg"),
    )
    assert rows(root, tmp_path / "a.lst", source_format="folders") == [
        "0.0 a/10.jpg", "0.0 a/2.jpg", "1.0 a/C/1.jpg", "2.0 a/c/1.jpg", "3.0 a b/1.jpg",
        "4.0 z/1.jpg",
    ]  # fmt: skip
    assert list(recpack.check(root, jobs=1).classes) == ["a", "a/C", "a/c", "a b", "z"]


@pytest.mark.parametrize(
    "files",
    [
        ["animals/cat/1.jpg", "animals/dog/1.jpg", "plants/rose/1.jpg"],
        ["animals/cat/1.jpg", "animals/dog/1.jpg"],
        ["train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg"],
        [
            "cat/1.jpg",
            "cat/.DS_Store",
            "dog/1.jpg",
            "dog/Thumbs.db",
            ".git/x",
            "__MACOSX/cat/._1.jpg",
            "README.md",
        ],
        ["cat/1.jpg", "train/1.jpg", "boat/1.jpg"],
        ["training_set/cat/1.jpg", "training_set/dog/1.jpg", "test_set/cat/1.jpg"],
        ["train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg", "extra/cat/1.jpg", "train/x.jpg"],
        ["boat/1.jpg", "test/1.jpg", "train/1.jpg"],
        ["mask/1.jpg", "no_mask/1.jpg"],
    ],
    ids=lambda files: files[0],
)
def test_is_detected(tmp_path: Path, files: list[str]) -> None:
    root = lay(tmp_path / "in", images(*files))
    check = recpack.check(root, jobs=1, set="all")
    assert check.scope.format == "folders"
    assert not [name for name in check.classes if name.startswith(("train", "val", "test"))] or (
        "boat" in check.classes
    )


@pytest.mark.parametrize(
    "files",
    [
        ["img/1.jpg", "mask/1.png"],
        ["Images/1.jpg", "Labels/1.png"],
        ["train/images/1.jpg", "train/masks/1.png", "val/images/1.jpg", "val/masks/1.png"],
        ["test/1.jpg", "train/1.jpg"],
    ],
    ids=lambda files: files[0],
)
def test_pictures_with_masks_are_no_classes(tmp_path: Path, files: list[str]) -> None:
    with pytest.raises(recpack.DataError):
        recpack.check(lay(tmp_path / "in", images(*files)), jobs=1)


def test_other_formats_come_first(tmp_path: Path) -> None:
    coco_set = lay(
        tmp_path / "coco",
        images("train/1.jpg", "other/2.jpg") | {"annotations/instances_train.json": coco("1.jpg")},
    )
    assert recpack.check(coco_set, jobs=1).scope.format == "coco"
    voc = lay(tmp_path / "voc", images("images/a.jpg", "b/a.jpg") | {"Annotations/a.xml": XML})
    assert recpack.check(voc, jobs=1, classes="auto").scope.format == "voc"
    table = lay(tmp_path / "table", images("a/1.jpg", "b/1.jpg") | {"labels.parquet": "PAR1"})
    with pytest.raises(recpack.DataError, match=r"labels.parquet is a table \(Parquet\)"):
        recpack.check(table, jobs=1)
    assert recpack.check(table, jobs=1, source_format="folders").samples == 2


def test_image_sets_have_the_ids_of_all_sets_together(tmp_path: Path) -> None:
    names = ["train/cat/1.jpg", "train/dog/2.jpg", "val/bird/3.jpg", "val/dog/4.jpg"]
    root = lay(tmp_path / "in", images(*names))
    assert rows(root, tmp_path / "a.lst") == ["1.0 train/cat/1.jpg", "2.0 train/dog/2.jpg"]
    assert rows(root, tmp_path / "a.lst", set="val") == [
        "0.0 val/bird/3.jpg", "2.0 val/dog/4.jpg",
    ]  # fmt: skip
    check = recpack.check(root, jobs=1, set="all")
    assert check.image_sets == {"train": 2, "val": 2}
    absent = [(one.file, one.value, one.severity) for one in check.problems if "absent" in one.code]
    assert absent == [("train", "bird", "note"), ("val", "cat", "note")]
    assert recpack.check(root, jobs=1).scope.others == {"val": 2}


def test_one_folder_that_is_named_like_a_set_is_a_class(tmp_path: Path) -> None:
    root = lay(tmp_path / "in", images("train/steam/1.jpg", "car/1.jpg"))
    assert list(recpack.check(root, jobs=1, source_format="folders").classes) == [
        "car", "train/steam",
    ]  # fmt: skip


def test_sets_one_folder_below(tmp_path: Path) -> None:
    root = lay(
        tmp_path / "in",
        images("flowers/train/a/1.jpg", "flowers/train/b/1.jpg", "flowers/val/a/1.jpg"),
    )
    with pytest.raises(recpack.DataError, match=f"give {root}/flowers$"):
        recpack.check(root, jobs=1, source_format="folders")
    assert recpack.check(root / "flowers", jobs=1).samples == 2
    assert recpack.check(make_tar(root / "flowers", tmp_path / "a.tar"), jobs=1).samples == 2


def test_images_of_no_class_are_errors(tmp_path: Path, capsys: Any) -> None:
    root = lay(tmp_path / "in", images("x.jpg", "cat/1.jpg", "dog/1.jpg"))
    assert run("convert", root, tmp_path / "a.rec") == 1
    message = capsys.readouterr().err
    assert "x.jpg" in message
    assert "the image has no class" in message
    assert "--on-error skip" in message
    skipped = recpack.convert(root, tmp_path / "a.rec", on_error="skip", **OPTIONS)
    assert skipped.manifest.num_samples == 2
    names = ["x.jpg", "train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/y.jpg"]
    check = recpack.check(lay(tmp_path / "sets", images(*names)), jobs=1, set="all")
    assert [(one.file, one.action) for one in check.problems if one.severity == "error"] == [
        ("x.jpg", "error"), ("val/y.jpg", "error"),
    ]  # fmt: skip
    assert [(one.code, one.action) for one in skipped.problems] == [
        ("image-unclassified", "dropped image")
    ]


def test_hidden_and_empty_folders(tmp_path: Path) -> None:
    names = [
        "cat/1.jpg",
        "cat/._1.jpg",
        ".x/1.jpg",
        "__MACOSX/cat/1.jpg",
        "dog/notes.txt",
        "up/in/x",
    ]
    root = lay(tmp_path / "in", images(*names))
    check = recpack.check(root, jobs=1, source_format="folders")
    assert check.classes == {"cat": 1}
    assert [(one.code, one.file) for one in check.problems] == [
        ("class-empty", "dog"), ("class-empty", "up/in"),
    ]  # fmt: skip
    with pytest.raises(
        recpack.DataError, match="there is no image in it; give the folder that holds"
    ):
        recpack.check(root / "dog", jobs=1, source_format="folders")


def test_classes_choose_names_and_ids(tmp_path: Path) -> None:
    root = lay(tmp_path / "in", images("cat/1.jpg", "dog/1.jpg", "tiger/1.jpg"))
    with pytest.raises(recpack.DataError, match=r"1 class is not in the chosen classes: tiger"):
        rows(root, tmp_path / "a.lst", classes="dog,cat")
    assert rows(root, tmp_path / "a.lst", classes="dog,cat=tiger") == [
        "1.0 cat/1.jpg", "0.0 dog/1.jpg", "1.0 tiger/1.jpg",
    ]  # fmt: skip
    check = recpack.check(root, jobs=1, classes="dog,cat", unknown_class="skip")
    assert check.classes == {"dog": 1, "cat": 1}
    assert [(one.code, one.action) for one in check.problems if one.field == "name"] == [
        ("class-unknown", "dropped image")
    ]
    assert "no-objects" not in {one.code for one in check.problems}
    assert rows(root, tmp_path / "a.lst", classes="auto")[2] == "2.0 tiger/1.jpg"


def test_names_that_are_the_same_but_for_white_space(tmp_path: Path) -> None:
    root = lay(tmp_path / "in", images("cat/1.jpg", "cat /2.jpg", "Cat/3.jpg"))
    check = recpack.check(root, jobs=1)
    assert check.classes == {"Cat": 1, "cat": 2}
    problems = {one.code: one for one in check.problems if one.severity == "warning"}
    assert problems["class-repeated"].value == "'cat': cat, cat "
    assert problems["class-similar"].value == "'Cat' (1 image), 'cat' (2 images)"


@pytest.mark.parametrize("name", ["a cat", "caf\N{COMBINING ACUTE ACCENT}e", "a,b", "a=b", "猫"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    root = lay(tmp_path / "in", images(f"{name}/1.jpg", "zebra/1.jpg"))
    for classes in (None, "auto"):
        result = recpack.convert(
            root, tmp_path / "a.rec", classes=classes, overwrite=True, **OPTIONS
        )
        assert set(result.manifest.classes) == {name, "zebra"}
    assert json.loads((tmp_path / "a.json").read_text())["objects"][name] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"difficult": "drop"}, "difficult: only for boxes"),
        ({"one_based": True}, "one_based: only for boxes"),
        ({"box_policy": "drop"}, "box_policy: only for boxes"),
        ({"size_mismatch": "rescale"}, "size_mismatch: only for boxes"),
        ({"negatives": "keep"}, "negatives: keep: an image without a class has no label"),
        ({"images": "cat"}, "images: a folder for each class holds its images"),
        ({"year": "2007"}, "year: only for a devkit, but this is folders"),
    ],
    ids=str,
)
def test_options_that_can_not_apply(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    root = lay(tmp_path / "in", images("cat/1.jpg", "dog/1.jpg"))
    with pytest.raises(recpack.ConfigError, match=message):
        recpack.check(root, jobs=1, source_format="folders", **options)


def test_split_keeps_the_shares_of_the_classes(tmp_path: Path) -> None:
    files = [f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(10)]
    root = lay(tmp_path / "in", images(*files))
    for number, file in enumerate(files):
        (root / file).write_bytes(jpeg(60 + number, 40))
    result = recpack.convert(root, tmp_path / "a.rec", split="0.8/0.2", jobs=1)
    counts = [dict(part.manifest.objects) for part in result.parts]
    assert counts == [{"cat": 8, "dog": 8}, {"cat": 2, "dog": 2}]


def test_images_are_changed_as_asked(tmp_path: Path) -> None:
    root = lay(tmp_path / "in", images("cat/1.jpg", "dog/1.jpg"))
    recpack.convert(root, tmp_path / "a.rec", resize=20, center_crop=True, **OPTIONS)
    with recpack.RecordReader(tmp_path / "a.rec") as records:
        assert [decode(one.image_bytes).shape for one in records] == [(20, 20, 3)] * 2
        assert np.concatenate([one.label for one in records]).tolist() == [0, 1]


def test_damaged_images(tmp_path: Path) -> None:
    root = lay(tmp_path / "in", images("cat/1.jpg", "dog/1.jpg"))
    (root / "cat" / "cut.jpg").write_bytes(jpeg(60, 40)[:-9])
    (root / "cat" / "text.png").write_text("no image")
    (root / "cat" / "folder.jpg").mkdir()
    check = recpack.check(root, jobs=1)
    assert {one.file: one.code for one in check.problems if one.severity == "error"} == {
        "cat/cut.jpg": "image-truncated", "cat/text.png": "image-unknown",
    }  # fmt: skip
    assert check.samples == 2


def test_links(tmp_path: Path) -> None:
    root = lay(tmp_path / "in", images("cat/1.jpg", "dog/1.jpg"))
    lay(tmp_path / "other", images("2.jpg"))
    (root / "bird").symlink_to(tmp_path / "other")
    (root / "cat" / "3.jpg").symlink_to("1.jpg")
    check = recpack.check(root, jobs=1)
    assert [(one.file, one.code) for one in check.problems if one.severity == "error"] == [
        ("bird/2.jpg", "path-unsafe")
    ]
    assert check.classes == {"bird": 0, "cat": 2, "dog": 1}
    assert recpack.check(root, jobs=1, follow_links=True).classes["bird"] == 1
    (root / "cat" / "up").symlink_to("..")
    with pytest.raises(recpack.DataError, match="remove links in a circle"):
        recpack.check(root, jobs=1, source_format="folders")


def test_archives_and_s3_give_the_same(tmp_path: Path, store: Store) -> None:
    names = ["cat/1.jpg", "cat/sub/2.jpg", "dog/1.jpg", ".x/1.jpg", "__MACOSX/cat/1.jpg"]
    root = lay(tmp_path / "photos", images(*names))
    for path in filter(Path.is_file, root.rglob("*")):
        where = parse_location(f"s3://{store.bucket}/photos/{path.relative_to(root)}")
        put(store.access, where, path.read_bytes())
    expected = ["0.0 cat/1.jpg", "1.0 cat/sub/2.jpg", "2.0 dog/1.jpg"]
    there = f"s3://{store.bucket}/photos"
    for place in (
        root, make_tar(root, tmp_path / "a.tar"), make_zip(root, tmp_path / "a.zip"), there,
    ):  # fmt: skip
        options = {"endpoint_url": store.url} if place == there else {}
        found = rows(place, tmp_path / "a.lst", **options)
        assert [row.replace(" photos/", " ") for row in found] == expected


def test_many_classes(tmp_path: Path, capsys: Any) -> None:
    """More than a task has images, and more than a report shows."""
    data = jpeg(8, 8)
    for number in range(1200):
        path = tmp_path / "in" / f"{number:04}" / "1.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    found = rows(tmp_path / "in", tmp_path / "a.lst", jobs=2)
    assert found[1199] == "1199.0 1199/1.jpg"
    assert [float(row.split()[0]) for row in found] == list(range(1200))
    assert run("check", tmp_path / "in", "--report", tmp_path / "a.html") == 0
    assert "  … and 1,100 more\n" in capsys.readouterr().out
    assert "The first 1,000 classes of 1,200." in (tmp_path / "a.html").read_text()


def test_the_page_of_a_check(tmp_path: Path) -> None:
    root = lay(tmp_path / "in", images("cat/1.jpg", "dog/1.jpg", "x.jpg"))
    assert run("check", root, "--report", tmp_path / "a.html", "--quiet") == 1
    page = (tmp_path / "a.html").read_text()
    assert "<h2>Classes <small>2</small></h2>" in page
    assert "image-unclassified" in page
    assert "data:image/jpeg" in page


@pytest.mark.parametrize("output", ["a.manifest", "out/"])
def test_formats_of_boxes_are_refused(tmp_path: Path, output: str) -> None:
    root = lay(tmp_path / "in", images("cat/1.jpg", "dog/1.jpg"))
    with pytest.raises(recpack.ConfigError, match="its format needs boxes"):
        recpack.convert(root, f"{tmp_path}/{output}", jobs=1)
    assert not (tmp_path / output).exists()


def test_a_scan_opens_each_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = lay(tmp_path / "in", images("cat/1.jpg", "cat/2.jpg", "dog/1.jpg"))
    opened = []
    real = LocalFolder._open

    def count(folder: LocalFolder, name: str) -> int:
        opened.append(name)
        return real(folder, name)

    monkeypatch.setattr(LocalFolder, "_open", count)
    recpack.write_list(root, tmp_path / "a.lst", source_format="folders", **OPTIONS)
    assert opened == ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg"]


def test_images_that_not_every_reader_can_read(tmp_path: Path) -> None:
    root = lay(tmp_path / "in", images("cat/1.jpg", "dog/1.jpg"))
    (root / "cat" / "turned.jpg").write_bytes(exif(6))
    (root / "dog" / "gray.png").write_bytes(encoded(".png", pixels(1)))
    result = recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    assert [(one.code, one.file, one.value, one.action) for one in result.problems] == [
        ("image-rotated", "cat/turned.jpg", "6", "re-encoded"),
        ("image-converted", "dog/gray.png", "png, 1 channels of 8 bits", "re-encoded"),
    ]
    with recpack.RecordReader(tmp_path / "a.rec") as records:
        shapes = [decode(one.image_bytes).shape for one in records]
    assert shapes == [(40, 60, 3), (60, 40, 3), (40, 60, 3), (40, 60, 3)]


PART = st.text(st.sampled_from("aB. -_é0"), min_size=1, max_size=3).filter(
    lambda part: part.strip() == part and part[0] != "."
)
FOLDER = st.lists(PART, min_size=1, max_size=3).map("/".join)


@given(st.lists(st.tuples(FOLDER, PART), min_size=1, max_size=8))
@settings(max_examples=25)
def test_any_folders_are_numbered_as_im2rec_does(names: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "in"
        lay(root, images(*(f"{folder}/{name}.jpg" for folder, name in names)))
        expected, ids = [], dict[str, int]()
        for path, folders, files in os.walk(root):  # as im2rec.py does it
            folders.sort()
            for name in sorted(files):
                id_ = ids.setdefault(path, len(ids))
                expected.append(f"{id_}.0 {os.path.relpath(os.path.join(path, name), root)}")
        assert rows(root, Path(folder) / "a.lst", source_format="folders") == expected
