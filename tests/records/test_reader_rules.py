"""``verify --reader`` and ``--against``: what each reader demands, told with record and byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import recpack
from recpack.cli.app import main
from recpack.formats.recordio import MAGIC, Record
from recpack.records.reader_rules import rule_of
from recpack.records.settings import Reader
from tests.sources.test_wild import encoded, pixels
from tests.support.devkits import box_xml, jpeg, make_voc, xml

GOOD = [2, 5, 1, 0.1, 0.1, 0.5, 0.5]

READERS = get_args(Reader)[:4]  # for object detection


def record(label: list[float], image: bytes | None = None, id_: int = 0) -> Record:
    vector = np.array(label, np.float32)
    return Record(id_, 0, len(vector), vector, jpeg() if image is None else image, 99)


@pytest.mark.parametrize(
    ("label", "image", "codes"),
    [
        (GOOD, None, {}),
        ([4.0], None, dict.fromkeys(["sagemaker", "mxnet", "gluoncv"], "record-label")),
        ([2, 5], None, dict.fromkeys(["sagemaker", "mxnet", "gluoncv"], "record-label")),
        ([2, 5, -1, -1, -1, -1, -1], None, {"mxnet": "record-no-box"}),
        ([2, 5, 0, 0.5, 0.5, 0.5, 0.9], None, {"mxnet": "record-no-box"}),
        ([2, 5, 1, 10, 20, 30, 40], None, dict.fromkeys(["sagemaker", "mxnet"], "box-pixels")),
        ([2, 5, 1.5, 0.1, 0.1, 0.5, 0.5], None, {"sagemaker": "record-class"}),
        (GOOD, encoded(".jpg", pixels(1)), {"sagemaker": "record-image"}),
        (GOOD, b"none", {"sagemaker": "record-image"}),
        (GOOD, b"", dict.fromkeys(["sagemaker", "mxnet", "gluoncv"], "record-empty")),
        ([5, 7], b"", dict.fromkeys(["sagemaker", "mxnet", "gluoncv"], "record-empty")),
    ],
)
def test_what_readers_demand(
    label: list[float], image: bytes | None, codes: dict[str, str]
) -> None:
    for reader in READERS:
        found = [problem.code for problem in rule_of(reader, None)(record(label, image), 3)]
        assert found == ([codes[reader]] if reader in codes else []), reader


def test_the_class_that_is_wrong_is_named() -> None:
    label = [2, 5, 1.5, 0.1, 0.1, 0.5, 0.5, 7, 0.1, 0.1, 0.5, 0.5]
    (problem,) = rule_of("sagemaker", None)(record(label), 3)
    assert (problem.code, problem.field, problem.value) == ("record-class", "class id", "1.5")


def test_dali_breaks_on_a_magic_id() -> None:
    (problem,) = rule_of("dali", None)(record(GOOD, id_=MAGIC), 12)
    assert (problem.code, problem.file) == ("record-magic", "record 12 at byte 99")
    assert not list(rule_of("mxnet", None)(record(GOOD, id_=MAGIC), 12))
    # RecordIO finds the magic word at multiples of 4 bytes only
    assert not list(rule_of("dali", None)(record(GOOD, id_=MAGIC << 8), 12))
    (problem,) = rule_of("dali", None)(record(GOOD, id_=MAGIC << 32), 12)


@pytest.mark.parametrize("reader", READERS)
def test_what_convert_makes_is_good_for_all(devkit: Path, tmp_path: Path, reader: str) -> None:
    recpack.convert(devkit, tmp_path / "a.rec")
    against = (tmp_path / "a.lst", devkit)
    assert recpack.verify(tmp_path / "a.rec", reader=reader, against=against).records == 120


def test_every_problem_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, image in enumerate((jpeg(), jpeg(seed=1), encoded(".jpg", pixels(1)))):
        (tmp_path / f"{number}.jpg").write_bytes(image)
        size = (60, 40) if number < 2 else pixels(1).shape[1::-1]
        text = xml(*size, box_xml("cat", (1, 1, 9, 9)))
        (tmp_path / f"{number}.xml").write_text(text)
    recpack.convert(tmp_path, tmp_path / "o" / "a.rec", shuffle=None)
    rec, rows = tmp_path / "o" / "a.rec", tmp_path / "o" / "a.lst"
    # the gray image was encoded anew, as convert does
    recpack.verify(rec, reader="sagemaker", against=(rows, tmp_path))
    (tmp_path / "1.jpg").write_bytes(jpeg(seed=2))
    lines = rows.read_text().splitlines()
    lines[0] = lines[0].replace("\t7.0\t", "\t8.0\t")
    rows.write_text("\n".join([*lines, lines[0].replace("0\t2", "3\t2", 1)]) + "\n")
    command = ["verify", str(rec), "--against", str(rows), str(tmp_path), "--json"]
    assert main(command) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [(one["code"], one["field"]) for one in problems] == [
        ("record-differs", "label"), ("record-differs", "image"), ("record-missing", ""),
    ]  # fmt: skip
    assert problems[1]["file"].startswith("record 1 at byte ")
    rows.write_text(lines[1] + "\n")
    (tmp_path / "1.jpg").unlink()
    assert main(command) == 1
    codes = [one["code"] for one in json.loads(capsys.readouterr().out)["problems"]]
    assert codes == ["record-differs", "image-missing", "record-surplus", "record-surplus"] or (
        codes == ["image-missing", "record-surplus", "record-surplus"]
    )
    with pytest.raises(SystemExit, match="2"):
        main(["verify", str(rec), "--reader", "none"])
    assert main(["verify", str(rec), "--against", "none.lst", str(tmp_path)]) == 1


def test_a_label_longer_than_the_manifest_says(tmp_path: Path) -> None:
    make_voc(tmp_path / "d", {"2007": 9})
    recpack.convert(tmp_path / "d", tmp_path / "a.rec")
    manifest = json.loads((tmp_path / "a.json").read_text()) | {"label_width": 7}
    (tmp_path / "a.json").write_text(json.dumps(manifest))
    with pytest.raises(recpack.DataError, match="label is longer than the manifest says"):
        recpack.verify(tmp_path / "a.rec", reader="sagemaker")


def test_every_missing_row_is_told(tmp_path: Path) -> None:
    make_voc(tmp_path / "d", {"2007": 40})
    recpack.convert(tmp_path / "d", tmp_path / "all.rec", shuffle=None)
    rows = (tmp_path / "all.lst").read_text().splitlines(keepends=True)
    (tmp_path / "few.lst").write_text("".join(rows[:5]))
    recpack.pack(tmp_path / "few.lst", tmp_path / "d", tmp_path / "few.rec")
    with pytest.raises(recpack.DataError) as caught:
        recpack.verify(tmp_path / "few.rec", against=(tmp_path / "all.lst", tmp_path / "d"))
    missing = [one.file for one in caught.value.problems if one.code == "record-missing"]
    assert missing == [row.rstrip("\n").rpartition("\t")[2] for row in rows[5:]]


def test_what_was_found_before_a_broken_record_is_told_too(tmp_path: Path) -> None:
    make_voc(tmp_path / "d", {"2007": 9})
    recpack.convert(tmp_path / "d", tmp_path / "a.rec")
    manifest = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(manifest | {"label_width": 7}))
    with recpack.RecordReader(tmp_path / "a.rec") as records:
        wide = [record.offset for record in records if len(record.label) > 7]
        last = records[-1].offset
    data = bytearray((tmp_path / "a.rec").read_bytes())
    data[last] ^= 255
    (tmp_path / "a.rec").write_bytes(data)
    with pytest.raises(recpack.RecordError) as caught:
        recpack.verify(tmp_path / "a.rec", reader="sagemaker")
    told = [one.file for one in caught.value.problems]
    assert told == [one for one in told if any(f"byte {offset}" in one for offset in wide)] != []
