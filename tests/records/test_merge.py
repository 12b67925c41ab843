from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import recpack
from recpack.cli.app import main
from recpack.records.merge import merge
from tests.conftest import Store
from tests.support.devkits import jpeg, make_voc


def test_two_years_are_what_one_conversion_gives(devkit: Path, tmp_path: Path) -> None:
    for year in ("2007", "2012"):
        recpack.convert(devkit, tmp_path / f"{year}.rec", year=year, shuffle=None)
    recpack.convert(devkit, tmp_path / "both.rec", shuffle=None)
    made = merge(tmp_path / "all.rec", [tmp_path / "2007.rec", tmp_path / "2012.rec"])
    for suffix in (".rec", ".idx"):
        both = (tmp_path / f"both{suffix}").read_bytes()
        assert (tmp_path / f"all{suffix}").read_bytes() == both
    whole = recpack.Manifest.read(tmp_path / "both.json")
    for name in ("num_samples", "classes", "label_width", "object_width", "objects"):
        assert getattr(made, name) == getattr(whole, name)
    assert recpack.verify(tmp_path / "all.rec", reader="sagemaker").records == 120


def written(path: Path, classes: list[str], ids: list[list[int]]) -> Path:
    with recpack.RecordWriter(path, classes=classes) as writer:
        for number, row in enumerate(ids):
            boxes = [[id_, 0.125, 0.25, 0.5, 0.75] for id_ in row]
            writer.write(jpeg(seed=number), boxes=boxes)
    return path


def test_classes_meet_by_name(tmp_path: Path) -> None:
    first = written(tmp_path / "a.rec", ["cat", "dog"], [[0, 1], []])
    second = written(tmp_path / "b.rec", ["dog", "eel", "cat"], [[0, 1, 2], [1]])
    made = merge(tmp_path / "c.rec", [first, second, first])
    assert made.classes == ("cat", "dog", "eel")
    with recpack.RecordReader(tmp_path / "c.rec") as records:
        found = [[int(box[0]) for box in record.boxes] for record in records]
        assert [record.id for record in records] == list(range(6))
        assert np.array_equal(records[0].boxes[0][1:], np.float32([0.125, 0.25, 0.5, 0.75]))
    assert found == [[0, 1], [-1], [1, 2, 0], [2], [0, 1], [-1]]
    assert made.objects == {"cat": 3, "dog": 3, "eel": 2}


def test_labels_of_one_number(tmp_path: Path) -> None:
    for name, classes, id_ in (("a", ["x", "y"], 1), ("b", ["y", "z"], 1)):
        with recpack.RecordWriter(tmp_path / f"{name}.rec", classes=classes) as writer:
            writer.write(jpeg(), label=id_)
    merge(tmp_path / "c.rec", [tmp_path / "a.rec", tmp_path / "b.rec"])
    with recpack.RecordReader(tmp_path / "c.rec") as records:
        assert [record.label.tolist() for record in records] == [[1.0], [2.0]]


def test_without_manifests_ids_stay(tmp_path: Path) -> None:
    places = [written(tmp_path / f"{name}.rec", ["x", "y"], [[1]]) for name in "ab"]
    (tmp_path / "b.json").unlink()
    with pytest.raises(recpack.DataError, match=r"b\.rec: it has no manifest, but other"):
        merge(tmp_path / "c.rec", places)
    (tmp_path / "a.json").unlink()
    assert merge(tmp_path / "c.rec", places).classes == ("0", "1")


def test_on_s3(devkit: Path, tmp_path: Path, store: Store) -> None:
    make_voc(tmp_path / "more", {"2007": 5})
    urls = [f"s3://{store.bucket}/{name}/{name}.rec" for name in "abc"]
    recpack.convert(devkit, urls[0], endpoint_url=store.url, shuffle=None)
    recpack.convert(tmp_path / "more", tmp_path / "more.rec", shuffle=None)
    command = ["merge", urls[2], urls[0], str(tmp_path / "more.rec"), "--endpoint-url", store.url]
    assert main([*command, "--quiet"]) == 0
    found = recpack.verify(urls[2], endpoint_url=store.url, deep=True)
    assert found.records == 125


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (str(written(tmp_path / f"{name}.rec", ["x"], [[0]])) for name in "ab")
    for arguments, code, message in (
        ([str(tmp_path / "c.rec"), a], 2, "must be at least 2 (got 1)"),
        ([a, a, b], 2, "is also an input"),
        ([str(tmp_path / "." / "b.rec"), a, b], 2, "is also an input"),
        ([str(tmp_path / "c.rec"), a, str(tmp_path / "none.rec")], 1, "none.rec"),
    ):
        assert main(["merge", *arguments]) == code
        assert message in capsys.readouterr().err
    assert not (tmp_path / "c.rec").exists()
    with pytest.raises(recpack.DataError, match="class id 4 is not in its manifest of 1"):
        odd = written(tmp_path / "o.rec", ["z", "y", "w", "v", "u"], [[4]])
        text = (tmp_path / "o.json").read_text()
        names = '[\n    "z",\n    "y",\n    "w",\n    "v",\n    "u"\n  ]'
        assert names in text
        (tmp_path / "o.json").write_text(text.replace(names, '["z"]'))
        merge(tmp_path / "c.rec", [a, odd])
    assert not (tmp_path / "c.rec").exists()


def test_who_names_the_output_last_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recpack.convert(make_voc(tmp_path / "d", {"2007": 8}), "all.rec", classes="auto")
    recpack.split("all.rec")
    wrong = ["merge", "all_train.rec", "all_val.rec", "m.rec"]
    order = "OUT.rec comes first: recpack merge m.rec all_train.rec all_val.rec"
    before = Path("all_train.rec").read_bytes()
    for words, code, message in (
        (wrong, 1, f"m.rec: No such file or directory; {order}"),
        ([*wrong, "--overwrite"], 1, f"m.rec: No such file or directory; {order}"),
        (["merge", "m.rec", "all_train.rec", "all_val.rec"], 0, ""),
        (wrong, 1, "exists; choose another name or replace it with --overwrite; OUT.rec comes"),
        ([*wrong, "--overwrite"], 2, f"was not made by merge, but m.rec was; {order}\n"),
        (["merge", "m.rec", "all_val.rec", "all_train.rec", "--overwrite"], 0, ""),
        (["merge", "new.rec", "all_val.rec", "none.rec"], 1, "none.rec: No such file or"),
    ):  # fmt: skip
        assert main([*words, "-q"]) == code
        assert message in capsys.readouterr().err
    assert Path("all_train.rec").read_bytes() == before
