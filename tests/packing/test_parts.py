"""How records are cut into the parts of an upload: on paper, and where images come out smaller than
they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import recpack
from recpack.packing.plan import merge_small, plan_cuts
from recpack.sinks.s3 import MAX_PARTS, MIN_PART
from tests.sinks.test_s3_sink import REC, URL, hostile_parts, photographs
from tests.support.s3server import S3Server


@pytest.mark.parametrize(
    ("lengths", "size"),
    [
        (np.full(60_000_000, 100_000), 16 << 20),  # 6 TB
        (np.full(12_000, 500_000_000), 16 << 20),  # 6 TB of huge images
        (np.tile([4_900_000, 6_000_000, 10], 40_000), 5 << 20),
        (np.full(10, 1000), 16 << 20),
        (np.array([1]), 5 << 20),
    ],
    ids=["6 TB", "6 TB, huge", "uneven", "small", "one byte"],
)
def test_parts_on_paper(lengths: np.ndarray, size: int) -> None:
    cuts = plan_cuts(lengths, size, MIN_PART, MAX_PARTS)
    sizes = np.add.reduceat(lengths, cuts[:-1])
    assert cuts[0] == 0
    assert cuts[-1] == len(lengths)
    assert len(sizes) <= MAX_PARTS
    assert (sizes[:-1] >= MIN_PART).all()
    assert sizes.max() <= 5 << 30


def test_runs_of_small_segments_are_joined() -> None:
    assert merge_small([7, 7, 7], 5) == [range(1), range(1, 2), range(2, 3)]
    assert merge_small([1, 1, 9, 2, 2], 5) == [range(3), range(3, 5)]
    assert merge_small([5, 1], 5) == [range(1), range(1, 2)]
    assert merge_small([1], 5) == [range(1)]
    assert merge_small([3, 0, 4], 0) == [range(1), range(1, 2), range(2, 3)]


def test_a_record_writer_never_runs_out_of_parts() -> None:
    class Counted(recpack.MemorySink):
        max_segments = 40

    sink = Counted()
    with recpack.RecordWriter(sink, segment_size=1000) as writer:
        for number in range(3000):
            writer.write(bytes(100), label=number)
    assert len(writer._segments) <= 40
    assert len(sink.files[".rec"]) == writer.manifest.rec["bytes"]  # type: ignore[union-attr]


@pytest.mark.slow
def test_images_that_shrink_fifty_fold(hostile: S3Server, tmp_path: Path) -> None:
    """Planned parts would come out far below 5 MiB; the server refuses such."""
    photos = photographs(tmp_path / "d", 40, 1600, 1200)
    options = {"resize": 500, "quality": 40}
    recpack.convert(photos, tmp_path / "train.rec", **options)
    expected = (tmp_path / "train.rec").read_bytes()
    sources = sum(path.stat().st_size for path in (photos / "JPEGImages").iterdir())
    assert sources > 10 * len(expected)
    for jobs in (1, 2):
        recpack.convert(
            photos, URL, endpoint_url=hostile.url, segment_size="5MiB", jobs=jobs,
            overwrite=True, **options,
        )  # fmt: skip
        assert hostile.rec(REC) == expected


@pytest.mark.slow
def test_images_that_shrink_unevenly(
    hostile: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimate is wrong, so parts that came out too small are packed again with the next."""
    photos = photographs(tmp_path / "d", 60, 900, 700)
    monkeypatch.setattr("recpack.packing.estimate._TRIED", 1)
    monkeypatch.setattr("recpack.packing.run._Packing._estimate", lambda _, lengths: lengths)
    options = {"quality": 50, "reencode": True}
    recpack.convert(photos, tmp_path / "train.rec", **options)
    for jobs in (1, 2):
        hostile.requests.clear()
        recpack.convert(
            photos, URL, endpoint_url=hostile.url, segment_size="5MiB", jobs=jobs,
            overwrite=True, **options,
        )  # fmt: skip
        assert hostile.rec(REC) == (tmp_path / "train.rec").read_bytes()
        assert 1 < len(hostile_parts(hostile)) < 7
