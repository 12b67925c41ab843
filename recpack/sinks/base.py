"""What every sink promises."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from recpack.files import Closing

LIST, INDEX, MANIFEST = ".lst", ".idx", ".json"
QUARANTINE = ".quarantine.tsv"
COMPANIONS = (INDEX, LIST, QUARANTINE)
"""Suffixes of the files that stand beside a ``.rec``; the manifest comes after all of them."""


class SegmentWriter(Protocol):
    """A worker's end of a sink: small, picklable where workers are processes."""

    def write(self, number: int, data: memoryview) -> None:
        """Put a segment's bytes into their place; may wait for the segment before it."""

    def fail(self, number: int) -> None:
        """Say that this segment will never come, so that nobody waits for it."""


class Sink(Closing):
    """One ``.rec`` and its companions, published together or not at all.

    Used as a context manager: ``open`` gives the workers' end, ``publish`` makes everything
    visible, the manifest last; leaving the block without it aborts.
    """

    in_process = False
    """Whether the workers must share this process's memory."""

    name: str
    """The ``.rec``'s own name, without any folder."""

    @abstractmethod
    def open(self, segments: int) -> SegmentWriter:
        """Get ready for so many segments. Opening again forgets what was written so far."""

    @abstractmethod
    def publish(
        self, size: int, companions: Mapping[str, Iterable[str]], manifest: Callable[[], str]
    ) -> None:
        """Check that ``size`` bytes arrived, then publish them, the companions (lines by suffix)
        and the manifest, which is asked for when the companions are written."""

    @abstractmethod
    def abort(self) -> None:
        """Remove whatever is not published; may be called twice."""

    def close(self) -> None:
        self.abort()
