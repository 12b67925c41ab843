"""The same bytes as im2rec.py for a folder for each class: its lists and its records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import recpack
from tests.conftest import Oracle
from tests.equality.test_aws import assert_equal_files
from tests.sources.test_layouts import images, lay

NAMES = [
    "a/c/1.jpg", "a/2.png", "a b/1.jpeg", "a/C/1.JPG", "z/1.jpg", "a/10.jpg", "empty/notes.txt",
    "b.d/x.jpg", "caf\N{LATIN SMALL LETTER E WITH ACUTE}/1.jpg", "Z/y.PNG",
]  # fmt: skip
LIST: dict[str, Any] = {"shuffle": None, "precision": 6, "source_format": "folders", "jobs": 1}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = lay(tmp_path / "photos", images(*NAMES))
    for number, path in enumerate(sorted(root.rglob("*.*"))):
        if path.is_file() and path.suffix != ".txt":
            picture = np.full((30, 20 + number, 3), number, np.uint8)
            path.write_bytes(bytes(cv2.imencode(path.suffix.lower(), picture)[1]))
    (root / "link").symlink_to("z")
    (root / "z" / "2.jpg").symlink_to("1.jpg")
    return root


def test_the_list_and_the_records(oracle: Oracle, photos: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "theirs" / "x"
    prefix.parent.mkdir()
    oracle("im2rec", [str(prefix), str(photos), "--list", "--recursive", "--no-shuffle"])
    recpack.write_list(photos, tmp_path / "x.lst", **LIST)
    assert (tmp_path / "x.lst").read_bytes() == prefix.with_suffix(".lst").read_bytes()
    assert len((tmp_path / "x.lst").read_text().splitlines()) == 12
    oracle("im2rec", [str(prefix), str(photos), "--pass-through"])
    (tmp_path / "convert").mkdir()
    result = recpack.convert(photos, tmp_path / "convert" / "x.rec", **LIST)
    assert_equal_files(tmp_path / "convert" / "x.rec", prefix.with_suffix(".rec"))
    assert not [one for one in result.problems if one.action == "re-encoded"]
    recpack.pack(prefix.with_suffix(".lst"), photos, tmp_path / "pack.rec")
    assert_equal_files(tmp_path / "pack.rec", prefix.with_suffix(".rec"))


def test_a_shuffled_list_of_im2rec(oracle: Oracle, photos: Path, tmp_path: Path) -> None:
    """Its order is that of Python's own generator, so a list of im2rec is the way to keep it."""
    prefix = tmp_path / "theirs" / "x"
    prefix.parent.mkdir()
    ratios = ["--train-ratio", "0.5", "--test-ratio", "0.25"]
    oracle("im2rec", [str(prefix), str(photos), "--list", "--recursive", *ratios])
    for part in ("train", "val", "test"):
        rows = prefix.with_name(f"x_{part}.lst")
        oracle("im2rec", [str(rows.with_suffix("")), str(photos), "--pass-through"])
        recpack.pack(rows, photos, tmp_path / f"{part}.rec")
        assert_equal_files(tmp_path / f"{part}.rec", rows.with_suffix(".rec"))


@pytest.mark.parametrize("several", [False, True], ids=["one class", "several"])
def test_mxnet_reads_the_labels(oracle: Oracle, tmp_path: Path, several: bool) -> None:
    lay(tmp_path / "theirs", images("a.jpg", "b.jpg", "c.jpg"))
    text = "a.jpg,dog|cat\nb.jpg,cat\nc.jpg,cow|dog\n" if several else "a.jpg,b\nb.jpg,a\nc.jpg,b\n"
    (tmp_path / "theirs" / "x.csv").write_text(text)
    recpack.convert(tmp_path / "theirs" / "x.csv", tmp_path / "x.rec", shuffle=None, jobs=1)
    expected = [[1, 0, 1], [1, 0, 0], [0, 1, 1]] if several else [[1], [0], [1]]
    rec, index = tmp_path / "x.rec", tmp_path / "x.idx"
    assert oracle("class_iter", rec, index, len(expected[0])) == expected
    assert oracle("data_set", rec) == expected
    prefix = tmp_path / "theirs" / "x"
    prefix.with_suffix(".lst").write_bytes((tmp_path / "x.lst").read_bytes())
    arguments = [str(prefix), str(prefix.parent), "--pass-through", "--pack-label"]
    oracle("im2rec", arguments)
    assert_equal_files(rec, prefix.with_suffix(".rec"))
