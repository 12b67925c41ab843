"""What every tree of files offers: listings to the coordinator, positioned reads to the workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

from recpack.storage.files import Closing


class OpenFile(Closing):
    """A file open for positioned reads."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes."""

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the file."""

    def whole(self, limit: int) -> bytes:
        """All of the file, or its first ``limit + 1`` bytes where it has more than ``limit``."""
        return self.read(0, min(self.size, limit + 1))

    @abstractmethod
    def read_into(self, room: memoryview) -> int:
        """Fill ``room`` from the beginning of the file. Returns how many bytes the file has: fewer
        than asked for, as many, or 1 more when it has any number more."""


Opener = Callable[[], OpenFile]
"""Opens a file when it is its turn; raises OSError, UnsafePathError for one outside the tree."""


class Folder(Closing):
    """A folder of a tree, held open by a worker."""

    @abstractmethod
    def open(self, name: str) -> OpenFile:
        """Open a file by its path below the folder; raises as an ``Opener`` does."""

    @abstractmethod
    def in_order(
        self,
        names: Sequence[str | None],
        *,
        head: int | None = None,
        sizes: Sequence[int] | None = None,
    ) -> Iterator[Opener | None]:
        """An opener for each name, None for None; a distant tree fetches some ahead, the first
        ``head`` bytes of each, or all. ``sizes``, where they are known, bound what is ahead."""


class Tree(ABC):
    """A data set's root; ``str`` names it. Paths are relative to it, with ``/``; ``.`` is the root.
    Picklable: a worker anywhere opens it again."""

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

    @abstractmethod
    def lines(self, path: str) -> Iterator[str]:
        """See ``files.text_lines``."""

    def is_there(self) -> bool:
        """Whether this process reaches the data set; may raise OSError with the reason."""
        return self.is_folder(".")

    def only(self, paths: Iterable[str]) -> Tree:
        """The tree for a worker that needs no other files than these: smaller to send, where a
        tree must know the place of every file."""
        del paths
        return self

    @abstractmethod
    def folder(self, path: str, *, proven: bool = False) -> Folder:
        """Open a folder. ``judged``: its files were opened before, so that they need not be
        proven to lie inside the tree again."""


def join(folder: str, name: str) -> str:
    """Two paths of a tree, one below the other."""
    # not pathlib, which interns every part; in some Pythons what is interned stays for good
    return name if folder == "." else f"{folder}/{name}"
