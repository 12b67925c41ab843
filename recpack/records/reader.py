"""Read ``.rec`` files: in order, by position, by key."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol, overload

import numpy as np

from recpack.columns import Int64
from recpack.errors import RecordError
from recpack.formats.manifest import Manifest, manifest_beside
from recpack.formats.recordio import (
    Record,
    decode_payload,
    join_parts,
    locate_record,
    most_of_index,
    parse_index,
)
from recpack.records.settings import ReaderSettings
from recpack.settings import takes
from recpack.storage.files import Closing, pread
from recpack.storage.paths import PathOrUrl, read_bytes, read_companion
from recpack.storage.regular import TooLargeError, open_regular
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3, parse_location


class RecordFile(Protocol):
    """A file of ``size`` bytes that is read at any offset."""

    size: int
    identity: tuple[object, ...]
    """Another file, or another version of it, has another one."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the file."""

    def replaced(self) -> bool:
        """Whether another file has its name now."""

    def close(self) -> None:
        """Close the file; a second call does nothing."""


def open_file(path: PathOrUrl, s3: S3Client, *, mapped: bool = True) -> RecordFile:
    """Open a file by path or ``s3://…``; RecordError when it can't be opened."""
    try:
        if is_s3(path):
            from recpack.storage.s3.file import RemoteFile

            return RemoteFile(s3, parse_location(path))
        return LocalFile(path, mapped=mapped)
    except OSError as error:
        raise RecordError(f"{os.fspath(path)}: {error.strerror}") from error


class LocalFile:
    """A local file, read through a memory map or by ``pread``."""

    def __init__(self, path: PathOrUrl, *, mapped: bool) -> None:
        self._path = path
        self._descriptor = open_regular(path)
        found = os.fstat(self._descriptor)
        self.size = found.st_size
        self.identity: tuple[object, ...] = (
            found.st_dev,
            found.st_ino,
            found.st_size,
            found.st_mtime_ns,
        )
        self._map: mmap.mmap | None = None
        if mapped and self.size:
            self._map = mmap.mmap(self._descriptor, 0, prot=mmap.PROT_READ)

    def read(self, offset: int, length: int) -> bytes:
        if self._map is not None:
            return self._map[offset : offset + length]
        return pread(self._descriptor, offset, length)

    def replaced(self) -> bool:
        with suppress(OSError):
            return not os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        return False

    def close(self) -> None:
        if self._descriptor >= 0:
            if self._map is not None:
                self._map.close()
            os.close(self._descriptor)
            self._descriptor = -1


class RecordReader(Closing):
    """The records of a ``.rec`` file, by path or ``s3://…``.

    Iteration reads the file in order and needs no index. ``reader[i]`` is the record at position
    ``i`` (negative counts from the end), ``reader[a:b]`` a list, ``reader.read_key(k)`` the record
    with key ``k`` in the index. The index is the ``.idx`` beside the file (on S3 under the sibling
    ``_recpack/``), or ``index``; without one the reader reads the file once, and the keys are the
    record ids.

    ``mapped=False`` reads with ``pread`` instead of a memory map, for file systems where a map is
    slow, or files that another program can truncate. ``endpoint_url`` and ``requester_pays`` are
    for S3, where an iteration reads ranges ahead.

    Raises RecordError, with the byte offset, where the file breaks its format.
    """

    @takes(ReaderSettings)
    def __init__(self, path: PathOrUrl, settings: ReaderSettings) -> None:
        self.path = os.fspath(path)
        self._s3 = S3Client.of(settings)
        self._index_path = settings.index
        self._file = open_file(path, self._s3, mapped=settings.mapped)
        self._index: tuple[Int64, Int64] | None = None
        self._positions: dict[int, int] | None = None
        if settings.index and self.index() is None:
            self.close()
            raise RecordError(f"{settings.index}: no such index file")

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def __iter__(self) -> Iterator[Record]:
        offset = 0
        while offset < self._file.size:
            record, offset = self._record_at(offset)
            yield record

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, item: int) -> Record: ...
    @overload
    def __getitem__(self, item: slice) -> list[Record]: ...
    def __getitem__(self, item: int | slice) -> Record | list[Record]:
        if isinstance(item, slice):
            return [self._record_at(offset)[0] for offset in self.offsets[item].tolist()]
        return self._record_at(int(self.offsets[item]))[0]

    def read_key(self, key: int) -> Record:
        """The record with this key in the index; KeyError when there is none."""
        if self._positions is None:
            self._positions = {key: i for i, key in enumerate(self.keys.tolist())}
        return self[self._positions[key]]

    def read_offset(self, offset: int) -> Record:
        """The record that begins at this byte. It needs no index."""
        return self._record_at(offset)[0]

    @property
    def keys(self) -> Int64:
        """The keys in the order of the index, int64, shape (records,)."""
        return self._load_index()[0]

    @property
    def offsets(self) -> Int64:
        """The records' byte offsets in the order of the index, int64, shape (records,)."""
        return self._load_index()[1]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells this version of the file from every other one of its name: a reader opened
        later, or in another process, has the same one only if it reads the same bytes."""
        return self._file.identity

    def _record_at(self, offset: int) -> tuple[Record, int]:
        try:
            parts = locate_record(self._file.read, offset, self._file.size)
            return decode_payload(join_parts(self._file.read, parts), offset), parts[-1].end
        except OSError as error:
            raise RecordError(f"{self.path}: {error}", offset) from error
        except RecordError as error:
            raise RecordError(f"{self.path}: {error}", error.offset) from None

    def index(self) -> tuple[Int64, Int64] | None:
        """Keys and offsets of the index file, each int64 of shape (records,); None without one."""
        if self._index is None:
            try:
                if self._index_path:
                    self._index = self._read_index(self._index_path)
                    return self._index
                index = read_companion(self.path, ".idx", self._s3, self._read_index)
            except FileNotFoundError:
                return None
            if self._file.replaced():  # the index can be of the new file
                return None
            self._index = index
        return self._index

    def _read_index(self, path: PathOrUrl) -> tuple[Int64, Int64]:
        try:
            return parse_index(read_bytes(path, self._s3, most_of_index(self._file.size)))
        except FileNotFoundError:
            raise
        except TooLargeError as error:
            raise RecordError(f"{os.fspath(path)}: {error} or rebuild the index") from None
        except (OSError, RecordError) as error:
            raise RecordError(f"{os.fspath(path)}: {error}") from None

    def manifest(self) -> Manifest | None:
        """The manifest beside the file; None when there is none."""
        manifest = manifest_beside(self.path, self._s3)
        self.demand_current()
        return manifest

    def demand_current(self) -> None:
        """Raise RecordError when another run has replaced the file, and the files beside it belong
        to the new one."""
        if self._file.replaced():
            raise RecordError(f"{self.path}: another run has just replaced it; try again")

    def _load_index(self) -> tuple[Int64, Int64]:
        if self._index is None and self.index() is None:
            numbers = (number for record in self for number in (record.id, record.offset))
            table = np.fromiter(numbers, np.uint64).reshape(-1, 2).astype(np.int64)
            self._index = table[:, 0], table[:, 1]
        assert self._index is not None
        return self._index
