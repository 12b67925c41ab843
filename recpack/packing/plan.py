"""Samples → segments: contiguous runs of records, each packed by one worker in one buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from recpack.columns import Int64
from recpack.data.samples import Samples
from recpack.formats.recordio import PART_HEADER, RECORD_HEADER
from recpack.packing.table import Span, Table

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Segment:
    """Everything that a worker needs to build the records of segment ``number``.

    Small and picklable; the worker reads the image bytes.
    """

    number: int
    part: Samples | Span
    room: int
    """Expected bytes."""
    min_bytes: int = 0
    """A smaller segment is not written: it must be packed again with its neighbour."""


def expected_lengths(samples: Samples) -> Int64:
    """Bytes of each framed record if its image stays unchanged and contains no magic word."""
    lengths = np.empty(len(samples), np.int64)
    for start in range(0, len(samples), _BLOCK):  # the arrays between would be much memory
        rows = np.arange(start, min(start + _BLOCK, len(samples)))
        rows = rows if samples.order is None else samples.order[rows]
        floats = samples.bounds[rows + 1] - samples.bounds[rows]
        payload = samples.image_bytes[rows] + 4 * np.where(floats == 1, 0, floats)
        payload += RECORD_HEADER.size
        lengths[start : start + len(rows)] = PART_HEADER.size + (payload + 3 & ~3)
    return lengths


def plan_cuts(
    lengths: Int64, segment_size: int, min_segment: int = 0, max_segments: int | None = None
) -> list[int]:
    """The first record of each segment, and the end of the last, for records of these expected
    ``lengths``.

    Segments have at most ``segment_size`` bytes, unless one record, ``min_segment`` (for all but
    the last) or ``max_segments`` needs more. The cuts do not change the output, because a record
    does not depend on its segment.
    """
    ends = np.cumsum(lengths)
    if max_segments is not None:
        # a minimum size that keeps the number of segments below the limit
        min_segment = max(min_segment, -(-int(ends[-1]) // (max_segments - 1)))
    cuts = [0]
    start = 0
    while cuts[-1] < len(lengths):
        most = int(np.searchsorted(ends, start + segment_size, "right"))
        least = int(np.searchsorted(ends, start + min_segment, "left")) + 1
        cuts.append(min(max(most, least, cuts[-1] + 1), len(lengths)))
        start = int(ends[cuts[-1] - 1])
    return cuts


def segments(
    table: Table, cuts: Sequence[int], sizes: Sequence[int], min_segment: int = 0
) -> Iterator[Segment]:
    """The segments between the cuts, with these expected ``sizes``."""
    for number, (start, stop) in enumerate(pairwise(cuts)):
        last = stop == cuts[-1]
        least = 0 if last else min_segment
        yield Segment(number, table.part(start, stop), sizes[number], least)


def merge_small(sizes: Sequence[int], min_segment: int) -> list[range]:
    """Runs of segments; each run but the last has at least ``min_segment`` bytes. Most runs are
    one segment; a longer one joins segments that became smaller than planned."""
    runs = []
    start = size = 0
    for number, segment_size in enumerate(sizes):
        size += segment_size
        if size >= min_segment:
            runs.append(range(start, number + 1))
            start, size = number + 1, 0
    if start < len(sizes):
        runs.append(range(start, len(sizes)))
    return runs
