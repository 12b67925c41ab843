"""Choose objects of labels by their class and size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recpack.columns import Float32, Float64, Int64, gather
from recpack.data.labels import is_detection, is_multi_hot, object_positions
from recpack.errors import DataError

_EXACT = 0.01
"""Pixels by which the ratios of a label can miss a box."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What stays of labels. ``ids`` int64 (classes,): the new id of each class, -1 for one that
    goes; None keeps all · ``shortest``: pixels of a box's shorter side, at least · ``background``:
    whether a label stays that has no object left."""

    ids: Int64 | None = None
    shortest: int = 0
    background: bool = False


def choose_objects(
    labels: Float32, widths: Int64, sizes: Float64 | None, choice: Choice
) -> tuple[Int64, Float32, Int64]:
    """What a choice leaves of label vectors, which lie end to end and have these ``widths``: the
    positions of those that stay, their floats, their widths.

    ``sizes`` (n, 2) are the images' width and height in pixels, for a smallest box. A label of one
    class stays if its class does; one of 1 or 0 for each class keeps the columns of the classes
    that stay. Raises DataError for a class that the choice or the labels do not know, and for a
    vector of other numbers.
    """
    labels, bounds = labels.copy(), np.concatenate((np.zeros(1, np.int64), np.cumsum(widths)))
    detection = is_detection(labels, bounds)
    stays = np.ones(len(widths), np.bool_)
    mask = np.ones(len(labels), np.bool_)
    if choice.ids is not None:
        rows = np.flatnonzero(~detection & (widths == 1))
        new = _new_ids(labels[bounds[rows]], choice.ids)
        labels[bounds[rows]], stays[rows] = new, new >= 0
        several = ~detection & (widths > 1)
        for width in np.unique(widths[several]).tolist():
            rows = np.flatnonzero(several & (widths == width))
            floats = bounds[rows][:, None] + np.arange(width)
            columns = _new_columns(labels[floats], choice.ids)
            kept = columns.shape[1]
            labels[floats[:, :kept]], mask[floats[:, kept:]] = columns, False
            stays[rows] = columns.any(1) | choice.background
    positions, object_widths, owners = object_positions(labels, bounds, detection)
    keeps = labels[positions] >= 0
    if choice.ids is not None:
        new = _new_ids(labels[positions], choice.ids)
        labels[positions], keeps = new, new >= 0
    if choice.shortest:
        assert sizes is not None
        sides = [labels[positions + 3] - labels[positions + 1],
                 labels[positions + 4] - labels[positions + 2]]  # fmt: skip
        shorter = np.min(np.stack(sides, axis=1) * sizes[owners], axis=1, initial=np.inf)
        keeps &= shorter >= choice.shortest - _EXACT
    left = np.bincount(owners[keeps], minlength=len(widths))
    empty = detection & (left == 0)
    if not choice.background:
        stays &= ~empty
    # the first object of an empty label becomes the one of -1s, which readers ignore
    first = np.append(True, owners[1:] != owners[:-1])[: len(owners)] & empty[owners]
    labels[_floats(positions[first], object_widths[first])] = -1
    gone = ~keeps & ~first
    mask[_floats(positions[gone], object_widths[gone])] = False
    ends: Int64 = np.concatenate((np.zeros(1, np.int64), np.cumsum(mask, dtype=np.int64)))[bounds]
    chosen = np.flatnonzero(stays)
    labels, ends = gather(labels[mask], ends, chosen)
    return chosen, labels, np.diff(ends)


def _new_ids(old: Float32, ids: Int64) -> Float32:
    real = old >= 0
    wrong = old[real & ((old != np.floor(old)) | (old >= len(ids)))]
    if len(wrong):
        raise DataError(f"class id {wrong[0]:g} in a label, but there are {len(ids)} classes")
    new = np.full(len(old), -1, np.float32)
    new[real] = ids[old[real].astype(np.int64)]
    return new


def _new_columns(table: Float32, ids: Int64) -> Float32:
    """Vectors (n, classes) of 1 and 0 → those of the classes that stay, (n, new classes)."""
    if not is_multi_hot(table):
        raise DataError(
            "a label is a vector of numbers, not 1 or 0 for each class; leave classes out"
        )
    old = np.flatnonzero(ids >= 0)
    if old[-1] >= table.shape[1]:
        raise DataError(
            f"a label is 1 or 0 for each of {table.shape[1]} classes, and class {old[-1]} is "
            "none of them"
        )
    columns = np.zeros((len(table), int(ids.max()) + 1), np.float32)
    if columns.shape[1] == 1:
        raise DataError(
            "labels are 1 or 0 for each class, and one number alone would be a class id; choose "
            "two classes or more"
        )
    for column in old.tolist():
        np.maximum(columns[:, ids[column]], table[:, column], out=columns[:, ids[column]])
    return columns


def _floats(positions: Int64, widths: Int64) -> Int64:
    """The positions of all floats of these objects."""
    ends = np.cumsum(widths)
    ranks = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - widths, widths)
    floats: Int64 = np.repeat(positions, widths) + ranks
    return floats
