"""The images in ``.rec`` files, as the files of a tree: packing reads them as any others."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recpack.columns import StringColumn
from recpack.errors import DataError, RecordError
from recpack.formats.recordio import parse_record
from recpack.storage.paths import base_name
from recpack.storage.trees.archive import Archive, Source
from recpack.storage.trees.archive_tree import ArchiveFolder, ArchiveTree
from recpack.storage.trees.base import OpenFile
from recpack.storage.trees.index import PLAIN, Extent
from recpack.storage.trees.member import Member


def image_path(rec: str, start: int, size: int, framed: int = 0) -> str:
    """The path of an image of ``size`` bytes that begins at byte ``start``. An image with the magic
    word in it lies in several parts: ``start`` and ``framed`` are then those of its record."""
    return f"{rec}:{start}+{size}" + (f"/{framed}" if framed else "")


@dataclass(frozen=True, eq=False)
class RecordTree(ArchiveTree):
    """The images of some ``.rec`` files. Their paths say where they are (see ``image_path``), so
    the tree has no list of them: a worker gets only what it reads."""

    @classmethod
    def of_files(cls, files: Iterable[Archive]) -> RecordTree:
        """The tree of these files, whose names differ."""
        return cls(tuple(files), StringColumn(), np.zeros((0, 5), np.int64))

    def folder(self, path: str, *, proven: bool = False) -> RecordFolder:
        del proven
        return RecordFolder(self, path)

    def open(self, source: Source, extent: Extent) -> OpenFile:
        return (_Image if extent.packed == extent.size else _JoinedImage)(source, extent)

    def extent(self, path: str) -> Extent:
        name, _, place = path.rpartition(":")
        start, _, sizes = place.partition("+")
        size, _, framed = sizes.partition("/")
        number = self._numbers[name]
        return Extent(int(start), int(size), int(framed or size), PLAIN, number)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {base_name(file.path): number for number, file in enumerate(self.archives)}


class RecordFolder(ArchiveFolder):
    """Where a file of records can't be read, that is no fault of one image: it ends the run."""

    def open(self, name: str) -> OpenFile:
        try:
            return super().open(name)
        except OSError as error:
            raise _unreadable(error) from error

    def _open(self, future: Future[Source], extent: Extent) -> OpenFile:
        try:
            return super()._open(future, extent)
        except OSError as error:
            raise _unreadable(error) from error


def _unreadable(error: OSError) -> DataError:
    return DataError(f"the records can't be read: {error.strerror or error}")


class _Image(Member):
    """The image of a record. Raises DataError when the file is not the one that was found."""

    def read_into(self, room: memoryview) -> int:
        try:
            found = self._fill(room)
        except OSError as error:
            raise _unreadable(error) from error
        if found != len(room) or self._source.changed():
            raise self._changed()
        return found

    def _fill(self, room: memoryview) -> int:
        return super().read_into(room)

    def _changed(self) -> DataError:
        return DataError(f"{self._source.name} has changed during the run; run again")


class _JoinedImage(_Image):
    """An image in several parts."""

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def _fill(self, room: memoryview) -> int:
        data = self._data[: len(room)]
        room[: len(data)] = data
        return len(self._data)

    @cached_property
    def _data(self) -> bytes:
        read, start = self._source.read, self._extent.start
        try:
            return parse_record(read, start, start + self._extent.packed)[0].image_bytes
        except RecordError:
            raise self._changed() from None
