"""Nothing is deleted that a run did not make, and nothing that it made is left without a name."""

from __future__ import annotations

import pytest

from tests.train.walk import Walk

pytestmark = pytest.mark.once


@pytest.mark.parametrize("seed", range(15))
def test_a_walk(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = Walk(seed, monkeypatch)
    walk.run(20)
    assert walk.counts.total() >= 20
