"""Tells rows of a box and keypoints x, y from rows of a polygon, which have as many numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_FEWEST_ROWS = 3
_FEWEST_NUMBERS = 9
_TOLERANCE = 0.01
"""Ratios: keypoints can lie this far outside their box."""


def keypoint_count(rows: Iterable[Sequence[float]]) -> int:
    """The number of keypoints in a row, if all rows look like a class, a box and keypoints; else 0.

    All rows have as many numbers, and the first four are a box with all points in it. In at least
    half of the rows the points fill a good part of this box, and width and height, read as a
    corner, are far from them: so small polygons in the image's centre are none.
    """
    length = total = typical = 0
    for row in rows:
        length = length or len(row)
        if len(row) != length or length < _FEWEST_NUMBERS or not length % 2:
            return 0
        points = [point for point in zip(row[5::2], row[6::2], strict=True) if any(point)]
        far, full = False, bool(points)
        for middle, side, values in zip(
            row[1:3], row[3:5], zip(*points, strict=True), strict=False
        ):
            low, high = min(values), max(values)
            if max(middle - low, high - middle) > side / 2 + _TOLERANCE:
                return 0
            far |= not 2 * low - high <= side <= 2 * high - low
            full &= high - low >= side / 4
        total += 1
        typical += far and full
    return (length - 5) // 2 if total >= _FEWEST_ROWS and typical >= total / 2 else 0
