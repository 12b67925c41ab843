"""Label vectors: ``header_width object_width [extra header …] [class xmin ymin xmax ymax …]+`` for
detection, one number for classification."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recpack.columns import Float32, Int64
from recpack.data.samples import Samples
from recpack.errors import DataError

_BLOCK = 2048

_RATIO = 2
"""No edge of a box is further out, in sides of its image; some lie a little beside it."""

MAX_CLASSES = 1 << 16
"""More than any data set has; a class id beyond it is no class id."""


def detection_widths(label: Float32) -> tuple[int, int] | None:
    """(header width, object width) of a detection label; None when the label is none.

    The rules are those of MXNet's ``ImageDetRecordIter``: header of 2 or more floats, objects of
    5 or more, nothing left over.
    """
    if len(label) < 2 or not (2 <= label[0] <= len(label) and 5 <= label[1] <= len(label)):
        return None
    header, width = int(label[0]), int(label[1])
    if header != label[0] or width != label[1] or (len(label) - header) % width:
        return None
    return header, width


def detection_labels(samples: Samples) -> npt.NDArray[np.bool_]:
    """Which of the samples as stored have a detection label, bool (n,); see
    ``detection_widths``."""
    starts, lengths = samples.bounds[:-1], np.diff(samples.bounds)
    found = lengths >= 2
    header = samples.labels[starts[found]]
    width = samples.labels[starts[found] + 1]
    room = lengths[found]
    with np.errstate(invalid="ignore"):
        fit = (header >= 2) & (header <= room) & (width >= 5) & (width <= room)
    header, width = np.where(fit, header, 2), np.where(fit, width, 5)
    fit &= (header == np.floor(header)) & (width == np.floor(width))
    fit &= (room - header) % width == 0
    found[found] = fit
    return found


def assemble_labels(objects: Float32, counts: Int64) -> tuple[Float32, Int64]:
    """Objects of all samples → their label vectors end to end, and the bounds between them.

    ``objects``: float32 (m, object width), class id first, in the order of the samples;
    ``counts``: int64 (n,), objects of each sample. A sample without objects gets the one of -1
    that MXNet's readers ignore.
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


def class_places(labels: Float32, bounds: Int64) -> Int64:
    """Where the class ids stand in assembled labels, int64 (objects,)."""
    body = np.ones(len(labels), np.bool_)
    body[bounds[:-1]] = body[bounds[:-1] + 1] = False
    return np.flatnonzero(body)[:: int(labels[1])]


def object_table(samples: Samples) -> tuple[Float32, Int64]:
    """All objects of assembled labels, float32 (m, object width), class id first, and the sample
    as stored that each belongs to, int64 (m,)."""
    labels, bounds = samples.labels, samples.bounds
    if not len(labels):
        return np.zeros((0, 5), np.float32), np.zeros(0, np.int64)
    places = class_places(labels, bounds)
    places = places[labels[places] >= 0]
    owners = np.searchsorted(bounds, places, "right") - 1
    return labels[places[:, None] + np.arange(int(labels[1]))], owners


def doubtful_rows(samples: Samples) -> list[tuple[int, str, str]]:
    """Rows of a detection list that readers choke on, or learn nonsense from: (row, code of the
    problem, what was read). A list without any detection label has none."""
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
    """How far out the furthest edge of these objects is, if it is no ratio of its image's sides
    (it may be no number); 0 if all are."""
    edges = objects[objects[:, 0] >= 0, 1:5]
    furthest = float(np.abs(edges).max(initial=0))
    return 0 if furthest <= _RATIO else furthest


class LabelShape(NamedTuple):
    """What a reader must be told of all labels: floats of the longest vector, of the longest
    header and of the widest object (0 where no label is a detection label), and how many objects
    each class id has, int64 (highest id + 1,)."""

    label_width: int
    header_width: int
    object_width: int
    objects: Int64


def label_shape(samples: Samples) -> LabelShape:
    """The shape of all labels. Raises DataError for a detection label whose class is no class id
    (not whole, or beyond any data set); scalar labels that are none are simply not counted."""
    label_width = header = width = 0
    counts = np.zeros(0, np.int64)
    for start in range(0, len(samples), _BLOCK):
        shape = _block_shape(samples.slice(start, min(start + _BLOCK, len(samples))))
        label_width = max(label_width, shape.label_width)
        header, width = max(header, shape.header_width), max(width, shape.object_width)
        counts, more = sorted((counts, shape.objects), key=len)
        counts = more + np.pad(counts, (0, len(more) - len(counts)))
    return LabelShape(label_width, header, width, counts)


def _block_shape(samples: Samples) -> LabelShape:
    label_width = int(samples.label_widths().max())
    if label_width == 1:
        ids = samples.labels
        return LabelShape(1, 0, 0, _counts(ids[(ids == np.floor(ids)) & (ids < MAX_CLASSES)]))
    header = width = 0
    uniform = _uniform_objects(samples)
    if uniform is not None:
        header, width = 2, uniform.shape[1]
        ids = uniform[:, 0]
    else:
        found = [np.zeros(0, np.float32)]
        for sample in samples:
            shape = detection_widths(sample.label)
            if shape is not None:
                header, width = max(header, shape[0]), max(width, shape[1])
                found.append(sample.label[shape[0] :: shape[1]])
        ids = np.concatenate(found)
    wrong = ids[(ids != np.floor(ids)) | (ids >= MAX_CLASSES)]
    if len(wrong):
        raise DataError(f"class id {wrong[0]:g} in a label; ids are whole, 0 to {MAX_CLASSES - 1}")
    return LabelShape(label_width, header, width, _counts(ids))


def _uniform_objects(samples: Samples) -> Float32 | None:
    """All objects, (m, object width), where every label is ``2, width, objects …`` with one
    width; None where labels differ."""
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


def _counts(ids: Float32) -> Int64:
    return np.bincount(ids[ids >= 0].astype(np.int64))
