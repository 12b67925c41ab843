"""Trees in tar and zip archives. Nothing is unpacked: files are read inside the archives."""

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
from typing import Any

import numpy as np

from recpack.columns import Int64, StringColumn
from recpack.storage.files import lines_of
from recpack.storage.limits import most_of_document
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.ahead import Prefetcher, Request
from recpack.storage.trees.archive import Archive, Source
from recpack.storage.trees.base import Folder, Opener, OpenFile, Tree, join
from recpack.storage.trees.index import PLAIN, Extent
from recpack.storage.trees.member import HEADER, Piece, open_member

_AFTER_SLASH = chr(ord("/") + 1)
_SMALL = 1 << 16
"""Files; up to this number a dictionary by name is worth its memory."""
_REQUEST, _GAP = 4 << 20, 64 << 10
"""Most bytes of one request for several files, and most bytes between two of them."""
_HEAD = 128 << 10


@dataclass(frozen=True, eq=False)
class ArchiveTree(Tree):
    """The files of one or several archives, as if unpacked in this order.

    ``names``, sorted, are relative to the data set's root; ``extents`` int64 (n, 5): the fields of
    each one's ``Extent``.
    """

    archives: tuple[Archive, ...]
    names: StringColumn
    extents: Int64

    wrapped = True

    @classmethod
    def of(cls, archives: Sequence[Archive]) -> ArchiveTree:
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
        owners = np.repeat(np.arange(len(found)), [len(members.names) for members in found])
        extents = np.concatenate([members.extents for members in found])
        return cls(
            tuple(archives),
            StringColumn(names[row][skipped:] for row in rows),
            np.column_stack((extents, owners))[chosen],
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
            data = file.read_all(most_of_document())
        return lines_of(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=""))

    def inside(self, folder: str) -> ArchiveTree:
        first, last = self._range(folder)
        names = StringColumn(name[len(folder) + 1 :] for name in self.names[first:last])
        return replace(self, names=names, extents=self.extents[first:last])

    def folder(self, path: str, *, proven: bool = False) -> ArchiveFolder:
        del proven  # a name can't be a link
        return ArchiveFolder(self, path)

    def open(self, source: Source, extent: Extent) -> OpenFile:
        """Open the file at this place. Raises OSError."""
        return open_member(source, extent)

    def only(self, paths: Iterable[str]) -> ArchiveTree:
        if not len(self.names):
            return self
        hashes, order = self._by_hash
        wanted = np.fromiter(map(hash, paths), np.int64)
        at = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
        rows = np.unique(order[at[hashes[at] == wanted]])
        return replace(self, names=self.names.take(rows), extents=self.extents[rows])

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
        return Extent(*self.extents[row].tolist())

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
            and self.start <= extent.start <= self.stop + _GAP
            and stop - self.start <= _REQUEST
        )


class ArchiveFolder(Folder):
    """A folder in archives. In remote archives, one request fetches neighbouring files, and some
    are fetched in advance."""

    def __init__(self, tree: ArchiveTree, path: str) -> None:
        self._tree, self._path = tree, path
        self._prefetcher = Prefetcher()
        self._sources: dict[int, Source] = {}  # finding an archive's takes as long as a read

    def close(self) -> None:
        self._prefetcher.close()

    def open(self, name: str) -> OpenFile:
        extent = self._tree.extent(join(self._path, name))
        if extent is None:
            raise FileNotFoundError(errno.ENOENT, "no such file in the archive", name)
        number = extent.archive
        if number not in self._sources:
            self._sources[number] = self._tree.archives[number].source()
        return self._tree.open(self._sources[number], extent)

    def in_order(
        self,
        names: Sequence[str | None],
        *,
        head: int | None = None,
        sizes: Sequence[int] | None = None,
    ) -> Iterator[Opener | None]:
        if not any(is_s3(archive.path) for archive in self._tree.archives):
            return (None if name is None else partial(self.open, name) for name in names)
        return self._prefetch(names, head, whole=sizes is not None)

    def _prefetch(
        self, names: Sequence[str | None], head: int | None, *, whole: bool
    ) -> Iterator[Opener | None]:
        def requests() -> Iterator[Request[Source, _Run]]:
            for run in self._runs(names, head, whole):
                length = run.stop - run.start
                source = self._tree.archives[run.archive].source()
                yield Request(partial(Piece, source, run.start, length), length, run)

        for future, run in self._prefetcher.in_order(requests()):
            assert future is not None
            yield from self._openers(future, run)

    def _runs(self, names: Sequence[str | None], head: int | None, whole: bool) -> Iterator[_Run]:
        run = _Run(0, 0, 0, [])
        for name in names:
            extent = None if name is None else self._tree.extent(join(self._path, name))
            if extent is None or extent.size <= 0:
                run.files.append((name, None))
                continue
            # the end of a deflated image, which shows whether it is complete, needs all before it
            most = head or (_HEAD if extent.packed == extent.size else _REQUEST)
            stop = extent.start + (extent.packed if whole else min(extent.packed, most))
            stop += HEADER * (extent.crc != PLAIN)
            if run.stop and not run.takes(extent, stop):
                yield run
                run = _Run(0, 0, 0, [])
            if not run.stop:
                run.archive, run.start = extent.archive, extent.start
            run.stop = max(run.stop, stop)
            run.files.append((name, extent))
        yield run

    def _openers(self, future: Future[Source], run: _Run) -> Iterator[Opener | None]:
        for name, extent in run.files:
            if name is None:
                yield None
            elif extent is None:
                yield partial(self.open, name)
            else:
                yield partial(self._open, future, extent)

    def _open(self, future: Future[Source], extent: Extent) -> OpenFile:
        return self._tree.open(future.result(), extent)
