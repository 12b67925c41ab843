"""The interface of a tree: listings for the coordinator, positioned reads for the workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import ClassVar

from recpack.errors import DataError
from recpack.storage.explain import UNREADABLE
from recpack.storage.files import Closing
from recpack.storage.regular import demand_size


class OpenFile(Closing):
    """A file open for positioned reads."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Size in bytes."""

    @property
    def identity(self) -> int:
        """64 bits, signed, that a file put in this one's place, or changed, does not have; 0 where
        nothing tells them apart."""
        return 0

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the file."""

    def read_all(self, limit: int) -> bytes:
        """The whole file. Raises TooLargeError when it has more than ``limit`` bytes."""
        size = self.size
        demand_size(size, limit)
        return self.read(0, size)

    @abstractmethod
    def read_into(self, room: memoryview) -> int:
        """Fill ``room`` from the beginning of the file. Returns the file's size if it fits into
        ``room``, else ``len(room) + 1``."""


def identity_of(values: tuple[int, ...]) -> int:
    """An ``OpenFile.identity``: equal in every process for equal values, and never 0."""
    return hash(values) or 1  # Python salts the hashes of strings, not those of integers


Opener = Callable[[], OpenFile]
"""Opens a file when it is needed. Raises OSError, UnsafePathError for a file outside the tree."""

Head = tuple[int, int, bytes, Callable[[int, int], bytes]]
"""An open file's size in bytes, its identity, its first ``HEAD`` bytes, and its ``read``."""
HEAD = 512
"""Most JPEG files have their size within it. A page takes longer, and saves a second read where
there are more blocks before the size."""

_SYSTEM = ("__MACOSX", "Thumbs.db", "desktop.ini")
_MAX_DEPTH = 12
"""Most levels of folders below a listed one: links can lead in a circle."""


def head_of(file: OpenFile) -> Head:
    """The ``Head`` of a file; it can be used until the file is closed."""
    return file.size, file.identity, file.read(0, HEAD), file.read


class Folder(Closing):
    """A folder of a tree that a worker keeps open."""

    @abstractmethod
    def open(self, name: str) -> OpenFile:
        """Open a file by its path below the folder. Raises the errors of an ``Opener``."""

    @abstractmethod
    def in_order(
        self,
        names: Sequence[str | None],
        *,
        head: int | None = None,
        sizes: Sequence[int] | None = None,
    ) -> Iterator[Opener | None]:
        """An opener for each name, None for None. A remote tree fetches some files in advance:
        the first ``head`` bytes of each, or all. Known ``sizes`` limit the bytes in advance."""

    def contents(
        self, names: Sequence[str | None], limit: int
    ) -> Iterator[bytes | Exception | None]:
        """Each file's bytes, or the error (one of ``UNREADABLE``) for what can't be read or has
        more than ``limit`` bytes; None for None."""
        for opener in self.in_order(names):
            found: bytes | Exception | None = None
            if opener is not None:
                try:
                    with opener() as file:
                        found = file.read_all(limit)
                except UNREADABLE as error:
                    found = error
            yield found

    def heads(self, names: Sequence[str | None]) -> Iterator[Head | Exception | None]:
        """Each file's ``Head``, or the error (one of ``UNREADABLE``) for what can't be read; None
        for None. A file is open until the next one is asked for."""
        for opener in self.in_order(names):
            if opener is None:
                yield None
                continue
            try:
                with opener() as file:
                    yield head_of(file)
            except UNREADABLE as error:
                yield error


class Tree(ABC):
    """A data set's root; ``str`` gives its name. Paths are relative to it, with ``/``; ``.`` is the
    root. Picklable, so that workers on any machine can open it."""

    wrapped: ClassVar[bool] = False
    """Whether a single folder at the top is probably the data set itself, as in archives."""

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def is_folder(self, path: str) -> bool: ...

    @abstractmethod
    def is_file(self, path: str) -> bool: ...

    @abstractmethod
    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder, sorted."""

    @abstractmethod
    def files(self, path: str) -> list[str]:
        """The names of the files in a folder, sorted; OSError when there is no such folder."""

    def some_files(self, path: str) -> list[str]:
        """The names of ``files``; on S3 at least the first 1000, which are one request."""
        return self.files(path)

    @abstractmethod
    def lines(self, path: str) -> Iterator[str]:
        """See ``files.text_lines``."""

    def walk(self, path: str) -> Iterator[str]:
        """The paths of all files below a folder."""
        folders = self.folders(path)
        inner = set(folders)
        yield from (join(path, name) for name in self.files(path) if name not in inner)
        for name in folders:
            yield from self.walk(join(path, name))

    def listing(self, path: str, depth: int = 0) -> Iterator[tuple[str, list[str]]]:
        """The paths of a folder and of all below it, each before those in it, with the sorted names
        of its files. Links to folders are followed; hidden folders are left out. Raises DataError
        for more than ``_MAX_DEPTH`` levels."""
        if depth > _MAX_DEPTH:
            reason = f"more than {_MAX_DEPTH} levels of folders; remove links in a circle"
            raise DataError(f"{self}: {path}: {reason}")
        folders = self.folders(path)
        inner = set(folders)
        yield path, [name for name in self.files(path) if name not in inner]
        for name in folders:
            if not is_hidden(name):
                yield from self.listing(join(path, name), depth + 1)

    @abstractmethod
    def inside(self, folder: str) -> Tree:
        """The tree of a folder in it."""

    def only_folder(self) -> Tree | None:
        """The tree of the only folder in it, where it holds nothing else: archivers and downloads
        put one around a data set. None too for a link that leads out."""
        folders = [name for name in self.folders(".") if not is_hidden(name)]
        if len(folders) == 1 and all(map(is_hidden, {*self.files(".")} - {*folders})):
            with suppress(OSError), self.folder(folders[0]):
                return self.inside(folders[0])
        return None

    def holding(self, path: str) -> Tree:
        """The tree, or where ``path`` is not in it, but in the only folder of an archive, the tree
        of that."""
        if not self.wrapped or self.is_file(path) or (inner := self.only_folder()) is None:
            return self
        found = inner.holding(path)
        return found if found.is_file(path) else self

    def is_there(self) -> bool:
        """Whether this process can reach the data set; can raise OSError with the reason."""
        return self.is_folder(".")

    def only(self, paths: Iterable[str]) -> Tree:
        """The tree with only these files, for a worker. It is smaller to send when the tree has an
        index of its files."""
        del paths
        return self

    def naming(self, *folders: str) -> Tree:
        """The tree with folders that the user named: they can be links that lead out of it."""
        del folders
        return self

    @abstractmethod
    def folder(self, path: str, *, proven: bool = False) -> Folder:
        """Open a folder. ``proven``: its files were opened before, so the check that they are
        inside the tree is skipped. Raises OSError, UnsafePathError for a link that leads out."""


def is_hidden(name: str) -> bool:
    """Whether a file or a folder is one that systems write beside the user's own."""
    return name[:1] == "." or name in _SYSTEM


def join(folder: str, name: str) -> str:
    """The path of ``name`` below ``folder``."""
    # not pathlib: it interns every part, and some Python versions never free interned strings
    return name if folder == "." else f"{folder}/{name}"
