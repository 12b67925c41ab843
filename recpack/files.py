"""Reading the files of strangers: regular files only, below their root, of bounded size."""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self


class UnsafePathError(OSError):
    """A path that leaves its root."""


class Closing(ABC):
    """Something to close: leaving its ``with`` block does."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Give the resource back."""


class Folder(Closing):
    """A folder below ``root`` whose files are opened relative to it.

    A symbolic link may lead anywhere below ``root`` or below the folder itself (which may be a
    link of the data set's owner to another disk), and nowhere else.
    """

    def __init__(self, root: str, path: str) -> None:
        self._path = os.path.join(root, path)
        self._roots = tuple(
            os.path.join(os.path.realpath(allowed), "") for allowed in (root, self._path)
        )
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)

    def close(self) -> None:
        os.close(self._descriptor)

    def open(self, name: str) -> tuple[int, int]:
        """Open a file; returns its descriptor and its size in bytes.

        Raises OSError, UnsafePathError for a name that leads out of the roots.
        """
        # a name with folders in it may pass through a link anywhere; a bare one only at its end
        if "/" in name:
            self._demand_inside(name)
        flags = os.O_RDONLY | os.O_NONBLOCK  # opening a pipe must not wait for its writer
        try:
            file = os.open(name, flags | os.O_NOFOLLOW, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            self._demand_inside(name)
            file = os.open(name, flags, dir_fd=self._descriptor)
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            os.close(file)
            raise OSError(errno.EINVAL, "not a regular file")
        return file, status.st_size

    def _demand_inside(self, name: str) -> None:
        target = os.path.realpath(os.path.join(self._path, name))
        if not target.startswith(self._roots):
            raise UnsafePathError(errno.EPERM, f"it leads to {target}, outside the data set")


MAX_LINE = 16 << 20
"""Characters; a row of a list with half a million objects has fewer."""


def text_lines(path: Path, encoding: str = "utf-8-sig") -> Iterator[str]:
    """The lines of a text file with their ends as they are; ValueError for one that is longer
    than any real one, before it fills the memory. (UnicodeDecodeError is a ValueError too.)"""
    with path.open(encoding=encoding, newline="") as file:
        number = 1
        while line := file.readline(MAX_LINE):
            if len(line) == MAX_LINE:
                raise ValueError(f"line {number} has more than {MAX_LINE:,} characters")
            yield line
            number += 1


def read_whole(file: int, size: int) -> bytes:
    """Exactly ``size`` bytes from the start, or fewer where the file ends before."""
    data = os.read(file, size)
    while len(data) < size and (more := os.read(file, size - len(data))):
        data += more
    return data
