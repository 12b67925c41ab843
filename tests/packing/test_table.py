"""Samples reach workers of every kind: inherited, or sent."""

from __future__ import annotations

import pickle
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import recpack
from recpack.data.samples import Samples
from recpack.packing.table import Span, Table, samples_of
from recpack.sources.lst import read_list
from recpack.storage.s3.client import S3Client
from recpack.workers import fork
from recpack.workers.run import run

KINDS = ["fork", "loky", "threading", "sequential", None]


def paths_of(part: Samples | Span) -> list[str]:
    return list(samples_of(part).paths)


@pytest.fixture
def samples(devkit: Path, tmp_path: Path) -> Samples:
    recpack.write_list(devkit, tmp_path / "a.lst")
    return read_list(tmp_path / "a.lst", devkit, S3Client())


@pytest.mark.parametrize("backend", KINDS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_parts_reach_the_workers(samples: Samples, backend: str | None, jobs: int) -> None:
    if backend == "fork":  # workers that began before the table know nothing of it
        assert list(run(abs, [1, 2], 2, jobs=2, backend=backend)) == [1, 2]
    for order in (None, range(len(samples) - 1, -1, -1)):
        table = samples
        if order is not None:
            table = samples.reorder(np.array(order))
        parts = Table(table, backend, jobs)
        starts = range(0, len(table), 9)
        tasks = (parts.part(start, min(start + 9, len(table))) for start in starts)
        with closing(run(paths_of, tasks, len(starts), jobs=jobs, backend=backend)) as results:
            found = [path for part in results for path in part]
        assert found == [sample.path for sample in table]


def test_nothing_of_a_table_travels_to_forked_workers(samples: Samples) -> None:
    part = Table(samples, "fork", 2).part(0, len(samples))
    assert len(pickle.dumps(part)) < 200
    assert len(pickle.dumps(Table(samples, "loky", 2).part(0, len(samples)))) > 5000


def test_a_table_that_is_gone_is_not_taken_for_another(samples: Samples) -> None:
    """Workers that have an older table can't pack from it."""
    first = Table(samples, "fork", 2)
    sent = pickle.dumps(first.part(0, 3))
    del first
    second = Table(samples.take(np.array(range(3, 6))), "fork", 2)
    with pytest.raises(KeyError):
        pickle.loads(sent)
    assert pickle.dumps(second.part(0, 3)) != sent


@pytest.mark.parametrize("backend", KINDS)
def test_every_kind_of_worker_writes_the_same(
    devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str | None
) -> None:
    recpack.convert(devkit, tmp_path / "a.rec", jobs=1)
    monkeypatch.setattr("recpack.pipeline.write_list._ROWS", 7)
    monkeypatch.setattr("recpack.packing.run._WORTH_A_TASK", 1 << 12)
    monkeypatch.setattr("recpack.sources.base.CHUNK", 16)
    recpack.write_list(devkit, tmp_path / "b.lst", jobs=2, backend=backend)
    recpack.convert(devkit, tmp_path / "c.rec", jobs=2, backend=backend)
    recpack.pack(tmp_path / "a.lst", devkit, tmp_path / "d.rec", jobs=2, backend=backend)
    rows = (tmp_path / "a.lst").read_bytes()
    assert {(tmp_path / name).read_bytes() for name in ("b.lst", "c.lst", "d.lst")} == {rows}
    for suffix in (".rec", ".idx"):
        files = {(tmp_path / f"{name}{suffix}").read_bytes() for name in "acd"}
        assert len(files) == 1
    fork.kill()
