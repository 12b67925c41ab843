"""MXNet's three readers take what recpack writes."""

from __future__ import annotations

from pathlib import Path

import pytest

import recpack
from tests.conftest import Oracle


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
