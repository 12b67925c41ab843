"""Label vectors: ``header_width object_width [extra header …] [class xmin ymin xmax ymax …]+`` for
detection, one number for classification."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recpack.columns import Float32, Int64, Integers
from recpack.data.annotation import LabelKind
from recpack.data.samples import Samples
from recpack.errors import DataError

_BLOCK = 2048

MAX_RATIO = 2
"""No edge of a real box has a larger ratio; some are a little above 1."""

LEAST_LABEL = 7
"""Floats of a label with one object."""

MAX_CLASSES = 1 << 16
"""More than any data set has. A larger number is not a class id."""


def detection_widths(label: Float32) -> tuple[int, int] | None:
    """(header width, object width) of a detection label; None when it is not one.

    The rules are those of MXNet's ``ImageDetRecordIter``: a header of 2 or more floats, objects of
    5 or more, no remainder.
    """
    if len(label) < 2 or not (2 <= label[0] <= len(label) and 5 <= label[1] <= len(label)):
        return None
    header, width = int(label[0]), int(label[1])
    if header != label[0] or width != label[1] or (len(label) - header) % width:
        return None
    return header, width


def detection_labels(samples: Samples) -> npt.NDArray[np.bool_]:
    """Which samples, in stored order, have a detection label (see ``detection_widths``); bool
    (n,)."""
    return is_detection(samples.labels, samples.bounds)


def is_detection(labels: Float32, bounds: Integers) -> npt.NDArray[np.bool_]:
    """Which of the label vectors between these ``bounds`` are detection labels; bool (n,)."""
    starts, lengths = bounds[:-1], np.diff(bounds)
    found = lengths >= 2
    header = labels[starts[found]]
    width = labels[starts[found] + 1]
    lengths = lengths[found]
    with np.errstate(invalid="ignore"):
        fit = (header >= 2) & (header <= lengths) & (width >= 5) & (width <= lengths)
    header, width = np.where(fit, header, 2), np.where(fit, width, 5)
    fit &= (header == np.floor(header)) & (width == np.floor(width))
    fit &= (lengths - header) % width == 0
    found[found] = fit
    return found


def object_positions(
    labels: Float32, bounds: Integers, detection: npt.NDArray[np.bool_]
) -> tuple[Int64, Int64, Int64]:
    """The objects of the ``detection`` labels between these ``bounds``, of any header and width:
    the position of each one's class id, its floats, the row of its label; each int64 (objects,)."""
    rows = np.flatnonzero(detection)
    starts = bounds[rows].astype(np.int64)
    header, width = labels[starts].astype(np.int64), labels[starts + 1].astype(np.int64)
    counts = (np.diff(bounds)[rows] - header) // width
    ends = np.cumsum(counts)
    ranks = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
    widths = np.repeat(width, counts)
    return np.repeat(starts + header, counts) + ranks * widths, widths, np.repeat(rows, counts)


def assemble_labels(objects: Float32, counts: Int64) -> tuple[Float32, Int64]:
    """Objects of all samples → all label vectors in one array, and the bounds between them.

    ``objects``: float32 (m, object width), class id first, in the order of the samples;
    ``counts``: int64 (n,), objects of each sample. A sample without objects gets one object of
    -1s, which MXNet's readers ignore.
    """
    width = objects.shape[1]
    bounds = np.concatenate(([0], np.cumsum(2 + np.maximum(counts, 1) * width)))
    labels = np.full(bounds[-1], -1, np.float32)
    labels[bounds[:-1]] = 2
    labels[bounds[:-1] + 1] = width
    holds = np.repeat(counts > 0, np.diff(bounds))
    holds[bounds[:-1]] = holds[bounds[:-1] + 1] = False
    labels[holds] = objects.ravel()
    return labels, bounds


def class_positions(labels: Float32, bounds: Int64) -> Int64:
    """Positions of the class ids in assembled labels, int64 (objects,)."""
    body = np.ones(len(labels), np.bool_)
    body[bounds[:-1]] = body[bounds[:-1] + 1] = False
    return np.flatnonzero(body)[:: int(labels[1])]


