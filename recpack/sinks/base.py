"""The interface of every sink."""

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


class WrittenSegment(NamedTuple):
    """One segment of a finished ``.rec``: its number, its bytes and their checksum."""

    number: int
    size: int
    checksum: int


@dataclass(frozen=True)
class Written:
    """All segments of a ``.rec`` in order. ``receipts``: the destination's answers by segment
    number, if it gives any."""

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
"""Segment number → the destination's answer for it."""

_local = threading.local()


class SegmentWriter(ABC):
    """A worker's part of a sink: small, picklable where workers are processes."""

    def buffer(self, room: int) -> RecordBuffer:
        """An empty buffer for the next segment, of ``room`` expected bytes; each buffer must go to
        ``write`` or ``discard``. This implementation reuses one buffer per thread."""
        try:
            buffer: RecordBuffer = _local.buffer
            buffer.clear()
        except AttributeError:
            # unused pages cost nothing, but a buffer that grows needs its memory twice
            buffer = _local.buffer = RecordBuffer(room * 5 // 4)
        return buffer

    @abstractmethod
    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        """Write or send a segment; can wait for the one before.

        The caller must not use the buffer after this call. Returns the receipts since the last
        call in this process, also of other segments.
        """

    def discard(self, number: int, buffer: RecordBuffer) -> None:
        """Return a buffer whose segment will not be written."""

    def drain(self) -> Receipts:
        """Wait until everything from this process has arrived, and return the remaining
        receipts."""
        return {}

    def fail(self, number: int) -> None:
        """Report that this segment will never come, so that no worker waits for it."""


class Probe(ABC):
    """A test of whether a worker on another machine sees the destination; picklable."""

    @abstractmethod
    def demand(self) -> None:
        """Raise SinkError if this process does not see it."""


@dataclass(frozen=True, kw_only=True)
class SinkPlan:
    """What will be written: the numbers of ``segments`` and ``workers``.

    ``shards``: of a set of shards, the first segment of each, and the number of all · ``first`` and
    ``run``: of a ``.rec`` that is one of them, its first segment, and what all have in common ·
    ``lasting``: worker processes live on between tasks · ``ordered``: a segment begins only after
    all segments before it have begun · ``fingerprint`` returns everything that determines the
    bytes, as digests by topic.
    """

    segments: int
    shards: Sequence[int] = ()
    first: int = 0
    run: str = ""
    workers: int = 1
    lasting: bool = True
    ordered: bool = True
    fingerprint: Callable[[], Mapping[str, str]] = dict


class Destination(Closing):
    """Where packing writes to: one ``.rec`` or a set of shards, published whole or not at all.

    A context manager: ``writers`` returns the workers' part, ``publish`` makes everything visible,
    the manifest last; a block that ends without ``publish`` aborts.
    """

    in_process = False
    """Whether workers must be threads of this process."""
    min_segment = 0
    """Bytes of every segment but the last, at least."""
    max_segments: int | None = None
    """Segments of a ``.rec``, at most."""
    gives_receipts = False
    """Whether each segment must have a receipt before the ``.rec`` can be published."""
    checksum = Checksum.CRC32
    """The algorithm of the checksums of the segments and of the ``.rec``."""

    extra: tuple[str, ...] = ()
    """Suffixes of companions that only some outputs have; set it before the block begins."""

    name: str
    """The name of the ``.rec``, or of the set, without folder."""

    @abstractmethod
    def writers(self, plan: SinkPlan) -> Sequence[SegmentWriter]:
        """Prepare for the segments of a plan: one writer for each ``.rec``. A second call discards
        everything written so far."""

    @abstractmethod
    def abort(self) -> None:
        """Remove everything that is not published; a second call does nothing."""

    def close(self) -> None:
        self.abort()

    def demand_free(self) -> None:
        """Raise SinkError for a file that is there and must not be replaced, without writing. A
        store is asked only when the block begins."""

    def probe(self) -> Probe | None:
        """A test of whether a worker reaches the destination; None if every worker does."""
        return None


class Sink(Destination):
    """One ``.rec`` and its companions."""

    @abstractmethod
    def open(self, plan: SinkPlan) -> SegmentWriter:
        """``writers`` of the one ``.rec``."""

    def writers(self, plan: SinkPlan) -> Sequence[SegmentWriter]:
        return [self.open(plan)]

    @abstractmethod
    def publish(
        self,
        written: Written,
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[str | None], str],
    ) -> None:
        """Check that everything has arrived, then publish the ``.rec``, the companions (lines by
        suffix) and the manifest. It calls ``manifest`` after it has written the companions, with
        the ETag of the ``.rec`` if the destination keeps no checksum, else None. A second call
        replaces what the first returned."""


class WrittenShard(NamedTuple):
    """A shard whose segments have arrived, and its companions: lines by suffix."""

    written: Written
    companions: Mapping[str, Iterable[str]]


class SetSink(Destination):
    """A set of ``shards``: each a ``.rec`` with an index and a list, and one manifest of all."""

    shards: int
    names: Sequence[str]
    """The names of the shards, in order."""

    @abstractmethod
    def publish(
        self,
        shards: Sequence[WrittenShard],
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[Sequence[str | None]], str],
    ) -> None:
        """``Sink.publish`` of all shards; ``companions`` are those of the set. ``manifest`` takes
        the ETag of each shard, or None."""
