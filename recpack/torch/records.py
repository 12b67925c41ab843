"""The images of one or several ``.rec`` files as one sequence, in any process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from recpack.columns import Int64
from recpack.formats.recordio import Record
from recpack.records.reader import RecordReader
from recpack.records.settings import ReaderSettings
from recpack.storage.paths import PathOrUrl

PathOrPaths = PathOrUrl | Sequence[PathOrUrl]

_TABLE = 40
"""Bytes of the frame of a table with two floats. No image is so small that its record fits in."""


class Records:
    def __init__(self, paths: PathOrPaths, settings: ReaderSettings) -> None:
        if isinstance(paths, (str, os.PathLike)):
            paths = [paths]
        self._settings = settings
        self._paths = [os.fspath(path) for path in paths]
        self._pid = 0
        self._readers: dict[int, RecordReader] = {}
        self._offsets: list[Int64] = []
        self.sizes: list[int] = []
        for number in range(len(self._paths)):
            reader = self._reader(number)
            self._offsets.append(_images(reader))
            self.sizes.append(reader.size)
        self.counts = [len(offsets) for offsets in self._offsets]
        self._ends = list(accumulate(self.counts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, position: int) -> tuple[str, Record]:
        number = int(np.searchsorted(self._ends, position, "right"))
        offset = self._offsets[number][position - self._ends[number] + self.counts[number]]
        return self._paths[number], self._reader(number).read_offset(int(offset))

    def read_many(self, positions: Int64) -> Iterator[tuple[str, Record]]:
        for position in positions.tolist():
            yield self.read(position)

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_readers": {}, "_pid": 0}

    def _reader(self, number: int) -> RecordReader:
        if self._pid != os.getpid():
            self._pid, self._readers = os.getpid(), {}
        if number not in self._readers:
            one = self._settings
            self._readers[number] = RecordReader(
                self._paths[number], index=one.index, mapped=one.mapped,
                endpoint_url=one.endpoint_url, requester_pays=one.requester_pays,
            )  # fmt: skip
        return self._readers[number]


def _images(reader: RecordReader) -> Int64:
    """The offsets of the records with an image, int64, shape (images,)."""
    offsets = reader.offsets
    lengths = np.diff(np.append(np.sort(offsets), reader.size))[np.argsort(np.argsort(offsets))]
    if len(offsets) and lengths[0] <= _TABLE and reader[0].kind == "table":
        return offsets[lengths > _TABLE]
    return offsets
