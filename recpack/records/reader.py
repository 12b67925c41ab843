"""Read ``.rec`` files: in order, by position, by key; one, or several as one."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, overload

import numpy as np

from recpack.columns import Int64
from recpack.errors import ConfigError, RecordError
from recpack.formats.manifest import Manifest, manifest_beside, shard_paths
from recpack.formats.record import Record, whole_record
from recpack.formats.recordio import most_of_index, parse_index
from recpack.records.bulk import BulkReader, Wanted
from recpack.records.record_file import read_in_order, read_record, replaced
from recpack.records.settings import ReaderSettings
from recpack.records.shards import Shards
from recpack.settings import takes
from recpack.storage.files import Closing
from recpack.storage.paths import PathOrUrl, read_bytes, read_companion
from recpack.storage.regular import TooLargeError
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3

_READS = 16
"""Requests in flight."""

T = TypeVar("T")


class RecordReader(Closing):
    """The records of a ``.rec`` file, by path or ``s3://…``; of a set of shards, by its name; or of
    several files, one after the other.

    Iteration reads in order and needs no index. ``reader[i]`` is the record at position ``i``
    (negative counts from the end), ``reader[a:b]`` a list, ``reader.read_key(k)`` the record with
    key ``k`` in the index. The index is the ``.idx`` beside the file (on S3 under the sibling
    ``_recpack/``), or ``index``; without one the reader reads the file once, and the keys are the
    record ids. Positions count through all files, and are the keys of a set.

    ``mapped=False`` reads with ``pread`` instead of a memory map, for file systems where a map is
    slow, or files that another program can truncate. ``endpoint_url`` and ``requester_pays`` are
    for S3, where an iteration reads ranges ahead.

    A reader can be pickled, and used after a fork: it opens the same version of its files, or
    raises RecordError. At most 64 files are open at once, and an index takes 24 bytes per record.

    Raises RecordError, with the byte offset, where a file breaks its format.
    """

    @takes(ReaderSettings)
    def __init__(self, path: PathOrUrl | Sequence[PathOrUrl], settings: ReaderSettings) -> None:
        paths = [path] if isinstance(path, (str, os.PathLike)) else path
        if not paths:
            raise ConfigError("path: name at least one .rec file (got none)")
        if settings.index and len(paths) > 1:
            raise ConfigError(f"index: it is of one file, and these are {len(paths)}")
        self.path = os.fspath(paths[0])
        """The path, or the name of the set; of several files the first."""
        self._s3 = S3Client.of(settings)
        self._index_path = settings.index
        self._shards = Shards([os.fspath(one) for one in paths], self._s3, mapped=settings.mapped)
        self._single = len(paths) == 1
        """One name, which has a manifest."""
        self._open(mapped=settings.mapped)
        self._bulk = BulkReader(self._shards)
        self._index: tuple[Int64, Int64] | None = None
        self._ends = np.zeros(0, np.int64)
        self._starts = [0]
        self._by_key: Int64 | None = None
        self._size: int | None = None
        if settings.index and self.index() is None:
            self.close()
            raise RecordError(f"{settings.index}: no such index file")

    def _open(self, *, mapped: bool) -> None:
        """Open the first file, to see whether it can be read, or find the set's."""
        try:
            self._shards[0]
        except RecordError as error:
            if not self._single or not isinstance(error.__cause__, FileNotFoundError):
                raise
            paths = shard_paths(self.path, self._s3)
            if not paths:
                raise
            self._shards = Shards(paths, self._s3, mapped=mapped)
            self._shards[0]

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._bulk.close()
        self._shards.close()

    def __iter__(self) -> Iterator[Record]:
        for number, path in enumerate(self.paths):
            try:
                yield from read_in_order(self._shards[number], path)
            except (RecordError, ValueError):  # of a map or a descriptor that is closed
                self._shards.demand_open(number)
                raise
            self._shards.release(number)

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, item: int) -> Record: ...
    @overload
    def __getitem__(self, item: slice) -> list[Record]: ...
    def __getitem__(self, item: int | slice) -> Record | list[Record]:
        if isinstance(item, slice):
            return self.read_many(range(*item.indices(len(self))))
        _, offsets = self._index or self._load_index()
        try:
            offset = offsets.item(item)
        except IndexError:
            raise IndexError(f"no record {item}; there are {len(offsets):,}, from 0") from None
        number = 0
        if len(self._starts) > 1:
            number = bisect_right(self._starts, item if item >= 0 else item + len(offsets)) - 1
        file = self._shards.open.get(number) or self._shards[number]
        if file.map is not None:  # what follows for others is true here too, and slower
            found = whole_record(file.map, offset, file.size, offset)
            if found is not None:
                return found[0]
        length = self._ends.item(item) - offset
        return read_record(file, self._shards.paths[number], offset, length)

    def read_many(self, positions: Sequence[int] | Int64) -> list[Record]:
        """The records at these positions, in this order: neighbours in one read of up to 4 MiB, on
        S3 16 reads at once."""
        return self._bulk.start(self._find(positions))()

    def batches(
        self, size: int, order: Sequence[int] | Int64 | None = None, *, ahead: int = 4
    ) -> Iterator[list[Record]]:
        """``read_many`` of ``size`` positions after the other, the last ones fewer. ``order``: the
        positions of all (default: 0, 1, 2, …). While one batch is used, threads read ``ahead``
        more, except where a memory map has the file; in memory are as many and one more."""
        for name, value, least in (("size", size, 1), ("ahead", ahead, 0)):
            if value < least:
                raise ConfigError(f"{name}: must be at least {least} (got {value})")
        wanted = self._find(np.arange(len(self)) if order is None else order)
        started: deque[Callable[[], list[Record]]] = deque()
        for first in range(0, len(wanted.files), size):
            part = Wanted(*(one[first : first + size] for one in wanted))
            started.append(self._bulk.start(part, ahead=ahead > 0))
            if len(started) > ahead:
                yield started.popleft()()
        for wait in started:
            yield wait()

    def _find(self, positions: Sequence[int] | Int64) -> Wanted:
        offsets = self.offsets
        where = np.array(positions).reshape(-1)
        if not len(where):
            where = where.astype(np.int64)
        if where.dtype.kind not in "iu":
            raise ConfigError(f"positions: must be whole numbers (got {where.dtype})")
        where[where < 0] += len(offsets)
        wrong = np.flatnonzero((where < 0) | (where >= len(offsets)))
        if len(wrong):
            number = np.reshape(positions, -1)[wrong[0]]
            raise IndexError(f"no record {number}; there are {len(offsets):,}, from 0")
        files = np.searchsorted(self._starts, where, side="right") - 1
        return Wanted(files, offsets[where], self._ends[where])

    def read_key(self, key: int) -> Record:
        """The record with this key in the index; KeyError when there is none."""
        keys = self.keys
        if 0 <= key < len(keys) and keys[key] == key:
            return self[key]
        if self._by_key is None:
            self._by_key = np.argsort(keys, kind="stable")
        found = int(np.searchsorted(keys, key, sorter=self._by_key))
        if found == len(keys) or keys[self._by_key[found]] != key:
            raise KeyError(key)
        return self[int(self._by_key[found])]

    def read_offset(self, offset: int) -> Record:
        """The record that begins at this byte of the one file. It needs no index."""
        if len(self._shards) > 1:
            raise ConfigError(
                f"{self.path}: these are {len(self._shards)} files, and each has an offset "
                f"{offset}; make a RecordReader of one file"
            )
        return read_record(self._shards[0], self.paths[0], offset)

    def locate(self, position: int) -> tuple[str, int]:
        """The file that holds a position, and the record's position in that file."""
        number = range(len(self))[position]  # IndexError, and negative ones count from the end
        file = bisect_right(self._starts, number) - 1
        return self.paths[file], number - self._starts[file]

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, in order."""
        return self._shards.paths

    @property
    def starts(self) -> Int64:
        """The position of each file's first record, then the number of all, int64, shape
        (files + 1,)."""
        count = len(self)  # first, because it loads the index
        return np.array([*self._starts, count], np.int64)

    @property
    def keys(self) -> Int64:
        """The keys in the order of the index, int64, shape (records,)."""
        return self._load_index()[0]

    @property
    def offsets(self) -> Int64:
        """The records' byte offsets, each in its file, in the order of the index, int64, shape
        (records,)."""
        return self._load_index()[1]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        if self._size is None:
            self._size = sum(identity[0] for identity in self._each(self._shards.identity))
        return self._size

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells this version of the files from every other one of their names: a reader opened
        later, or in another process, has the same one only if it reads the same bytes."""
        if len(self._shards) == 1:
            return self._shards.identity(0)
        return tuple(self._each(self._shards.identity))

    def index(self) -> tuple[Int64, Int64] | None:
        """Keys and offsets of the index files, each int64 of shape (records,); None when a file has
        none."""
        if self._index is None:
            tables = []
            for table in self._each(self._index_of):
                if table is None:
                    return None
                tables.append(table)
            self._keep(tables)
        return self._index

    def _load_index(self) -> tuple[Int64, Int64]:
        if self._index is None:
            self._keep(self._each(lambda number: self._index_of(number) or self._scan(number)))
        assert self._index is not None
        return self._index

    def _keep(self, tables: Sequence[tuple[Int64, Int64]]) -> None:
        lengths = [len(offsets) for _, offsets in tables]
        self._starts = [0, *np.cumsum(lengths).tolist()][:-1]
        self._ends = np.concatenate(
            [_ends(table[1], self._shards.identity(n)[0]) for n, table in enumerate(tables)]
        )
        if len(tables) == 1:
            self._index = tables[0]
        else:
            offsets = np.concatenate([offsets for _, offsets in tables])
            self._index = np.arange(len(offsets)), offsets

    def _each(self, work: Callable[[int], T]) -> list[T]:
        """``work`` for the number of each file, in order; on S3 for many at once."""
        numbers = range(len(self._shards))
        if len(numbers) == 1 or not is_s3(self.path):
            return [work(number) for number in numbers]
        with ThreadPoolExecutor(_READS) as pool:
            return list(pool.map(work, numbers))

    def _index_of(self, number: int) -> tuple[Int64, Int64] | None:
        file = self._shards[number]

        def read(path: PathOrUrl) -> tuple[Int64, Int64]:
            try:
                return parse_index(read_bytes(path, self._s3, most_of_index(file.size)))
            except FileNotFoundError:
                raise
            except TooLargeError as error:
                raise RecordError(f"{os.fspath(path)}: {error} or rebuild the index") from None
            except (OSError, RecordError) as error:
                raise RecordError(f"{os.fspath(path)}: {error}") from None

        try:
            if self._index_path:
                return read(self._index_path)
            index = read_companion(self.paths[number], ".idx", self._s3, read)
        except FileNotFoundError:
            return None
        return None if file.replaced() else index  # it can be of the new file

    def _scan(self, number: int) -> tuple[Int64, Int64]:
        """The ids and offsets of a file without an index."""
        records = read_in_order(self._shards[number], self.paths[number])
        numbers = (value for record in records for value in (record.id, record.offset))
        table = np.fromiter(numbers, np.uint64).reshape(-1, 2).astype(np.int64)
        return table[:, 0], table[:, 1]

    def manifest(self) -> Manifest | None:
        """The manifest beside the file, or that of the set, also of a shard alone: then ``rec`` and
        ``shards`` are this file, all else is of the set. None when there is none, and for several
        files."""
        manifest = manifest_beside(self.path, self._s3) if self._single else None
        self.demand_current()
        return manifest

    def demand_current(self) -> None:
        """Raise RecordError when another run has replaced a file, and the files beside it belong
        to the new one."""
        for number, file in list(self._shards.open.items()):
            if file.replaced():
                raise RecordError(replaced(self.paths[number]))


def _ends(offsets: Int64, size: int) -> Int64:
    """Where the records at these offsets end, if none is missing."""
    order = np.argsort(offsets, kind="stable")  # the lines of an index can be in any order
    ends = np.empty_like(offsets)
    ends[order] = np.append(offsets[order[1:]], size)
    return ends
