"""The order of a seed."""

from __future__ import annotations

import numpy as np
import pytest

from recpack.scanning.order import random_order


def test_it_is_the_same_for_ever() -> None:
    assert random_order(10, 0).tolist() == [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]
    assert random_order(3, None).tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 70_000])
def test_it_is_numpys_permutation_in_half_the_bytes(count: int) -> None:
    order = random_order(count, 7)
    np.testing.assert_array_equal(order, np.random.RandomState(7).permutation(count))
    assert order.nbytes == 4 * count
