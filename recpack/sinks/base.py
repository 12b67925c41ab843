"""What every sink promises."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import NamedTuple

from recpack.formats.recordio import RecordBuffer
from recpack.storage.checksums import Checksum
from recpack.storage.files import Closing

LIST, INDEX, MANIFEST = ".lst", ".idx", ".json"
QUARANTINE = ".quarantine.tsv"
COMPANIONS = (INDEX, LIST, QUARANTINE)
"""Suffixes of the files that stand beside a ``.rec``; the manifest comes after all of them."""


class WrittenSegment(NamedTuple):
    """One segment of a finished ``.rec``: its number, its bytes and their checksum."""

    number: int
    size: int
    checksum: int


@dataclass(frozen=True)
class Written:
    """All segments of a ``.rec`` in order. ``receipts``: what the destination answered for each
    segment by number, where it answers at all."""

    checksum: Checksum
    segments: Sequence[WrittenSegment]
    receipts: Mapping[int, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the ``.rec``."""
        return sum(segment.size for segment in self.segments)

    @cached_property
    def value(self) -> int:
        """The checksum of the ``.rec``, combined from those of its segments."""
        return reduce(
            lambda value, segment: self.checksum.combine(value, segment.checksum, segment.size),
            self.segments,
            0,
        )


Receipts = Mapping[int, str]
"""Segment number → what the destination answered for it."""

_local = threading.local()


class SegmentWriter(ABC):
    """A worker's end of a sink: small, picklable where workers are processes."""

    def buffer(self, room: int) -> RecordBuffer:
        """An empty buffer for the next segment, which is expected to take so many bytes; each
        goes to ``write`` or ``discard``. This one is the thread's own, used again and again."""
        try:
            buffer: RecordBuffer = _local.buffer
            buffer.clear()
        except AttributeError:
            # pages that are never touched cost nothing, a buffer that grows exists twice
            buffer = _local.buffer = RecordBuffer(room * 5 // 4)
        return buffer

    @abstractmethod
    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        """Put a segment into its place, or see that it gets there; may wait for the one before.

        The buffer is the writer's from here on. Returns the receipts that came in since the last
        call in this process, also of other segments.
        """

    def discard(self, number: int, buffer: RecordBuffer) -> None:
        """Give back a buffer whose segment is not to be written."""

    def drain(self) -> Receipts:
        """Wait until all that this process wrote has arrived, and return the receipts left."""
        return {}

    def fail(self, number: int) -> None:
        """Say that this segment will never come, so that nobody waits for it."""


class Probe(ABC):
    """Something of a sink that a worker elsewhere must see too; picklable."""

    @abstractmethod
    def demand(self) -> None:
        """Raises SinkError where this process does not see it."""


@dataclass(frozen=True, kw_only=True)
class SinkPlan:
    """What is going to be written: how many ``segments`` by how many ``workers``.

    ``lasting``: workers live on between the calls that are made of them · ``ordered``: segments
    begin in their order, none before those in front of it · ``fingerprint`` gives all that shapes
    the bytes, as digests by topic.
    """

    segments: int
    workers: int = 1
    lasting: bool = True
    ordered: bool = True
    fingerprint: Callable[[], Mapping[str, str]] = dict


class Sink(Closing):
    """One ``.rec`` and its companions, published together or not at all.

    Used as a context manager: ``open`` gives the workers' end, ``publish`` makes everything
    visible, the manifest last; leaving the block without it aborts.
    """

    in_process = False
    """Whether the workers must share this process's memory."""
    min_segment = 0
    """Bytes that every segment but the last must have."""
    max_segments: int | None = None
    """Segments that a ``.rec`` may have."""
    gives_receipts = False
    """Whether each segment must have a receipt before the ``.rec`` can be published."""
    inherited = False
    """Whether workers that are forked when it is open find in themselves what they need of it."""
    checksum = Checksum.CRC32
    """The algorithm of the segments' checksums, and of the whole."""

    name: str
    """The ``.rec``'s own name, without any folder."""

    @abstractmethod
    def open(self, plan: SinkPlan) -> SegmentWriter:
        """Get ready for the segments of a plan. Opening again forgets what was written so far."""

    def probe(self) -> Probe | None:
        """What shows that a worker reaches the destination; None when any does."""
        return None

    @abstractmethod
    def publish(
        self,
        written: Written,
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[str | None], str],
    ) -> None:
        """Check that everything arrived, then publish it, the companions (lines by suffix) and the
        manifest, which is asked for when the companions are written; its argument is the ETag
        that proves the ``.rec`` where the destination keeps no checksum."""

    @abstractmethod
    def abort(self) -> None:
        """Remove whatever is not published; may be called twice."""

    def close(self) -> None:
        self.abort()
