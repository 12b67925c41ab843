"""Trees in tar archives. Nothing is unpacked: files are read inside the archives."""

from __future__ import annotations

import errno
import io
import posixpath
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import compress, pairwise
from typing import Any, NamedTuple

import numpy as np

from recpack.columns import Int64, StringColumn
from recpack.storage.files import lines_of
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.ahead import Prefetcher, Request
from recpack.storage.trees.archive import Archive, Source
from recpack.storage.trees.base import Folder, Opener, OpenFile, Tree, join
from recpack.storage.trees.tar_index import SPARSE

_AFTER_SLASH = chr(ord("/") + 1)
_SMALL = 1 << 16
"""Files; up to this number a dictionary by name is worth its memory."""
_REQUEST, _GAP = 4 << 20, 64 << 10
"""Most bytes of one request for several files, and most bytes between two of them."""
_HEAD = 128 << 10


class Extent(NamedTuple):
    """Where a file's bytes are: its archive's number, the first byte, the size."""

    archive: int
    start: int
    size: int


@dataclass(frozen=True, eq=False)
class TarTree(Tree):
    """The files of one or several archives, as if unpacked in this order.

    ``names``, sorted, are relative to the data set's root; ``owners`` int64 (n,) the number of
    each one's archive; ``starts`` and ``sizes`` int64 (n,) its bytes in it.
    """

    archives: tuple[Archive, ...]
    names: StringColumn
    owners: Int64
    starts: Int64
    sizes: Int64

    @classmethod
    def of(cls, archives: Sequence[Archive]) -> TarTree:
        """The tree of all files. Its root is the folder with the years, or with the annotations.
        Raises DataError; see ``Archive.members``."""
        found = [archive.members() for archive in archives]
        names = [name for members in found for name in members.names]
        order = sorted(range(len(names)), key=names.__getitem__)
        # of equal names the last one counts; the sort is stable
        is_last = [names[row] != names[following] for row, following in pairwise(order)] + [True]
        rows = list(compress(order, is_last))
        skipped = len(_root([names[row] for row in rows]))
        chosen = np.array(rows, np.int64)
        owners = np.repeat(np.arange(len(found)), [len(members.starts) for members in found])
        return cls(
            tuple(archives),
            StringColumn(names[row][skipped:] for row in rows),
            owners[chosen],
            np.concatenate([members.starts for members in found])[chosen],
            np.concatenate([members.sizes for members in found])[chosen],
        )

    def __str__(self) -> str:
        return " + ".join(archive.path for archive in self.archives)

    def __getstate__(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in self.__dataclass_fields__}

    def is_there(self) -> bool:
        for archive in self.archives:
            archive.source().read(0, 1)
        return True

    def is_folder(self, path: str) -> bool:
        return path == "." or self.files_below(path) > 0

    def is_file(self, path: str) -> bool:
        return self.extent(path) is not None

    def folders(self, path: str) -> list[str]:
        return [name for name, is_folder in self._entries(path) if is_folder]

    def files(self, path: str) -> list[str]:
        if not self.is_folder(path):
            raise FileNotFoundError(errno.ENOENT, "no such folder in the archive", path)
        return [name for name, is_folder in self._entries(path) if not is_folder]

    def files_below(self, path: str) -> int:
        """Number of files in a folder and all its subfolders."""
        first, last = self._range(path)
        return last - first

    def lines(self, path: str) -> Iterator[str]:
        with self.folder(".") as folder, folder.open(path) as file:
            data = file.read(0, file.size)
        return lines_of(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=""))

    def folder(self, path: str, *, proven: bool = False) -> TarFolder:
        del proven  # a name can't be a link
        return TarFolder(self, path)

    def only(self, paths: Iterable[str]) -> TarTree:
        if not len(self.names):
            return self
        hashes, order = self._by_hash
        wanted = np.fromiter(map(hash, paths), np.int64)
        at = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
        rows = np.unique(order[at[hashes[at] == wanted]])
        return replace(
            self, names=self.names.take(rows), owners=self.owners[rows],
            starts=self.starts[rows], sizes=self.sizes[rows],
        )  # fmt: skip

    def extent(self, path: str) -> Extent | None:
        """Where a file's bytes are; None when there is no such file."""
        path = posixpath.normpath(path)
        if len(self.names) <= _SMALL:
            row = self._by_name.get(path, -1)
        else:
            row = bisect_left(self.names, path)
            if row == len(self.names) or self.names[row] != path:
                row = -1
        if row < 0:
            return None
        return Extent(int(self.owners[row]), int(self.starts[row]), int(self.sizes[row]))

    @cached_property
    def _by_name(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names)}

    @cached_property
    def _by_hash(self) -> tuple[Int64, Int64]:
        """The sorted hashes of the names, and the row of each."""
        hashes = np.fromiter(map(hash, self.names), np.int64, len(self.names))
        order = np.argsort(hashes)
        return hashes[order], order

    def _range(self, path: str) -> tuple[int, int]:
        if path == ".":
            return 0, len(self.names)
        first = bisect_left(self.names, path + "/")
        return first, bisect_left(self.names, path + _AFTER_SLASH)

    def _entries(self, path: str) -> Iterator[tuple[str, bool]]:
        """Names in a folder, and whether they are folders, sorted."""
        row, last = self._range(path)
        skipped = 0 if path == "." else len(path) + 1
        while row < last:
            name, slash, _ = self.names[row][skipped:].partition("/")
            yield name, bool(slash)
            row = bisect_left(self.names, join(path, name) + _AFTER_SLASH) if slash else row + 1


