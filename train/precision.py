"""VOC's average precision, on arrays: fast enough to be asked after each epoch.

Source: the VOC development kit, ``VOCevaldet``; ``evaluate`` in ``detections`` tells what counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

RECALLS = np.arange(11) * 0.1
"""As GluonCV and others have them: 3 of 10 objects do not reach the fourth, 0.30000000000000004."""

ROUNDING = 1e-9
"""In ratios, an overlap of exactly a half may come out this much below it."""


def average_precisions(
    images: Iterable[tuple[Rows, Rows]], *, overlap: float = 0.5, eleven_points: bool = False
) -> dict[int, float]:
    """Class id → average precision, for each class with objects that are not difficult, by id.

    An image is its detections (n, 6), rows class id, score, xmin, ymin, xmax, ymax, and its objects
    (m, 5 or 6), rows class id, xmin, ymin, xmax, ymax, and 1 when it is difficult. Rows with a
    negative id are padding.
    """
    pairs = [(_rows(found), _rows(objects)) for found, objects in images]
    found, found_in = _flat([one for one, _ in pairs])
    objects, objects_in = _flat([other for _, other in pairs])
    match = _best_objects(found, found_in, objects, objects_in, overlap)
    # highest score first; of equal ones the first image's, and in it the first
    order = np.argsort(-found[:, 1], kind="stable")
    match, ids = match[order], found[order, 0]
    easy = objects[:, 5] != 1
    matched = np.flatnonzero(match >= 0)
    right = np.zeros(len(match), bool)
    right[matched[np.unique(match[matched], return_index=True)[1]]] = True
    counts = np.ones(len(match), bool)
    counts[matched] = easy[match[matched]]
    right, ids = right[counts], ids[counts]
    by_class = np.argsort(ids, kind="stable")
    right, ids = right[by_class], ids[by_class]
    result = {}
    for id_, count in zip(*np.unique(objects[easy, 0], return_counts=True), strict=True):
        start, stop = np.searchsorted(ids, id_, "left"), np.searchsorted(ids, id_, "right")
        result[int(id_)] = _average_precision(right[start:stop], int(count), eleven_points)
    return result


def _rows(rows: Rows) -> Floats:
    """Without padding, as float64 of 6 columns."""
    full = np.zeros((len(rows), 6))
    full[:, : rows.shape[1]] = rows[:, :6]
    return full[full[:, 0] >= 0]


def _flat(parts: list[Floats]) -> tuple[Floats, Ints]:
    """All rows, and the number of the image of each."""
    rows = np.concatenate([np.empty((0, 6)), *parts])
    return rows, np.repeat(np.arange(len(parts)), [len(one) for one in parts])


def _best_objects(
    found: Floats, found_in: Ints, objects: Floats, objects_in: Ints, overlap: float
) -> Ints:
    """For each detection the object of its image and class that it overlaps most, of equal ones the
    first; -1 where that is less than ``overlap``."""
    match = np.full(len(found), -1)
    ids, classes = np.unique(np.concatenate([found[:, 0], objects[:, 0]]), return_inverse=True)
    keys = np.concatenate([found_in, objects_in]) * len(ids) + classes
    wanted, keys = keys[: len(found)], keys[len(found) :]
    order = np.argsort(keys, kind="stable")  # an image's objects of a class stand together
    keys = keys[order]
    first = np.searchsorted(keys, wanted, "left")
    count = np.searchsorted(keys, wanted, "right") - first
    rows = np.repeat(np.arange(len(found)), count)
    starts = np.cumsum(count) - count
    columns = order[np.arange(len(rows)) + np.repeat(first - starts, count)]
    overlaps = iou(found[rows, 2:6], objects[columns, 1:5])
    if len(rows):
        some = count > 0
        best = np.zeros(len(found))
        best[some] = np.maximum.reduceat(overlaps, starts[some])
        enough = (overlaps >= overlap - ROUNDING) & (overlaps > 0)
        good = np.flatnonzero((overlaps == best[rows]) & enough)
        rows, chosen = np.unique(rows[good], return_index=True)
        match[rows] = columns[good[chosen]]
    return match


def iou(one: Floats, other: Floats) -> Floats:
    """Intersection over union, (n,), of boxes (n, 4) in the same unit, pair by pair."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    both = np.maximum(high - low, 0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (one, other)]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = both / (areas[0] + areas[1] - both)
    return np.where(found > 0, found, 0.0)  # of two boxes without an area too


def _average_precision(right: Flags, objects: int, eleven_points: bool) -> float:
    """From which detections of a class are right, highest score first."""
    recall = np.cumsum(right) / objects
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or a higher one
    if eleven_points:
        return float(np.append(best, 0)[np.searchsorted(recall, RECALLS)].mean())
    return float((np.diff(recall, prepend=0) * best).sum())
