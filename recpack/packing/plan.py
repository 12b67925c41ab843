"""Samples → segments: contiguous runs of records, each packed by one worker in one buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from recpack.columns import Int64
from recpack.data.samples import Samples
from recpack.formats.recordio import PART_HEADER, RECORD_HEADER


@dataclass(frozen=True)
class Segment:
    """All that a worker needs to build the records ``number`` … of one segment.

    Small and picklable; image bytes are read by the worker.
    """

    number: int
    samples: Samples
    room: int
    """Bytes that it is expected to take."""
    min_bytes: int = 0
    """With fewer it is not written, because it must be packed again with its neighbour."""


def expected_lengths(samples: Samples) -> Int64:
    """Bytes of each framed record when its image passes through and holds no magic word."""
    floats = samples.label_widths()
    payload = RECORD_HEADER.size + 4 * np.where(floats == 1, 0, floats) + samples.file_sizes()
    return PART_HEADER.size + (payload + 3 & ~3)


def plan_cuts(
    lengths: Int64, segment_size: int, min_segment: int = 0, max_segments: int | None = None
) -> list[int]:
    """Where segments begin, and the end of the last, for records of these expected ``lengths``.

    Segments have at most ``segment_size`` bytes, unless one record, ``min_segment`` (which holds
    for all but the last) or ``max_segments`` asks for more. Where the cuts lie never shows in the
    output: records know nothing of their segment.
    """
    ends = np.cumsum(lengths)
    if max_segments is not None:
        # segments of at least this size can't be more than there may be
        min_segment = max(min_segment, -(-int(ends[-1]) // (max_segments - 1)))
    cuts = [0]
    packed = 0
    while cuts[-1] < len(lengths):
        most = int(np.searchsorted(ends, packed + segment_size, "right"))
        least = int(np.searchsorted(ends, packed + min_segment, "left")) + 1
        cuts.append(min(max(most, least, cuts[-1] + 1), len(lengths)))
        packed = int(ends[cuts[-1] - 1])
    return cuts


def segments(
    samples: Samples, cuts: Sequence[int], sizes: Sequence[int], min_segment: int = 0
) -> Iterator[Segment]:
    """The segments between the cuts, which are expected to have these ``sizes``."""
    for number, (start, stop) in enumerate(pairwise(cuts)):
        last = stop == cuts[-1]
        least = 0 if last else min_segment
        yield Segment(number, samples.slice(start, stop).alone(), sizes[number], least)


def joined(sizes: Sequence[int], min_segment: int) -> list[range]:
    """Runs of segments that reach ``min_segment`` bytes together, all but the last: of one
    segment each, unless packing shrank some below what was planned."""
    runs = []
    start = size = 0
    for number, packed in enumerate(sizes):
        size += packed
        if size >= min_segment:
            runs.append(range(start, number + 1))
            start, size = number + 1, 0
    if start < len(sizes):
        runs.append(range(start, len(sizes)))
    return runs
