"""Samples → segments: contiguous runs of records, each packed by one worker in one buffer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recpack.recordio import PART_HEADER, RECORD_HEADER
from recpack.sample import Int64, Samples


@dataclass(frozen=True)
class Segment:
    """All that a worker needs to build the records ``number`` … of one segment.

    Small and picklable; image bytes are read by the worker. ``capacity`` is the bytes expected.
    """

    number: int
    samples: Samples
    capacity: int


def expected_lengths(samples: Samples) -> Int64:
    """Bytes of each framed record when its image passes through and holds no magic word."""
    floats = samples.label_widths
    payload = RECORD_HEADER.size + 4 * np.where(floats == 1, 0, floats) + samples.image_bytes
    return PART_HEADER.size + (payload + 3 & ~3)


def plan_segments(samples: Samples, segment_size: int) -> list[Segment]:
    """Cut the samples into runs of at most ``segment_size`` expected bytes, one record at least.

    Where the cuts lie never shows in the output: records know nothing of their segment.
    """
    ends = np.cumsum(expected_lengths(samples))
    segments: list[Segment] = []
    start = packed = 0
    while start < len(samples):
        stop = max(int(np.searchsorted(ends, packed + segment_size, "right")), start + 1)
        capacity = int(ends[stop - 1]) - packed
        segments.append(Segment(len(segments), samples.slice(start, stop), capacity))
        start, packed = stop, int(ends[stop - 1])
    return segments
