"""A ``.rec`` that is read at any offset: on a disk, or on S3."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from shlex import quote
from typing import Any, Protocol, TypeVar

from recpack.errors import RecordError
from recpack.formats.record import Record, whole_record
from recpack.formats.recordio import ReadAt, parse_record
from recpack.storage.files import pread
from recpack.storage.paths import PathOrUrl
from recpack.storage.regular import open_regular
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import INDEX, LIST, MANIFEST, is_s3, parse_location

_FIRST = 1 << 16
_BLOCK = 1 << 20
_LARGEST = 1 << 24
"""Bytes read at once, in order: at first, when it goes on, and where records are long."""

A = TypeVar("A")
B = TypeVar("B")

Identity = tuple[Any, ...]
"""The size of a file in bytes, and what tells it from others."""


class RecordFile(Protocol):
    """A file of ``size`` bytes that is read at any offset."""

    size: int
    identity: Identity

    @property
    def map(self) -> mmap.mmap | None:
        """All of it, if it is mapped."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the file."""

    def read_into(self, offset: int, room: mmap.mmap) -> int:
        """Fill ``room`` with the bytes at ``offset``; fewer only at the end of the file. Returns
        their number."""

    def fetch(self, offset: int, length: int) -> bytes:
        """``read`` for threads, with nothing read in advance."""

    def replaced(self) -> bool:
        """Whether another file has its name now."""

    def close(self) -> None:
        """Close the file; a second call does nothing."""


def open_file(
    path: PathOrUrl, s3: S3Client, *, mapped: bool = True, identity: Identity | None = None
) -> RecordFile:
    """Open a file by path or ``s3://…``; RecordError when it can't be opened, has not this
    ``identity``, or has the name of a companion."""
    if os.fspath(path).endswith((INDEX, LIST, MANIFEST)):
        raise RecordError(
            f"{os.fspath(path)}: this lies beside a .rec; give the name of the .rec (of a set of "
            "shards x.json: x.rec)"
        )
    try:
        if is_s3(path):
            from recpack.storage.s3.file import RemoteFile

            return RemoteFile(s3, parse_location(path), identity and (identity[0], identity[1]))
        file = LocalFile(path, mapped=mapped)
    except OSError as error:
        name = os.fspath(path)
        remedy = f"; recpack detect {quote(name)} says what it is" if os.path.isdir(name) else ""
        raise RecordError(f"{name}: {error.strerror}{remedy}") from error
    # the number of a device, the last one, is another one on another machine
    if identity is not None and identity[:-1] != file.identity[:-1]:
        file.close()
        raise RecordError(replaced(path))
    return file


def replaced(path: PathOrUrl) -> str:
    """The text of the error."""
    return f"{os.fspath(path)}: another run has just replaced it; try again"


class LocalFile:
    """A local file, read through a memory map or by ``pread``. It closes when nobody has it."""

    def __init__(self, path: PathOrUrl, *, mapped: bool) -> None:
        self._path = path
        self.map: mmap.mmap | None = None  # close looks at it, also when what follows fails
        self._descriptor = open_regular(path)
        found = os.fstat(self._descriptor)
        self.size = found.st_size
        self.identity: Identity = (
            found.st_size,
            found.st_mtime_ns,
            found.st_ino,
            found.st_dev,
        )
        if mapped and self.size:
            self.map = mmap.mmap(self._descriptor, 0, prot=mmap.PROT_READ)

    def read(self, offset: int, length: int) -> bytes:
        if self.map is not None:
            return self.map[offset : offset + length]
        return pread(self._descriptor, offset, length)

    def read_into(self, offset: int, room: mmap.mmap) -> int:
        return os.preadv(self._descriptor, [room], offset)

    fetch = read

    def replaced(self) -> bool:
        with suppress(OSError):
            return not os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        return False

    def close(self) -> None:
        if self._descriptor >= 0:
            if self.map is not None:
                self.map.close()
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.close()


def read_record(file: RecordFile, path: str, offset: int, length: int = _FIRST) -> Record:
    """The record that begins at ``offset``, whose frame has ``length`` bytes, or about so many:
    then they are read at once. Raises RecordError."""
    found = None
    if file.map is not None:
        if offset >= 0:
            found = whole_record(file.map, offset, file.size, offset)
    elif offset >= 0:
        data = read_at(file.read, path, offset, min(length, _LARGEST))
        found = whole_record(data, 0, len(data), offset)
    return found[0] if found is not None else read_parts(file.read, file.size, path, offset)[0]


def read_in_order(file: RecordFile, path: str) -> Iterator[Record]:
    """All records of a file. Raises RecordError. Memory: 1 MiB, and five times the longest record,
    up to 16 MiB more."""
    offset = start = 0
    stop, data = file.size, file.map
    length, buffer = 0, None
    while offset < file.size:
        if file.map is None:
            if buffer is None or len(buffer) < length:
                buffer = _new_buffer(length := max(length, _FIRST))
            start, data = offset, buffer
            stop = read_at(file.read_into, path, offset, buffer)
        assert data is not None
        at = first = offset - start
        while (found := whole_record(data, at, stop, start + at)) is not None:
            record, at = found
            yield record
        if at == first:
            record, end = read_parts(file.read, file.size, path, offset)
            length = max(length, min(4 * (end - offset), _LARGEST))
            at = end - start
            yield record
        offset = start + at
        length = max(length, min(4 * length, _BLOCK))


def _new_buffer(length: int) -> mmap.mmap:
    """A slice of it is made of bytes; and it takes its pages once, not for each read."""
    return mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def read_at(read: Callable[[int, A], B], path: str, offset: int, amount: A) -> B:
    """``read(offset, amount)``; raises RecordError."""
    try:
        return read(offset, amount)
    except OSError as error:
        raise RecordError(f"{path}: {error}", offset) from error


def read_parts(read: ReadAt, size: int, path: str, offset: int) -> tuple[Record, int]:
    """A record in any number of parts, and where its frame ends. Raises RecordError."""
    try:
        return parse_record(read, offset, size)
    except OSError as error:
        raise RecordError(f"{path}: {error}", offset) from error
    except RecordError as error:
        raise RecordError(f"{path}: {error}", error.offset) from None
