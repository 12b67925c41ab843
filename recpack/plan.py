"""Samples → segments: contiguous runs of records, each packed by one worker in one buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from recpack.recordio import PART_HEADER, RECORD_HEADER
from recpack.sample import Int64, Samples


@dataclass(frozen=True)
class Segment:
    """All that a worker needs to build the records ``number`` … of one segment.

    Small and picklable; image bytes are read by the worker.
    """

    number: int
    samples: Samples


def expected_lengths(samples: Samples) -> Int64:
    """Bytes of each framed record when its image passes through and holds no magic word."""
    floats = samples.label_widths()
    payload = RECORD_HEADER.size + 4 * np.where(floats == 1, 0, floats) + samples.file_sizes()
    return PART_HEADER.size + (payload + 3 & ~3)


def plan_cuts(samples: Samples, segment_size: int) -> list[int]:
    """Where segments begin, and the end of the last: runs of at most ``segment_size`` expected
    bytes, one record at least.

    Where the cuts lie never shows in the output: records know nothing of their segment.
    """
    ends = np.cumsum(expected_lengths(samples))
    cuts = [0]
    packed = 0
    while cuts[-1] < len(samples):
        stop = int(np.searchsorted(ends, packed + segment_size, "right"))
        cuts.append(max(stop, cuts[-1] + 1))
        packed = int(ends[cuts[-1] - 1])
    return cuts


def segments(samples: Samples, cuts: Sequence[int]) -> Iterator[Segment]:
    """The segments between the cuts."""
    for number, (start, stop) in enumerate(pairwise(cuts)):
        yield Segment(number, samples.slice(start, stop))
