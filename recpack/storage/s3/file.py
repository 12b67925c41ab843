"""An S3 object as a file with positioned reads."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from mmap import mmap

from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import head, read

_FIRST = 64 << 10
_LARGEST = 4 << 20
_AHEAD = 8
_PADDING = 3
"""Bytes that a reader of records can skip between two reads."""


class RemoteFile:
    """Ranged reads of one object, all from the same version.

    Sequential reads use larger and larger requests, up to eight of 4 MiB ahead of the reader. Any
    other read starts again with a small request. Memory: less than 40 MiB plus the longest read.
    """

    map: None = None

    def __init__(
        self, s3: S3Client, location: Location, identity: tuple[int, str] | None = None
    ) -> None:
        self._s3, self._location = s3, location
        if identity is None:
            found = head(s3, location)
            identity = found.size, found.etag
        self.identity = identity
        self.size, self._etag = identity
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[Future[bytes]] = deque()
        self._closed = False
        self._begin(0)
        self._process = os.getpid()
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the object."""
        if self._process != os.getpid():  # the threads, and what they fetch, are the parent's
            self._process, self._pool, self._lock = os.getpid(), None, threading.Lock()
            self._pending.clear()
            self._begin(offset)
        with self._lock:
            try:
                data = self._read(offset, length)
            except BaseException as error:
                self._begin(offset)  # a piece may be lost: nothing may be joined to those before it
                if not (self._closed and isinstance(error, Exception)):
                    raise
        if self._closed:
            raise OSError("the reader is closed")
        return data

    def _read(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size)
        if not self._start <= offset <= self._start + len(self._data) + _PADDING:
            self._begin(offset)
        if stop > self._start + len(self._data):
            skipped = min(offset - self._start, len(self._data))
            del self._data[:skipped]
            self._start += skipped
            while stop > self._start + len(self._data):
                self._data += self._next(stop - self._requested)
        return bytes(self._data[offset - self._start : stop - self._start])

    def read_into(self, offset: int, room: mmap) -> int:
        """Fill ``room`` with the bytes at ``offset``; returns their number, fewer at the end."""
        data = self.read(offset, len(room))
        room[: len(data)] = data
        return len(data)

    def fetch(self, offset: int, length: int) -> bytes:
        """The same in one request, for threads; nothing is read in advance."""
        length = min(length, self.size - offset)
        return (
            read(self._s3, self._location, offset, length, etag=self._etag) if length > 0 else b""
        )

    def replaced(self) -> bool:
        """False: the next read of a replaced object fails."""
        return False

    def close(self) -> None:
        """Cancel all requests; a second call does nothing."""
        self._closed = True  # a read in another thread, which still has the pieces, fails
        if self._pool is not None and self._process == os.getpid():
            self._pool.shutdown(cancel_futures=True)

    def _next(self, wanted: int) -> bytes:
        """The next piece in order, of at least ``wanted`` bytes when no request is pending."""
        if self._step < _LARGEST and not self._pending:
            length = min(max(self._step, wanted), self.size - self._requested)
            self._step *= 4
            data = read(self._s3, self._location, self._requested, length, etag=self._etag)
            self._requested += length
            return data
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_AHEAD)
        while len(self._pending) < _AHEAD and self._requested < self.size:
            length = min(_LARGEST, self.size - self._requested)
            piece = (self._s3, self._location, self._requested, length)
            self._pending.append(self._pool.submit(read, *piece, etag=self._etag))
            self._requested += length
        return self._pending.popleft().result()

    def _begin(self, offset: int) -> None:
        """Forget all that is here or requested; the next piece begins at ``offset``."""
        for future in self._pending:
            future.cancel()
        self._pending.clear()
        self._data = bytearray()
        self._start = self._requested = offset
        self._step = _FIRST
