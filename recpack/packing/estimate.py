"""Estimate the size of records whose images are encoded again, from a few of them."""

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
"""Images that a trial encodes."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A few of the ``samples``, at ``positions``, to encode first. ``lengths``: bytes of each
    record with its image unchanged · ``changed`` bool (n,): which images will change."""

    samples: Samples
    lengths: Int64
    changed: npt.NDArray[np.bool_]
    positions: Int64

    @classmethod
    def of(cls, samples: Samples, lengths: Int64, *, changes_images: bool) -> Trial | None:
        """None where there is nothing to learn."""
        changed = np.full(len(lengths), changes_images)
        changed |= samples.treatments_in_order() != Treatment.KEEP
        positions = np.flatnonzero(changed)
        if len(positions) < 2:
            return None
        return cls(samples, lengths, changed, positions[:: -(-len(positions) // _TRIED)])

    def segments(self) -> Iterator[Segment]:
        """One for each image of the trial."""
        for number, position in enumerate(self.positions):
            one = self.samples.take(self.positions[number : number + 1]).for_worker()
            yield Segment(number, NullWriter(), one, int(self.lengths[position]))

    def estimate(self, sizes: Sequence[int]) -> Int64:
        """The expected lengths of all records, from the ``sizes`` of the packed segments."""
        new_sizes = np.array(sizes)
        good = new_sizes > 0
        ratio = new_sizes[good].sum() / max(self.lengths[self.positions][good].sum(), 1)
        estimates = np.maximum(self.lengths * ratio, 1)
        lengths: Int64 = np.where(self.changed, estimates, self.lengths).astype(np.int64)
        return lengths


class NullWriter(SegmentWriter):
    """Discards every segment, for a trial."""

    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        del number, buffer, checksum
        return {}