def object_table(samples: Samples) -> tuple[Float32, Int64]:
    """All objects of assembled labels, float32 (m, object width), class id first, and the row of
    each one's sample in stored order, int64 (m,). None of labels without boxes."""
    labels, bounds = samples.labels, samples.bounds
    if not len(labels) or detection_widths(labels[: bounds[1]]) is None:
        return np.zeros((0, 5), np.float32), np.zeros(0, np.int64)
    positions = class_positions(labels, bounds)
    positions = positions[labels[positions] >= 0]
    rows = np.searchsorted(bounds, positions, "right") - 1
    return labels[positions[:, None] + np.arange(int(labels[1]))], rows


def is_multi_hot(labels: Float32) -> bool:
    """Whether these numbers are 0 or 1, one for each class."""
    return bool(((labels == 0) | (labels == 1)).all())


def label_kind(samples: Samples) -> LabelKind:
    """What the labels hold, as their numbers show it: ``boxes`` unless all are of another kind."""
    labels, widths = samples.labels, np.diff(samples.bounds)
    if not len(widths) or (widths[0] > 1 and labels[0] not in (0, 1)):  # most are boxes
        return "boxes"
    if (widths != widths[0]).any():
        return "boxes"
    if widths[0] == 1:
        whole = (labels == np.floor(labels)) & (labels >= 0)
        return "class" if whole.all() else "numbers"
    return "classes" if is_multi_hot(labels) else "numbers"


def kind_of(label: Float32) -> LabelKind:
    """What one label holds, as its numbers show it."""
    if detection_widths(label) is not None:
        return "boxes"
    if len(label) == 1:
        return "class" if label[0] >= 0 and label[0].is_integer() else "numbers"
    return "classes" if is_multi_hot(label) else "numbers"


def class_ids(samples: Samples) -> tuple[Int64, Int64]:
    """The class ids of all labels, int64 (m,), and the row of each one's sample in stored order,
    int64 (m,): one for each object or class. None of numbers."""
    kind = label_kind(samples)
    if kind == "numbers":
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if kind == "classes":
        rows, ids = np.nonzero(samples.labels.reshape(len(samples.bounds) - 1, -1))
        return ids, rows
    labels, bounds = samples.labels, samples.bounds
    positions, _, rows = object_positions(labels, bounds, detection_labels(samples))
    single = np.flatnonzero(np.diff(bounds) == 1)
    found = labels[np.concatenate((positions, bounds[single]))]
    known = (found >= 0) & (found < 1 << 63) & (found == np.floor(found))
    return found[known].astype(np.int64), np.concatenate((rows, single))[known]


def doubtful_rows(samples: Samples) -> list[tuple[int, str, str]]:
    """Rows of a detection list that make readers fail or learn nonsense: (row, problem code, value
    that was read). Empty for a list without detection labels."""
    found: list[tuple[int, str, str]] = []
    scalars: list[int] = []
    for start in range(0, len(samples), _BLOCK):
        block = samples.slice(start, min(start + _BLOCK, len(samples)))
        uniform = _uniform_objects(block)
        if uniform is not None and not far_edge(uniform):
            continue
        for row, sample in enumerate(block, start):
            widths = detection_widths(sample.label)
            if widths is None:
                scalars.append(row)
            elif far := far_edge(sample.label[widths[0] :].reshape(-1, widths[1])):
                found.append((row, "box-pixels", f"{far:g}"))
    if len(scalars) < len(samples):
        found += [(row, "label-scalar", "") for row in scalars]
    return sorted(found)


def far_edge(objects: Float32) -> float:
    """The largest edge of these objects, when it is too large for a ratio of the image's side (it
    can be NaN); 0 when all edges are ratios."""
    edges = objects[objects[:, 0] >= 0, 1:5]
    furthest = float(np.abs(edges).max(initial=0))
    return 0 if furthest <= MAX_RATIO else furthest


