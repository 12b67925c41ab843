"""A sink that keeps everything in memory, for tests and for data that is sent on at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from recpack.display import brief
from recpack.errors import SinkError
from recpack.formats.recordio import RecordBuffer
from recpack.sinks.base import Receipts, SegmentWriter, Sink, SinkPlan, Written
from recpack.storage.s3.location import MANIFEST


class MemorySink(Sink, SegmentWriter):
    """After publication ``files`` maps suffixes (``.rec``, ``.idx``, ``.lst``, ``.json``) to bytes.

    Workers are threads of this process.
    """

    in_process = True

    def __init__(self, name: str = "train.rec") -> None:
        self.name = name
        self.files: dict[str, bytes] = {}
        self._segments: dict[int, bytes] = {}

    def __repr__(self) -> str:
        sizes = {name: len(data) for name, data in self.files.items()}
        return brief(self, name=self.name, bytes=sizes)

    def open(self, plan: SinkPlan) -> MemorySink:
        del plan
        self._segments.clear()
        return self

    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        del checksum
        self._segments[number] = bytes(buffer.view())
        return {}

    def publish(
        self,
        written: Written,
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[str | None], str],
    ) -> None:
        data = b"".join(self._segments[segment.number] for segment in written.segments)
        if len(data) != written.size:
            raise SinkError(f"{len(data):,} bytes arrived in memory, {written.size:,} were packed")
        self.files = {".rec": data} | {
            suffix: "".join(lines).encode() for suffix, lines in companions.items()
        }
        self.files[MANIFEST] = manifest(None).encode()
        self._segments.clear()

    def abort(self) -> None:
        self._segments.clear()
