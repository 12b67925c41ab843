"""The order of the samples in each output."""

from __future__ import annotations

import numpy as np

from recpack.columns import Int64, Integers
from recpack.data.samples import Samples
from recpack.scanning.duplicates import duplicate_groups
from recpack.scanning.settings import OrderSettings, parse_fractions
from recpack.scanning.split import split_samples


def orders(samples: Samples, settings: OrderSettings) -> list[Integers]:
    """The positions of the samples for each output (one, or the parts of a split), in order."""
    parts: list[Int64] | None = None
    if settings.split is not None:
        groups = duplicate_groups(samples, jobs=settings.jobs, backend=settings.backend)
        fractions = parse_fractions(settings.split)
        parts = split_samples(samples, groups, fractions, settings.shuffle or 0)
    if parts is None:
        return [random_order(len(samples), settings.shuffle)]
    return [part[random_order(len(part), settings.shuffle)] for part in parts]


def random_order(count: int, seed: int | None) -> Integers:
    """The positions 0 … ``count`` - 1 in the order of a seed; ascending without one. They are int32
    where that is enough, because this is one of the large columns."""
    order: Integers = np.arange(count, dtype=np.int32 if count < 1 << 31 else np.int64)
    if seed is not None:
        # RandomState's stream is frozen by NumPy's compatibility policy (NEP 19)
        np.random.RandomState(seed).shuffle(order)
    return order
