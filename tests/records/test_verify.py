"""``verify`` in ranges by several workers tells what one range tells."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import recpack
from recpack.cli.app import main
from recpack.problems import Problem
from recpack.records.reader_rules import RULES
from recpack.storage.s3.location import parse_location
from recpack.storage.s3.objects import put
from tests.conftest import Store
from tests.support.devkits import jpeg


@pytest.fixture
def rec(devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is cut into many ranges."""
    monkeypatch.setattr("recpack.records.verify._RANGE", 30_000)
    recpack.convert(devkit, tmp_path / "a.rec")
    return tmp_path / "a.rec"


def verdict(rec: Path, **options: Any) -> tuple[str, list[Problem]]:
    try:
        return json.dumps(asdict(recpack.verify(rec, **options))), []
    except recpack.DataError as error:
        return str(error), error.problems


def every_way(rec: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    """The verdict, which one range in this process and many in several workers agree on."""
    many = [verdict(rec, jobs=jobs, backend=backend, **options)
            for jobs, backend in ((1, None), (2, "fork"), (3, "threading"))]  # fmt: skip
    with monkeypatch.context() as one:
        one.setattr("recpack.records.verify._RANGE", 1 << 40)
        assert many == [verdict(rec, **options)] * 3
    return many[0][0]


def test_a_sound_file(
    rec: Path, devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.loads(every_way(rec, monkeypatch))
    assert (told["records"], told["proof"]) == (120, "read")
    assert (told.pop("rules"), told.pop("reader")) == (["manifest", "recordio", "index"], None)
    rows = (tmp_path / "a.lst", devkit)
    more = json.loads(every_way(rec, monkeypatch, reader="sagemaker", against=rows))
    rules = ["manifest", "recordio", *RULES["sagemaker"], "list"]
    assert (more.pop("rules"), more.pop("reader")) == (rules, "sagemaker")
    verdicts = [one.pop("readers")[0] for one in (told, more)]
    assert [one["verdict"] for one in verdicts] == ["reads, but", "reads"]
    assert [one["unchecked"] for one in verdicts] == [["images"], []]
    assert more == told


def test_lines_of_the_index_in_any_order(rec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = rec.with_suffix(".idx")
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(f"{7 + 3 * number}\t{line.split()[1]}\n" for number, line in
                             reversed(list(enumerate(lines)))))  # fmt: skip
    assert json.loads(every_way(rec, monkeypatch))["records"] == 120


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(["1.0", "1.0", "2.0", "0.0"], id="classification"),
        pytest.param(["1\t0\t1\t0", "0\t0\t1\t1", "0\t1\t0\t0", "1\t1\t1\t1"], id="multi-label"),
        pytest.param([f"2\t5\t{n}\t0.1\t0.2\t0.5\t0.6" for n in range(4)], id="detection"),
    ],
)
def test_what_pack_wrote_is_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: list[str]
) -> None:
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(seed=number))
    rows = zip((2849, 3, 3525, 0), labels, range(4), strict=True)
    text = "".join(f"{index}\t{label}\t{number}.jpg\n" for index, label, number in rows)
    (tmp_path / "a.lst").write_text(text)
    rec = tmp_path / "out" / "a.rec"
    assert main(["pack", str(tmp_path / "a.lst"), str(tmp_path), str(rec)]) == 0
    detection = labels[0].startswith("2")
    assert ("no boxes" in capsys.readouterr().out) is not detection
    for options in ({}, {"reader": "dali"}, {"against": (tmp_path / "a.lst", tmp_path)}):
        assert recpack.verify(rec, **options).records == 4
    assert main(["verify", str(rec)]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{rule} " in out for rule in ("manifest", "recordio", "index"))
    assert main(["verify", str(rec), "--reader", "sagemaker"]) == (0 if detection else 1)
    told = capsys.readouterr()
    if detection:
        assert re.search("sagemaker +reads it\n", told.out)
    else:
        assert "4 records: " in told.err
        assert "rules: manifest, recordio, detection labels" in told.err
        assert "no boxes" in told.err


@pytest.mark.parametrize("where", [0, 100, "middle", "last"])
def test_a_byte_that_changed(rec: Path, monkeypatch: pytest.MonkeyPatch, where: int | str) -> None:
    data = bytearray(rec.read_bytes())
    with recpack.RecordReader(rec) as records:
        offsets = records.offsets.tolist()
    places = {"middle": offsets[60], "last": offsets[-1] + 3}
    data[places[where] if isinstance(where, str) else where] ^= 64
    rec.write_bytes(data)
    assert every_way(rec, monkeypatch).startswith(str(rec))


def test_problems_in_many_ranges(
    rec: Path, devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (tmp_path / "a.lst").read_text().splitlines(keepends=True)
    for row in (3, 50, 119):
        cells = rows[row].split("\t")
        cells[3] = "19"
        rows[row] = "\t".join(cells)
    listed = tmp_path / "other.lst"
    listed.write_text("".join([*rows, rows[0].replace("0\t", "120\t", 1)]))
    told = every_way(rec, monkeypatch, against=(listed, devkit))
    assert "4 records: 3 record-differs, 1 record-missing" in told
    listed.write_text("".join(rows[:100]))
    assert "20 record-surplus" in every_way(rec, monkeypatch, against=(listed, devkit))


def test_an_index_that_leads_elsewhere(rec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = rec.with_suffix(".idx")
    good = index.read_text().splitlines(keepends=True)
    for row, offset in ((60, 4), (0, 4), (119, 1 << 40), (60, 0)):
        lines = list(good)
        lines[row] = f"{row}\t{offset}\n"
        index.write_text("".join(lines))
        assert "its index does not match its records" in every_way(rec, monkeypatch)
    index.write_text("".join(good[:-1]))
    assert "its index does not match its records" in every_way(rec, monkeypatch)
    index.unlink()
    assert "there is no index" in every_way(rec, monkeypatch)


def test_a_file_that_was_cut(rec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rec.write_bytes(rec.read_bytes()[:-1000])
    assert "it is truncated" in every_way(rec, monkeypatch)
    rec.with_suffix(".json").unlink()
    assert "byte" in every_way(rec, monkeypatch)


def test_progress_comes_to_its_end(rec: Path) -> None:
    told: list[recpack.Progress] = []
    recpack.verify(rec, progress=told.append)
    assert [one.done for one in told] == sorted({one.done for one in told})
    assert (told[-1].done, told[-1].total) == (120, 120)
    assert len(told) > 5


def test_on_s3_by_the_command_line(
    devkit: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recpack.records.verify._RANGE", 200_000)
    url = f"s3://{store.bucket}/p/train/train.rec"
    recpack.convert(devkit, url, endpoint_url=store.url)
    command = ["verify", url, "--deep", "--reader", "dali", "--endpoint-url", store.url]
    assert main([*command, "--jobs", "2", "--quiet"]) == 0


def test_what_is_not_on_s3(store: Store) -> None:
    url = f"s3://{store.bucket}/nothing/a.rec"
    with pytest.raises(recpack.DataError, match=r"a\.rec: there is no such object$"):
        recpack.verify(url, endpoint_url=store.url)
    put(store.access, parse_location(url), b"")
    with pytest.raises(recpack.DataError, match="no manifest to compare with; use --deep"):
        recpack.verify(url, endpoint_url=store.url)
