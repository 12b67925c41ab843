"""Pixel boxes → ratios of the image's size, many boxes at once (numpy, pure)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recpack.columns import Float64
from recpack.problems import Action, Severity

Bools = npt.NDArray[np.bool_]


class BoxProblem(NamedTuple):
    """A problem of the box in ``row`` of the input."""

    row: int
    code: str
    severity: Severity
    action: Action


class Normalised(NamedTuple):
    """``boxes``: float64 (n, 4), ratios xmin, ymin, xmax, ymax · ``keep``: bool (n,) ·
    ``problems``: the boxes that were repaired, dropped or refused."""

    boxes: Float64
    keep: Bools
    problems: list[BoxProblem]


def normalise(
    pixels: Float64,
    sizes: Float64,
    *,
    policy: str = "repair",
    one_based: bool = False,
    precision: int | None = None,
) -> Normalised:
    """Turn boxes in pixels into ratios, and check each one.

    ``pixels``: float64 (n, 4), xmin, ymin, xmax, ymax as annotated; ``sizes``: float64 (n, 2),
    the width and height of each box's image. Coordinates are used unchanged, as in the AWS
    tool; ``one_based`` subtracts 1 from xmin and ymin first. ``policy`` for a box that is
    inverted or partly outside the image: ``repair`` (swap, clip), ``drop`` or ``error``. A box
    without area or completely outside can't be repaired: it is dropped, or is an error.
    ``precision`` rounds to that many decimals, as in the list's text.
    """
    boxes = np.array(pixels, order="F")  # NumPy is slow on rows of four numbers
    sizes = np.asfortranarray(sizes)
    if one_based:
        boxes[:, :2] -= 1
    keep = np.ones(len(boxes), np.bool_)
    problems: list[BoxProblem] = []

    def check(rows: Bools, code: str, repair: Action | None) -> Bools:
        """Record the problem for ``rows`` that are still kept; return those to repair."""
        rows = rows & keep
        if not rows.any():
            return rows
        severity: Severity = "error" if policy == "error" else "warning"
        action: Action = "error" if policy == "error" else "dropped box"
        if policy == "repair" and repair is not None:
            action = repair
        else:
            keep[rows] = False
        problems.extend(
            BoxProblem(row, code, severity, action) for row in np.flatnonzero(rows).tolist()
        )
        return rows & keep

    low, high = boxes[:, :2], boxes[:, 2:]
    swap = check(np.any(low > high, 1), "box-inverted", "swapped")
    if swap.any():
        boxes[swap, :2], boxes[swap, 2:] = (
            np.minimum(low[swap], high[swap]),
            np.maximum(low[swap], high[swap]),
        )
    check(np.any(low == high, 1), "box-empty", None)
    check(np.any((high <= 0) | (low >= sizes), 1), "box-off-image", None)
    clip = check(np.any((low < 0) | (high > sizes), 1), "box-outside", "clipped")
    if clip.any():
        boxes[clip, :2] = np.maximum(low[clip], 0)
        boxes[clip, 2:] = np.minimum(high[clip], sizes[clip])
    ratios = round_to(boxes / np.hstack((sizes, sizes)), precision)
    # what a reader sees: rounded as in the list, and as float32
    with np.errstate(over="ignore"):  # dropped boxes can have any size
        seen = ratios.astype(np.float32)
    check(np.any(seen[:, :2] >= seen[:, 2:], 1), "box-empty", None)
    return Normalised(ratios, keep, problems)


def round_to(values: Float64, decimals: int | None) -> Float64:
    """Round as the text of a list does (``%.4f``: exact, ties to even); None changes nothing.

    ``numpy.round`` multiplies first, which can make a tie where there is none: 1/160 is 0.0063 in
    text.
    """
    if decimals is None:
        return values
    form = f"%.{decimals}f"
    return np.array([float(form % value) for value in values.ravel().tolist()]).reshape(
        values.shape
    )


def crop_square(
    boxes: Float64, sizes: Float64, precision: int | None = None
) -> tuple[Float64, Bools]:
    """Ratios of full images → ratios of their centred squares (im2rec's ``--center-crop``).

    ``boxes``: float64 (n, 4); ``sizes``: float64 (n, 2) in pixels; ``precision`` as in
    ``normalise``. Boxes are clipped to the square; the second value, bool (n,), says which
    still have an area.
    """
    side = sizes.min(1, keepdims=True)
    margin = np.floor((sizes - side) / 2)
    pixels = boxes * np.tile(sizes, 2) - np.tile(margin, 2)
    square = round_to(np.clip(pixels / side, 0.0, 1.0), precision)
    seen = square.astype(np.float32)
    return square, np.asarray(np.all(seen[:, :2] < seen[:, 2:], 1))
