"""Summaries of many numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

BOX_SIDES = (8, 16, 32, 64, 96, 128, 256, 512)
"""Pixels: the square root of a box's area. 32 and 96 are COCO's limits of small and medium."""
ASPECTS = (0.25, 0.5, 0.8, 1.25, 2, 4)
"""Width over height."""
OBJECTS = (1, 2, 3, 4, 6, 11, 21, 41, 70)
"""Objects per image; SageMaker's default label width allows 69."""


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of a quantity; all 0 when there are no values."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Spread:
        array = np.asarray(values, np.float64)
        if not array.size:
            return cls(0, 0, 0)
        return cls(float(array.min()), float(np.median(array)), float(array.max()))

    def __str__(self) -> str:
        return f"{self.low:,.6g} to {self.high:,.6g}, median {self.median:,.6g}"


def histogram(
    values: npt.ArrayLike, edges: Sequence[float], *, whole: bool = False
) -> dict[str, int]:
    """The number of values between each edge and the next: ``{"< 16": 0, "16-32": 7, …}``.

    The first bin has no lower limit, the last no upper limit. Empty bins at both ends are left
    out. ``whole`` is for whole numbers and names bins like ``{"1": 184, "2-3": 15}``.
    """
    names = [f"< {edges[0]:g}"]
    for low, high in pairwise(edges):
        last = high - 1 if whole else high
        names.append(f"{low:g}" if low == last else f"{low:g}-{last:g}")
    names.append(f"≥ {edges[-1]:g}")
    bins = np.searchsorted(np.asarray(edges, np.float64), np.asarray(values), "right")
    counts = np.bincount(bins, minlength=len(names))
    nonempty = np.flatnonzero(counts)
    if not len(nonempty):
        return {}
    kept = slice(int(nonempty[0]), int(nonempty[-1]) + 1)
    return dict(zip(names[kept], counts[kept].tolist(), strict=True))
