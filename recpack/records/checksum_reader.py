"""A range of a ``.rec``, read once, with its checksum."""

from __future__ import annotations

from recpack.errors import RecordError
from recpack.records.record_file import RecordFile
from recpack.storage.checksums import Checksum

_BLOCK = 4 << 20
"""Bytes per read."""


class ChecksumReader:
    """Reads a range of a file once, from start to end, and computes its checksum."""

    def __init__(self, file: RecordFile, checksum: Checksum, start: int, stop: int) -> None:
        self._file, self._checksum = file, checksum
        self._start, self._stop = start, stop
        self._data = bytearray()
        self.value = 0
        """The checksum of the bytes read so far."""

    def read(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self._stop)
        while self._start + len(self._data) < stop:
            self._pull()
        return bytes(self._data[offset - self._start : stop - self._start])

    def forget(self, before: int) -> None:
        """Free the bytes before this offset; nobody reads them again."""
        if before - self._start > _BLOCK:
            del self._data[: before - self._start]
            self._start = before

    def _pull(self) -> None:
        offset = self._start + len(self._data)
        block = self._file.read(offset, min(_BLOCK, self._stop - offset))
        if not block:
            raise RecordError("another program truncated the file during the read", offset)
        self.value = self._checksum.of(block, self.value)
        self._data += block
