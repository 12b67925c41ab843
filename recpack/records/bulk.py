"""Many records at once: neighbours in one read, reads by threads, batches in advance."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import NamedTuple

from recpack.columns import Int64
from recpack.errors import RecordError
from recpack.formats.record import Record, whole_record
from recpack.records.record_file import read_at, read_parts, read_record
from recpack.records.shards import Shards
from recpack.storage.files import Closing
from recpack.storage.s3.location import is_s3

_THREADS = 16
_GAP = 1 << 16
_LARGEST = 4 << 20
"""Bytes between two records, at most, that are read in vain, and of a read with several records."""


class Wanted(NamedTuple):
    """Where records are: the number of the file, the first byte, and where the frame ends, each
    int64, shape (records,)."""

    files: Int64
    offsets: Int64
    ends: Int64


class _Row(NamedTuple):
    """One of them, and its place in what was asked for."""

    file: int
    offset: int
    end: int
    place: int


class BulkReader(Closing):
    """Reads records of ``shards`` by threads, except where a memory map has them."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def __reduce__(self) -> tuple[object, ...]:
        return BulkReader, (self._shards,)

    def close(self) -> None:
        """End the threads; a second call does nothing."""
        if self._pool is not None and self._process == os.getpid():
            self._pool.shutdown(cancel_futures=True)
        self._pool = None

    def start(self, wanted: Wanted, *, ahead: bool = False) -> Callable[[], list[Record]]:
        """Begin to read, and return what waits for the records, in the order of ``wanted``. On S3
        many threads read; on a disk one, if it is ``ahead`` of its use: in the page cache more of
        them only stand in each other's way."""
        files, offsets, ends = (column.tolist() for column in wanted)
        if not files or self._shards[files[0]].map is not None:
            return lambda: [
                read_record(self._shards[file], self._shards.paths[file], offset)
                for file, offset in zip(files, offsets, strict=True)
            ]
        rows = list(map(_Row, files, offsets, ends, range(len(files))))
        ranges = list(_ranges(sorted(rows)))
        remote = is_s3(self._shards.paths[rows[0].file])
        share = -(-len(ranges) // _THREADS) if remote else len(ranges)
        tasks = [ranges[i : i + share] for i in range(0, len(ranges), share)]
        if len(tasks) == 1 and not ahead:
            return lambda: _in_place(self._read(tasks[0]), len(rows))
        futures = [self._threads().submit(self._read, task) for task in tasks]

        def wait() -> list[Record]:
            try:
                every = (found for future in futures for found in future.result())
                return _in_place(every, len(rows))
            except (CancelledError, RecordError):
                self._shards.demand_open(rows[0].file)
                raise

        return wait

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._process != os.getpid():  # a fork leaves the threads behind
            self._pool, self._process = ThreadPoolExecutor(_THREADS), os.getpid()
        return self._pool

    def _read(self, ranges: Iterable[list[_Row]]) -> list[tuple[int, Record]]:
        found = []
        for rows in ranges:
            number, start, *_ = rows[0]
            file, path = self._shards[number], self._shards.paths[number]
            data = read_at(file.fetch, path, start, min(rows[-1].end - start, _LARGEST))
            for row in rows:
                one = whole_record(data, row.offset - start, len(data), row.offset)
                record = one[0] if one else read_parts(file.fetch, file.size, path, row.offset)[0]
                found.append((row.place, record))
        return found


def _ranges(rows: list[_Row]) -> Iterator[list[_Row]]:
    """Rows in the order of the bytes → those that are read together."""
    near = rows[:1]
    for row in rows[1:]:
        first, last = near[0], near[-1]
        if (
            row.file == last.file
            and row.offset - last.end <= _GAP
            and row.end - first.offset <= _LARGEST
        ):
            near.append(row)
        else:
            yield near
            near = [row]
    yield near


def _in_place(found: Iterable[tuple[int, Record]], count: int) -> list[Record]:
    by_place = dict(found)
    return [by_place[place] for place in range(count)]
