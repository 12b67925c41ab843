from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recpack
from recpack.data.samples import Samples
from recpack.formats.lst import parse_rows
from recpack.scanning.duplicates import duplicate_groups
from recpack.scanning.split import split_samples
from recpack.storage.trees.local import LocalTree
from tests.cli.test_cli import run
from tests.formats.test_lst import samples
from tests.pipeline.test_convert import CAT, small
from tests.support.devkits import box_xml, jpeg, xml


def table(classes: list[list[int]]) -> Samples:
    return samples([[2.0, 5.0, *[v for c in held for v in (c, 0, 0, 1, 1)]] for held in classes])


multilabel = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=10, max_size=60)


@given(multilabel, st.sampled_from([(0.8, 0.2), (0.7, 0.2, 0.1)]), st.integers(0, 3))
def test_every_sample_is_in_one_part(
    classes: list[list[int]], fractions: tuple[float, ...], seed: int
) -> None:
    parts = split_samples(table(classes), np.arange(len(classes)), fractions, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(classes)))
    again = split_samples(table(classes), np.arange(len(classes)), fractions, seed)
    assert [part.tolist() for part in parts] == [part.tolist() for part in again]


@given(multilabel, st.data())
def test_groups_stay_together(classes: list[list[int]], data: st.DataObject) -> None:
    numbers = st.lists(st.integers(0, 9), min_size=len(classes), max_size=len(classes))
    groups = np.array(data.draw(numbers))
    try:
        parts = split_samples(table(classes), groups, (0.5, 0.5), 0)
    except recpack.DataError:
        assert len(set(groups.tolist())) == 1
        return
    assert not set(groups[parts[0]].tolist()) & set(groups[parts[1]].tolist())


def test_classes_are_dealt_out_in_proportion() -> None:
    random = np.random.RandomState(0)
    # class 9 is rare, and always beside a common one
    classes = [[int(random.randint(3))] + ([9] if n < 20 else []) for n in range(1000)]
    parts = split_samples(table(classes), np.arange(1000), (0.8, 0.2), 0)
    assert [len(part) for part in parts] == [800, 200]
    for class_id in (0, 1, 2, 9):
        held = np.array([class_id in row for row in classes])
        share = held[parts[0]].sum() / held.sum()
        assert share == pytest.approx(0.8, abs=0.01)


def test_too_few_samples_are_an_error() -> None:
    with pytest.raises(recpack.DataError, match="no sample is left for val"):
        split_samples(table([[0], [0]]), np.zeros(2, np.int64), (0.8, 0.2), 0)


@pytest.mark.parametrize("text", ["0.8", "0.8/0.3", "1/0", "a/b", "0.25/0.25/0.25/0.25", "-1/2"])
def test_wrong_fractions(text: str) -> None:
    with pytest.raises(recpack.ConfigError, match=r"add up to 1, like 0\.8/0\.2"):
        recpack.Options(split=text)


def test_equal_images_are_one_group(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2), ("c", 1), ("d", 3)):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg(30, 30, seed))
    lines = [f"{n}\t1\t{name}.jpg\n" for n, name in enumerate("abcd")]
    rows = parse_rows(lines, LocalTree(str(tmp_path)))
    sizes = np.array([(tmp_path / f"{name}.jpg").stat().st_size for name in "abcd"])
    from dataclasses import replace

    groups = duplicate_groups(replace(rows, image_bytes=sizes), jobs=1)
    assert groups.tolist() == [0, 1, 0, 3]


def test_two_outputs_from_one_devkit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    devkit = small(tmp_path / "d", CAT, count=40)
    for copy in range(6):  # the last images are copies of the first
        (devkit / "JPEGImages" / f"{34 + copy}.jpg").write_bytes(jpeg(60, 40, copy))
    assert run("convert", devkit, tmp_path / "x.rec", "--split", "0.75/0.25") == 0
    out = capsys.readouterr().out
    assert "x_train.rec" in out
    assert "x_val.rec" in out
    parts = []
    for name in ("train", "val"):
        with recpack.RecordReader(tmp_path / f"x_{name}.rec") as records:
            assert [record.id for record in records] == list(range(len(records)))
            parts.append({record.image_bytes for record in records})
        manifest = recpack.Manifest.read(tmp_path / f"x_{name}.json")
        assert manifest.options["split"] == "0.75/0.25"
        assert manifest.num_samples == pytest.approx({"train": 30, "val": 10}[name], abs=1)
        assert manifest.classes == recpack.VOC_CLASSES
    assert not parts[0] & parts[1]
    assert len(parts[0] | parts[1]) == 34
    first = (tmp_path / "x_train.rec").read_bytes()
    assert run("convert", devkit, tmp_path / "y.rec", "--split", "0.75/0.25", "--jobs", "2") == 0
    assert (tmp_path / "y_train.rec").read_bytes() == first


def test_a_split_is_published_whole_or_not_at_all(tmp_path: Path) -> None:
    devkit = small(tmp_path / "d", CAT, count=10)
    (tmp_path / "x_val.rec").write_text("mine")
    assert run("convert", devkit, tmp_path / "x.rec", "--split", "0.5/0.5") == 1
    (devkit / "Annotations" / "0.xml").write_text(xml(60, 40, "<object/>"))
    assert run("convert", devkit, tmp_path / "y.rec", "--split", "0.5/0.5") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "x_val.rec"]
    with pytest.raises(recpack.ConfigError, match="not a sink"):
        recpack.convert(devkit, recpack.MemorySink(), split="0.5/0.5")


def test_each_part_counts_its_own_problems(tmp_path: Path) -> None:
    devkit = small(tmp_path / "d", CAT, count=20)
    for number in range(6):  # clipped
        box = box_xml("cat", (-9, 4, 30, 20))
        (devkit / "Annotations" / f"{number}.xml").write_text(xml(60, 40, box))
    (devkit / "Annotations" / "19.xml").write_text("<")
    result = recpack.convert(devkit, tmp_path / "x.rec", split="0.5/0.5", on_error="skip", jobs=1)
    train, val = result.parts
    for part, name in ((train, "train"), (val, "val")):
        listed = (tmp_path / f"x_{name}.lst").read_text()
        clipped = sum(f"JPEGImages/{number}.jpg" in listed for number in range(6))
        assert 0 < part.manifest.problems["clipped"]["box-outside"] == clipped
    # an image that is left out is in no part; it counts once, with the first
    assert train.manifest.problems["dropped image"] == {"annotation-malformed": 1}
    assert "dropped image" not in val.manifest.problems
    assert len(result.problems) == 7
    assert result.problems == train.problems + val.problems
    assert (tmp_path / "x_train.quarantine.tsv").exists()
    assert train.manifest.source == val.manifest.source
