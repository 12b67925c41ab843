"""The public names of the algorithm."""

from __future__ import annotations

import pytest

import recpack
from train import ssd


def test_every_public_name_is_there() -> None:
    assert recpack.train.ssd is ssd
    assert all(getattr(ssd, name) is not None for name in ssd.__all__)
    assert set(ssd.__all__) == set(ssd._HOMES)
    with pytest.raises(AttributeError, match=r"'train.ssd' has no attribute 'nothing'"):
        _ = ssd.nothing
