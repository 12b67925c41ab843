"""How large records become where images are encoded again: learnt from a few of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recpack.columns import Int64
from recpack.data.samples import Samples, Treatment
from recpack.formats.recordio import RecordBuffer
from recpack.packing.plan import Segment
from recpack.sinks.base import Receipts, SegmentWriter

_TRIED = 24
"""Images encoded to learn how that changes their size."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Which of the ``samples``, of these expected ``lengths``, change (bool, (n,)), and the
    ``positions`` of the few that are tried."""

    samples: Samples
    lengths: Int64
    changed: npt.NDArray[np.bool_]
    positions: Int64

    @classmethod
    def of(cls, samples: Samples, lengths: Int64, *, changes_images: bool) -> Trial | None:
        """None where there is nothing to learn."""
        changed = np.full(len(lengths), changes_images)
        changed |= samples.needs() != Treatment.KEEP
        positions = np.flatnonzero(changed)
        if len(positions) < 2:
            return None
        return cls(samples, lengths, changed, positions[:: -(-len(positions) // _TRIED)])

    def segments(self) -> Iterator[Segment]:
        """One for each image that is tried."""
        for number, position in enumerate(self.positions):
            one = self.samples.take(self.positions[number : number + 1]).alone()
            yield Segment(number, one, int(self.lengths[position]))

    def scaled(self, sizes: Sequence[int]) -> Int64:
        """The lengths to expect, from the sizes of the segments when they are packed."""
        tried = np.array(sizes)
        good = tried > 0
        ratio = tried[good].sum() / max(self.lengths[self.positions][good].sum(), 1)
        scaled = np.maximum(self.lengths * ratio, 1)
        likely: Int64 = np.where(self.changed, scaled, self.lengths).astype(np.int64)
        return likely


class NullWriter(SegmentWriter):
    """For a trial: what is packed is forgotten."""

    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        del number, buffer, checksum
        return {}
