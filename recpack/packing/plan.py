"""Samples → segments: contiguous runs of records, each packed by one worker in one buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from recpack.columns import Int64
from recpack.data.samples import Samples
from recpack.errors import ConfigError
from recpack.formats.recordio import PART_HEADER, RECORD_HEADER
from recpack.packing.table import Span, Table
from recpack.sinks.base import SegmentWriter

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Segment:
    """Everything that a worker needs to build the records of segment ``number``.

    Small and picklable; the worker reads the image bytes, and ``writer`` takes the records.
    """

    number: int
    writer: SegmentWriter
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


def shard_bounds(samples: int, shards: int | None) -> list[int]:
    """The first sample of each shard, and the end of the last. Their numbers of samples differ by
    one at most, because each rank of a job reads the same number of shards, and all ranks must do
    the same number of steps. Raises ConfigError when a shard would be empty."""
    count = shards or 1
    if samples < count:
        raise ConfigError(f"shards: must be at most the number of samples, {samples} (got {count})")
    return [samples * number // count for number in range(count + 1)]


def segments(
    table: Table,
    writers: Sequence[SegmentWriter],
    firsts: Sequence[int],
    cuts: Sequence[int],
    sizes: Sequence[int],
    min_segment: int = 0,
) -> Iterator[Segment]:
    """The segments between the cuts, with these expected ``sizes``. ``firsts``: the first segment
    of each writer, and the number of all."""
    for writer, (first, end) in zip(writers, pairwise(firsts), strict=True):
        for number in range(first, end):
            part = table.part(cuts[number], cuts[number + 1])
            least = min_segment if number < end - 1 else 0
            yield Segment(number, writer, part, sizes[number], least)


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