def misplaced(objects: Float32) -> int | None:
    """The first of these objects, float32 (n, 5 or more), whose edges are no ratios, or whose box
    is inverted or has no area; None when there is none. Those with a class id below 0 do not
    count."""
    most = MAX_RATIO
    # NumPy is slower for so few numbers
    for row, (id, left, top, right, bottom) in enumerate(objects[:, :5].tolist()):
        if id >= 0 and not (-most <= left < right <= most and -most <= top < bottom <= most):
            return row
    return None


class LabelShape(NamedTuple):
    """What readers must know about all labels: floats of the longest vector, of the longest header
    and of the widest object (0 when no label is a detection label), and the number of objects per
    class id, int64 (highest id + 1,)."""

    label_width: int
    header_width: int
    object_width: int
    objects: Int64


def label_shape(samples: Samples) -> LabelShape:
    """The shape of all labels. Raises DataError for a detection label whose class id is not whole
    or is ``MAX_CLASSES`` or more. Labels that are numbers, not class ids, are not counted."""
    label_width = header = width = 0
    counts = np.zeros(0, np.int64)
    kind = label_kind(samples)
    if samples.order is not None and len(samples.order) == len(samples.bounds) - 1:
        samples = replace(samples, order=None)  # of no matter here, and it takes time
    for start in range(0, len(samples), _BLOCK):
        shape = _block_shape(samples.slice(start, min(start + _BLOCK, len(samples))), kind)
        label_width = max(label_width, shape.label_width)
        header, width = max(header, shape.header_width), max(width, shape.object_width)
        counts, more = sorted((counts, shape.objects), key=len)
        counts = more + np.pad(counts, (0, len(more) - len(counts)))
    return LabelShape(label_width, header, width, counts)


def _block_shape(samples: Samples, kind: LabelKind) -> LabelShape:
    label_width = int(samples.label_widths().max())
    if kind != "boxes":
        ids = class_ids(samples)[0] if kind != "numbers" else np.zeros(0, np.int64)
        counts = _counts(ids[ids < MAX_CLASSES])
        if kind == "classes":  # the last can be of no image
            counts = np.pad(counts, (0, label_width - len(counts)))
        return LabelShape(label_width, 0, 0, counts)
    header = width = 0
    uniform = _uniform_objects(samples)
    if uniform is not None:
        header, width = 2, uniform.shape[1]
        of_objects = uniform[:, 0]
    else:
        found = [np.zeros(0, np.float32)]
        for sample in samples:
            shape = detection_widths(sample.label)
            if shape is not None:
                header, width = max(header, shape[0]), max(width, shape[1])
                found.append(sample.label[shape[0] :: shape[1]])
        of_objects = np.concatenate(found)
    wrong = of_objects[(of_objects != np.floor(of_objects)) | (of_objects >= MAX_CLASSES)]
    if len(wrong):
        raise DataError(
            f"class id {wrong[0]:g} in a label; ids are integers, 0 to {MAX_CLASSES - 1}"
        )
    return LabelShape(label_width, header, width, _counts(of_objects))


def _uniform_objects(samples: Samples) -> Float32 | None:
    """All objects, (m, object width), when every label is ``2, width, objects …`` with the same
    width; else None."""
    starts = samples.bounds[:-1]
    widths = samples.label_widths()
    if widths.min() < 7:
        return None
    width = samples.labels[1]
    if not (
        width >= 5
        and width == np.floor(width)
        and (samples.labels[starts] == 2).all()
        and (samples.labels[starts + 1] == width).all()
        and not ((widths - 2) % int(width)).any()
    ):
        return None
    body = np.ones(len(samples.labels), np.bool_)
    body[starts] = body[starts + 1] = False
    return samples.labels[body].reshape(-1, int(width))


def _counts(ids: Float32 | Int64) -> Int64:
    return np.bincount(ids[ids >= 0].astype(np.int64))
