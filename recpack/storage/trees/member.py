"""A file in an archive: as it is, or inflated while it is read."""

from __future__ import annotations

import errno
import zlib
from collections.abc import Iterator

from recpack.storage.checksums import Checksum
from recpack.storage.trees.archive import Source
from recpack.storage.trees.base import OpenFile
from recpack.storage.trees.index import PLAIN, REFUSED, Extent
from recpack.storage.trees.zip_index import (
    DEFLATED,
    ENCRYPTED_FLAGS,
    LOCAL_HEADER,
    LOCAL_SIGNATURE,
    STORED,
)

HEADER = 512
"""Bytes of a local header that are fetched with a file's bytes; most have fewer than 100."""
_SMALL = 4 << 10
_STEP = 1 << 20
_HELD = 16 << 20
"""Bytes; a file up to this size is inflated once and held, a larger one for each read that goes
back."""


class Piece(Source):
    """A piece of an archive in memory; other reads go to the archive."""

    def __init__(self, source: Source, start: int, length: int) -> None:
        self.name, self.size = source.name, source.size
        self._source, self._start = source, start
        self._data = source.read(start, min(length, source.size - start))

    def read(self, offset: int, length: int) -> bytes:
        first = offset - self._start
        if first >= 0 and first + length <= len(self._data):
            return self._data[first : first + length]
        return self._source.read(offset, length)

    def read_into(self, offset: int, room: memoryview) -> int:
        data = self.read(offset, len(room))
        room[: len(data)] = data
        return len(data)


def open_member(source: Source, extent: Extent) -> OpenFile:
    """Open a file of an archive. Raises OSError for one that can't be read."""
    if extent.size in REFUSED:
        raise _fault(source, REFUSED[extent.size])
    if extent.crc == PLAIN:
        return Member(source, extent)
    source = Piece(source, extent.start, HEADER + min(extent.packed, _SMALL))
    header = source.read(extent.start, LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or not header.startswith(LOCAL_SIGNATURE):
        raise _fault(source, f"no file begins at byte {extent.start:,}; copy it again")
    _, flags, method, name_length, extra_length = LOCAL_HEADER.unpack(header)
    start = extent.start + LOCAL_HEADER.size + name_length + extra_length
    as_listed = (
        not flags & ENCRYPTED_FLAGS
        and (method == DEFLATED or (method == STORED and extent.size == extent.packed))
        and start + extent.packed <= source.size
    )
    if not as_listed:
        raise _fault(source, "its header differs from the archive's list; make the archive again")
    kind = Inflated if method == DEFLATED else Member
    return kind(source, extent._replace(start=start))


def _fault(source: Source, what: str) -> OSError:
    return OSError(errno.EINVAL, f"{source.name}: {what}")


class Member(OpenFile):
    """A file whose bytes lie in the archive as they are."""

    def __init__(self, source: Source, extent: Extent) -> None:
        self._source, self._extent = source, extent

    @property
    def size(self) -> int:
        return self._extent.size

    def read(self, offset: int, length: int) -> bytes:
        length = max(min(length, self.size - offset), 0)
        data = self._source.read(self._extent.start + offset, length)
        if len(data) == self.size:
            self._demand_crc(data)
        return data

    def read_into(self, room: memoryview) -> int:
        count = min(len(room), self.size)
        found = self._source.read_into(self._extent.start, room[:count])
        if found == self.size:
            self._demand_crc(room[:found])
        return found + (self.size > len(room))

    def close(self) -> None:
        pass

    def _demand_crc(self, data: bytes | memoryview) -> None:
        if self._extent.crc != PLAIN:
            _demand_crc(self._source, Checksum.CRC32.of(data), self._extent)


class Inflated(OpenFile):
    """A deflated file. What it inflates to is never larger than the size in the index."""

    def __init__(self, source: Source, extent: Extent) -> None:
        self._source, self._extent = source, extent
        self._first, self._data = 0, b""  # the bytes that are held, and where they begin
        self._pieces = self._inflate()

    @property
    def size(self) -> int:
        return self._extent.size

    def read(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size)
        if offset < self._first:
            self._rewind()
        if self.size <= _HELD or (offset == 0 and stop == self.size):
            if self._first or len(self._data) < self.size:
                self._rewind()
                self._data = b"".join(self._pieces)
            return self._data[offset:stop]
        while self._first + len(self._data) < stop:
            skipped = min(max(offset - self._first, 0), len(self._data))
            self._first += skipped
            self._data = self._data[skipped:] + self._next()
        return self._data[max(offset - self._first, 0) : max(stop - self._first, 0)]

    def read_into(self, room: memoryview) -> int:
        done = 0
        for piece in self._inflate():
            part = piece[: len(room) - done]
            room[done : done + len(part)] = part
            done += len(part)
            if len(part) < len(piece):
                break
        return done + (self.size > len(room))

    def close(self) -> None:
        self._rewind()

    def _rewind(self) -> None:
        self._first, self._data, self._pieces = 0, b"", self._inflate()

    def _next(self) -> bytes:
        try:
            return next(self._pieces)
        except OSError:
            self._rewind()
            raise

    def _inflate(self) -> Iterator[bytes]:
        """The file's bytes in order. Raises OSError at the first sign that it is damaged."""
        position, packed = self._extent.start, self._extent.packed
        stop, size, crc = position + packed, 0, 0
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            while position < stop and size <= self.size and not inflater.eof:
                data = self._source.read(position, min(_STEP, stop - position))
                if not data:
                    break
                position += len(data)
                while piece := inflater.decompress(data, _STEP):
                    size += len(piece)
                    if size > self.size:
                        break
                    crc = Checksum.CRC32.of(piece, crc)
                    yield piece
                    data = inflater.unconsumed_tail
        except zlib.error as error:
            raise _fault(self._source, f"it is damaged ({error}); copy it again") from None
        if size != self.size or not inflater.eof:
            more = "more" if size > self.size else f"{size:,}"
            raise _fault(
                self._source,
                f"it has {more} of the {self.size:,} bytes that the archive's list says; make the "
                "archive again",
            )
        _demand_crc(self._source, crc, self._extent)


def _demand_crc(source: Source, crc: int, extent: Extent) -> None:
    if crc != extent.crc:
        raise _fault(source, "its checksum is wrong, so it is damaged; copy it again")
