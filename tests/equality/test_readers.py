"""MXNet's readers take what recpack writes, and what ``recpack verify`` says that they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import recpack
from recpack.records.settings import Reader
from tests.conftest import Oracle
from tests.support.devkits import encode_record, jpeg


@pytest.fixture(scope="module", params=["plain", "resized", "column"])
def rec(
    request: pytest.FixtureRequest, devkit: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("readers") / "train.rec"
    options = {"plain": {}, "resized": {"resize": 80}, "column": {"difficult": "column"}}
    recpack.convert(devkit, path, jobs=2, segment_size="512KiB", **options[request.param])
    return path


def test_indexed_record_io(oracle: Oracle, rec: Path) -> None:
    theirs = oracle("read", rec, rec.with_suffix(".idx"))
    with recpack.RecordReader(rec) as records:
        ours = [[r.id, r.label.tolist(), r.image_bytes.hex()] for r in records]
    assert theirs == ours
    assert [row[0] for row in ours] == list(range(120))


def test_image_det_iter(oracle: Oracle, rec: Path) -> None:
    labels = oracle("det_iter", rec, rec.with_suffix(".idx"))
    with recpack.RecordReader(rec) as records:
        for record, label in zip(records, labels, strict=True):
            real = [row for row in label if row[0] >= 0]
            assert real == record.boxes.tolist()


def test_image_det_record_iter(oracle: Oracle, rec: Path) -> None:
    manifest = recpack.Manifest.read(rec.with_suffix(".json"))
    batches = oracle("record_iter", rec, manifest.label_width)
    assert len(batches) == manifest.num_samples == 120
    with recpack.RecordReader(rec) as records:
        for record, (shape, label) in zip(records, batches, strict=True):
            assert shape == [1, 3, 64, 64]
            # four numbers of the iterator's own (shape and count) stand before the label
            count = len(record.label)
            assert label[3] == count
            assert label[4 : 4 + count] == record.label.tolist()


def test_the_manifest_has_the_smallest_label_width_that_mxnet_takes(
    oracle: Oracle, rec: Path
) -> None:
    width = recpack.Manifest.read(rec.with_suffix(".json")).label_width
    with pytest.raises(RuntimeError, match="label_pad_width"):
        oracle("record_iter", rec, width - 1)


READERS: tuple[Reader, ...] = ("sagemaker", "mxnet", "gluoncv", "dali")
BOXES: list[list[float]] = [[2, 5, number, 0.25, 0.25, 0.5, 0.75] for number in range(4)]


def write(
    folder: Path,
    ids: Sequence[int],
    keys: Sequence[int],
    lines: Sequence[int] = range(4),
    labels: Sequence[list[float]] = BOXES,
) -> Path:
    """A file of 4 records with these ids, and its index: keys in the order of the records, lines in
    this order."""
    records = [encode_record(ids[i], labels[i], jpeg(seed=i)) for i in range(4)]
    rows = [f"{keys[i]}\t{sum(map(len, records[:i]))}\n" for i in range(4)]
    (folder / "a.rec").write_bytes(b"".join(records))
    (folder / "a.idx").write_text("".join(rows[i] for i in lines))
    return folder / "a.rec"


@pytest.mark.parametrize(
    ("ids", "keys", "lines"),
    [
        pytest.param([2, 0, 3, 1], [2, 0, 3, 1], range(4), id="im2rec-shuffled"),
        pytest.param([1, 2, 3, 4], [1, 2, 3, 4], range(4), id="from-one"),
        pytest.param([0, 0, 0, 0], [0, 1, 2, 3], range(4), id="all-ids-equal"),
        pytest.param([0, 1, 2, 3], [907, 3, 55, 4], range(4), id="keys-without-order"),
        pytest.param([0, 1, 2, 3], [0, 1, 2, 3], [3, 1, 0, 2], id="lines-without-order"),
    ],
)
def test_ids_and_keys_are_free(
    oracle: Oracle,
    tmp_path: Path,
    ids: Sequence[int],
    keys: Sequence[int],
    lines: Sequence[int],
) -> None:
    rec = write(tmp_path, ids, keys, lines)
    index = rec.with_suffix(".idx")
    for reader in (None, *READERS):
        assert recpack.verify(rec, reader=reader).records == 4
    by_line = [BOXES[line] for line in lines]
    assert [row[0] for row in oracle("det_iter", rec, index)] == [label[2:] for label in by_line]
    assert oracle("data_set", rec) == by_line
    assert [label[4:11] for _, label in oracle("record_iter", rec, 7)] == BOXES


@pytest.mark.parametrize("label", [[1.0], [1.0, 0.0, 1.0, 0.0]], ids=["scalar", "multi-label"])
def test_classification_is_sound_and_no_detection(
    oracle: Oracle, tmp_path: Path, label: list[float]
) -> None:
    rec = write(tmp_path, [2849, 2804, 3525, 482], [2849, 2804, 3525, 482], labels=[label] * 4)
    index = rec.with_suffix(".idx")
    assert recpack.verify(rec).rules == ("recordio", "index")
    assert recpack.verify(rec, reader="dali").rules == ("recordio", "index", "headers")
    assert oracle("class_iter", rec, index, len(label)) == [label] * 4
    assert oracle("data_set", rec) == [label] * 4
    for reader in ("sagemaker", "mxnet", "gluoncv"):
        with pytest.raises(recpack.DataError, match=r"floats?, no boxes"):
            recpack.verify(rec, reader=reader)
    with pytest.raises(RuntimeError, match=r"Label shape is invalid|no attribute 'ravel'"):
        oracle("det_iter", rec, index)


def test_a_record_without_an_image_ends_gluon(oracle: Oracle, tmp_path: Path) -> None:
    rec = write(tmp_path, range(4), range(4))
    table = encode_record(4, [2, 5, 0, 0.25, 0.25, 0.5, 0.75], b"")
    with rec.with_suffix(".idx").open("a") as index:
        index.write(f"4\t{rec.stat().st_size}\n")
    with rec.open("ab") as file:
        file.write(table)
    assert recpack.verify(rec).records == 5
    for reader in ("sagemaker", "mxnet", "gluoncv"):
        with pytest.raises(recpack.DataError, match="a label and no image"):
            recpack.verify(rec, reader=reader)
    with pytest.raises(RuntimeError, match=r"decode|empty"):
        oracle("data_set", rec)


def test_a_key_twice_hides_a_record(oracle: Oracle, tmp_path: Path) -> None:
    rec = write(tmp_path, range(4), [0, 1, 1, 3])
    assert oracle("data_set", rec) == [BOXES[0], BOXES[2], BOXES[2], BOXES[3]]
    with pytest.raises(recpack.RecordError, match="a key appears twice"):
        recpack.verify(rec, reader="gluoncv")
    assert recpack.verify(rec, reader="sagemaker").records == 4  # reads no index
    rec.with_suffix(".idx").unlink()
    assert recpack.verify(rec, reader="sagemaker").records == 4
    with pytest.raises(recpack.DataError, match=r"make one: recpack index .*a\.rec"):
        recpack.verify(rec)
