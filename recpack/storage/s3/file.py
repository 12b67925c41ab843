"""An object as a file with positioned reads."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import head, read

_FIRST = 64 << 10
_LARGEST = 4 << 20
_AHEAD = 8
_PADDING = 3
"""Bytes that a reader of records may leave out between two of its reads."""


class RemoteFile:
    """Ranged reads of one object, all of the same version of it.

    Reads that go on where the last one ended are answered from larger and larger requests, in
    the end eight of 4 MiB ahead of the reader; any other read begins with a small one. Memory:
    less than 40 MiB beside the longest read.
    """

    def __init__(self, s3: S3Client, location: Location) -> None:
        self._s3, self._location = s3, location
        found = head(s3, location)
        self.size = found.size
        self._etag = found.etag
        self._start = 0
        self._data = bytearray()
        self._pool: ThreadPoolExecutor | None = None
        self._coming: deque[Future[bytes]] = deque()
        self._asked = 0
        self._step = _FIRST

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the object."""
        stop = min(offset + length, self.size)
        if not self._start <= offset <= self._start + len(self._data) + _PADDING:
            self._forget_what_comes()
            self._data.clear()
            self._start = self._asked = offset
            self._step = _FIRST
        if stop > self._start + len(self._data):
            passed = min(offset - self._start, len(self._data))
            del self._data[:passed]
            self._start += passed
            while stop > self._start + len(self._data):
                self._data += self._next(stop - self._asked)
        return bytes(self._data[offset - self._start : stop - self._start])

    def close(self) -> None:
        """Drop what is on its way; may be called twice."""
        self._forget_what_comes()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _next(self, wanted: int) -> bytes:
        """The next piece in order, of at least ``wanted`` bytes if nothing is on its way."""
        if self._step < _LARGEST and not self._coming:
            length = min(max(self._step, wanted), self.size - self._asked)
            self._step *= 4
            data = read(self._s3, self._location, self._asked, length, etag=self._etag)
            self._asked += length
            return data
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_AHEAD)
        while len(self._coming) < _AHEAD and self._asked < self.size:
            length = min(_LARGEST, self.size - self._asked)
            piece = (self._s3, self._location, self._asked, length)
            self._coming.append(self._pool.submit(read, *piece, etag=self._etag))
            self._asked += length
        return self._coming.popleft().result()

    def _forget_what_comes(self) -> None:
        for future in self._coming:
            future.cancel()
        self._coming.clear()
