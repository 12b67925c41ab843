"""Nothing is deleted that a run did not make, and nothing that it made is left without a name."""

from __future__ import annotations

import pytest

from tests.support.s3server import Blob
from tests.train.job_walk import JobWalk
from tests.train.walk import Walk

pytestmark = pytest.mark.once


@pytest.mark.parametrize("seed", range(15))
def test_a_walk(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = Walk(seed, monkeypatch)
    walk.run(20)
    assert walk.counts.total() >= 20


@pytest.mark.parametrize("seed", range(10))
def test_a_walk_among_jobs(
    seed: int, packed: dict[str, Blob], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {f"bucket/{key}": blob.data for key, blob in packed.items()}
    walk = JobWalk(seed, monkeypatch, data)
    walk.run(20)
    assert walk.counts.total() == 20
