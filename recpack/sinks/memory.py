"""A sink that keeps everything in memory: for tests, and for data that goes elsewhere at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from recpack.errors import SinkError
from recpack.sinks.base import MANIFEST, Sink


class MemorySink(Sink):
    """``files`` maps suffixes (``.rec``, ``.idx``, ``.lst``, ``.json``) to bytes once published.

    Workers are threads of this process.
    """

    in_process = True

    def __init__(self, name: str = "train.rec") -> None:
        self.name = name
        self.files: dict[str, bytes] = {}
        self._segments: dict[int, bytes] = {}

    def open(self, segments: int) -> MemorySink:
        del segments
        self._segments.clear()
        return self

    def write(self, number: int, data: memoryview) -> None:
        self._segments[number] = bytes(data)

    def fail(self, number: int) -> None:
        del number

    def publish(
        self, size: int, companions: Mapping[str, Iterable[str]], manifest: Callable[[], str]
    ) -> None:
        data = b"".join(data for _, data in sorted(self._segments.items()))
        if len(data) != size:
            raise SinkError(f"{len(data):,} bytes arrived in memory, {size:,} were packed")
        self.files = {".rec": data} | {
            suffix: "".join(lines).encode() for suffix, lines in companions.items()
        }
        self.files[MANIFEST] = manifest().encode()
        self._segments.clear()

    def abort(self) -> None:
        self._segments.clear()