def _root(names: Sequence[str]) -> str:
    """The folder that all names begin with and that is the data set's root, e.g. ``VOCdevkit/``."""
    top = names[0].partition("/")[0] + "/" if names else ""
    inside = re.compile(re.escape(top) + r"(VOC[0-9]|Annotations/)")
    shared = all(name.startswith(top) for name in names)
    return top if shared and any(map(inside.match, names)) else ""


class Member(OpenFile):
    """A file in an archive."""

    def __init__(self, source: Source, start: int, size: int) -> None:
        self._source, self._start, self._size = source, start, size
        if size == SPARSE:
            raise OSError(errno.EINVAL, "a sparse file; make the archive again without --sparse")

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        length = max(min(length, self._size - offset), 0)
        return self._source.read(self._start + offset, length)

    def read_into(self, room: memoryview) -> int:
        count = min(len(room), self._size)
        found = self._source.read_into(self._start, room[:count])
        return found + (self._size > len(room))

    def close(self) -> None:
        pass


class _Piece(Source):
    """A piece of an archive in memory; other reads go to the archive."""

    def __init__(self, source: Source, start: int, length: int) -> None:
        self._source, self._start = source, start
        self._data = source.read(start, length)

    def read(self, offset: int, length: int) -> bytes:
        first = offset - self._start
        if first >= 0 and first + length <= len(self._data):
            return self._data[first : first + length]
        return self._source.read(offset, length)

    def read_into(self, offset: int, room: memoryview) -> int:
        data = self.read(offset, len(room))
        room[: len(data)] = data
        return len(data)


@dataclass
class _Run:
    """Files that one request fetches, in the order of their use: each with its name (None for
    None) and its extent (None when it has no bytes)."""

    archive: int
    start: int
    stop: int
    files: list[tuple[str | None, Extent | None]]

    def takes(self, extent: Extent, stop: int) -> bool:
        """Whether a file is close enough behind the others."""
        return (
            extent.archive == self.archive
            and 0 <= extent.start - self.stop <= _GAP
            and stop - self.start <= _REQUEST
        )


class TarFolder(Folder):
    """A folder in archives. In remote archives, one request fetches neighbouring files, and some
    are fetched in advance."""

    def __init__(self, tree: TarTree, path: str) -> None:
        self._tree, self._path = tree, path
        self._prefetcher = Prefetcher()

    def close(self) -> None:
        self._prefetcher.close()

    def open(self, name: str) -> Member:
        extent = self._extent(name)
        return Member(self._tree.archives[extent.archive].source(), extent.start, extent.size)

    def in_order(
        self,
        names: Sequence[str | None],
        *,
        head: int | None = None,
        sizes: Sequence[int] | None = None,
    ) -> Iterator[Opener | None]:
        if not any(is_s3(archive.path) for archive in self._tree.archives):
            return (None if name is None else partial(self.open, name) for name in names)
        return self._prefetch(names, _HEAD if sizes is None and head is None else head)

    def _extent(self, name: str) -> Extent:
        extent = self._tree.extent(join(self._path, name))
        if extent is None:
            raise FileNotFoundError(errno.ENOENT, "no such file in the archive", name)
        return extent

    def _prefetch(self, names: Sequence[str | None], head: int | None) -> Iterator[Opener | None]:
        def requests() -> Iterator[Request[Source, _Run]]:
            for run in self._runs(names, head):
                length = run.stop - run.start
                source = self._tree.archives[run.archive].source()
                yield Request(partial(_Piece, source, run.start, length), length, run)

        for future, run in self._prefetcher.in_order(requests()):
            assert future is not None
            yield from self._openers(future, run)

    def _runs(self, names: Sequence[str | None], head: int | None) -> Iterator[_Run]:
        run = _Run(0, 0, 0, [])
        for name in names:
            extent = None if name is None else self._tree.extent(join(self._path, name))
            if extent is None or extent.size <= 0:
                run.files.append((name, None))
                continue
            stop = extent.start + min(extent.size, head or extent.size)
            if run.stop and not run.takes(extent, stop):
                yield run
                run = _Run(0, 0, 0, [])
            if not run.stop:
                run.archive, run.start = extent.archive, extent.start
            run.stop = stop
            run.files.append((name, extent))
        yield run

    def _openers(self, future: Future[Source], run: _Run) -> Iterator[Opener | None]:
        for name, extent in run.files:
            if name is None:
                yield None
            elif extent is None:
                yield partial(self.open, name)
            else:
                yield partial(_open_member, future, extent)


def _open_member(future: Future[Source], extent: Extent) -> Member:
    return Member(future.result(), extent.start, extent.size)
