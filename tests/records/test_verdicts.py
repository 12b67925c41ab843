"""What ``verify`` says of each reader without ``--reader``: never more than its rules say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import recpack
from recpack.cli.app import main
from recpack.errors import DataError
from recpack.formats.recordio import MAGIC
from recpack.records.settings import Reader
from recpack.records.verdicts import Facts
from tests.support.devkits import jpeg
from tests.support.faces import Row, write_records

BOX = [2, 5, 0, 0.1, 0.1, 0.5, 0.5]
NAN = float("nan")


def rows(*labels: Sequence[float]) -> list[Row]:
    return [(key, list(label), jpeg(48, 48, key)) for key, label in enumerate(labels)]


FILES: dict[str, tuple[list[Row], str]] = {
    # the readers that refuse it: sagemaker, mxnet, gluoncv, dali, image-classification, insightface
    "boxes": (rows(BOX, BOX), "smgdc-"),
    "boxes of two lengths": (rows(BOX, BOX + BOX[2:]), "smgd--"),
    "no box": (rows(BOX, [2, 5, -1, -1, -1, -1, -1]), "s-gdc-"),
    "no area": (rows(BOX, [2, 5, 0, 0.1, 0.1, 0.1, 0.5]), "s-gdc-"),
    "pixels": (rows(BOX, [2, 5, 0, 10, 10, 50, 50]), "--gdc-"),
    "not a number": (rows(BOX, [2, 5, 0, NAN, 0.1, 0.5, 0.5]), "--gdc-"),
    "half a class": (rows([2, 5, 0.5, 0.1, 0.1, 0.5, 0.5], BOX), "-mgdc-"),
    "classes": (rows([0], [3], [1]), "---dci"),
    "halves": (rows([0], [0.5]), "---d--"),
    "minus": (rows([0], [-1]), "---d--"),
    "vectors": (rows([1, 0, 1], [0, 0, 1]), "---dc-"),
    "other vectors": (rows([1, 0, 1], [0, 1]), "---d--"),
    "boxes and classes": (rows(BOX, [1]), "---d--"),
    "faces": (
        [
            (0, [3, 5], b""), (1, [0], jpeg(48, 48, 1)), (2, [1], jpeg(48, 48, 2)),
            (3, [1, 2], b""), (4, [2, 3], b""),
        ],
        "---d-i",
    ),
    "a magic id": ([(MAGIC, [1], jpeg(48, 48))], "---"  "-ci"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_verdict_is_that_of_the_rules(name: str, tmp_path: Path) -> None:
    """Who is said to read the file passes its rules, who is said to refuse it does not."""
    rec = tmp_path / "x.rec"
    records, reads = FILES[name]
    write_records(rec, records)
    told = {one.reader: one for one in recpack.verify(rec).readers}
    assert list(told) == [*get_args(Reader), "recpack.torch"]
    for reader, mark in zip(get_args(Reader), reads, strict=True):
        verdict = told[reader].verdict
        assert (verdict == "refuses") == (mark == "-"), reader
        if verdict == "refuses":
            with pytest.raises(DataError):
                recpack.verify(rec, reader=reader)
            continue
        found = recpack.verify(rec, reader=reader)
        again = {one.reader: one for one in found.readers}
        assert (again[reader].verdict, again[reader].unchecked) == ("reads", ())


def test_what_was_not_checked_is_said(tmp_path: Path) -> None:
    """Images are not looked at: nobody claims that a reader takes them."""
    rec = tmp_path / "x.rec"
    write_records(rec, [(0, BOX, b"no image"), (1, BOX, jpeg())])
    told = {one.reader: one for one in recpack.verify(rec).readers}
    assert str(told["sagemaker"]) == "reads it, but not checked: images (--reader sagemaker)"
    assert str(told["mxnet"]) == "reads it"
    with pytest.raises(DataError, match="record-image"):
        recpack.verify(rec, reader="sagemaker")
    (tmp_path / "x.idx").unlink()
    write_records(rec, [(0, BOX, jpeg(48, 48, 1))])
    (tmp_path / "x.idx").unlink()
    told = {one.reader: one for one in recpack.verify(rec, reader="sagemaker").readers}
    assert str(told["sagemaker"]) == "reads it"
    assert str(told["mxnet"]) == "refuses: it has no index of its records beside it"


def test_a_class_that_the_manifest_lacks(tmp_path: Path) -> None:
    rec = tmp_path / "x.rec"
    with recpack.RecordWriter(rec, classes=["a", "b"]) as writer:
        writer.write(jpeg(), label=1)
    path = tmp_path / "x.json"
    path.write_text(path.read_text().replace('"b"', '"c"'))
    manifest = json.loads(path.read_text())
    manifest["classes"], manifest["objects"] = ["a"], {"a": 1}
    path.write_text(json.dumps(manifest))
    told = {one.reader: one for one in recpack.verify(rec).readers}
    why = "class ids (1 record, the first is record 0)"
    assert (told["image-classification"].verdict, told["image-classification"].why) == (
        "refuses", why,
    )  # fmt: skip


def test_a_set_has_the_worst_of_its_shards(tmp_path: Path) -> None:
    labels = [np.array(BOX, np.float32)] * 3 + [np.array([2, 5, 0, 9, 9, 50, 50], np.float32)]
    with recpack.RecordWriter(tmp_path / "x.rec") as writer:
        for label in labels:
            writer.write(jpeg(), label=label)
    recpack.shuffle(tmp_path / "x.rec", tmp_path / "set.rec", shards=4, seed=0)
    told = {one.reader: one for one in recpack.verify(tmp_path / "set.rec").readers}
    assert told["gluoncv"].verdict == "reads"
    assert told["mxnet"].verdict == "refuses"
    assert "-of-00004.rec: ratios (1 record, the first is record 0)" in told["mxnet"].why


def test_facts_of_ranges_add_up() -> None:
    before, after = Facts({"ratios": (2, 5)}, 7), Facts({"ratios": (1, 9), "areas": (1, 8)}, 12)
    both = Facts({"ratios": (3, 5), "areas": (1, 8), "label width": (1, 0)}, 7)
    assert before + after == both == Facts.sum([before, after])
    assert Facts.sum([]) + before == before == before + Facts()


def test_the_command_line_shows_rules_and_readers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec = tmp_path / "x.rec"
    write_records(rec, FILES["classes"][0])
    assert main(["verify", str(rec)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "recordio  each record is whole and where it must be" in lines
    assert "index     its entries are the records" in lines
    detection = "refuses: detection labels (3 records, the first is record 0)"
    assert f"mxnet                 {detection}" in lines
    assert "dali                  reads it" in lines
    assert main(["verify", str(rec), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["readers"]
    assert told[1]["reader"] == "mxnet"
    assert told[4] == {
        "reader": "image-classification", "verdict": "reads, but", "why": "",
        "unchecked": ["images"],
    }  # fmt: skip
