"""Local files: read, locked, and written completely or not at all."""

from __future__ import annotations

import fcntl
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TextIO

from recpack.errors import SinkError
from recpack.storage.limits import MAX_LINE, MAX_LIST
from recpack.storage.regular import open_regular


class UnsafePathError(OSError):
    """A path that leaves its root."""


class Closing(ABC):
    """Something that is closed at the end of its ``with`` block."""

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
        """Release the resource."""


def pread(descriptor: int, offset: int, length: int) -> bytes:
    """``length`` bytes of a file at an offset; fewer only at its end."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length and (
        more := os.pread(descriptor, length - len(data), offset + len(data))
    ):
        data += more
    return data


PARTIAL = ".recpack-partial"
"""Suffix of the name of an unfinished file."""


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that is synced to the disk and gets its name when the block ends. If the block
    fails, the file is removed. Raises OSError."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            yield file
            sync_file(file)
        partial.rename(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file completely or not at all; make its folder if needed. Raises SinkError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as file:
            file.writelines(map(encode_line, lines))
    except OSError as error:
        raise SinkError(f"{path}: can't be written: {error.strerror}") from error


def write_synced(path: Path, lines: Iterable[str]) -> None:
    """Write and sync a text file that the caller renames later. Raises OSError."""
    with path.open("wb") as file:
        file.writelines(map(encode_line, lines))
        sync_file(file)


def encode_line(line: str) -> bytes:
    """UTF-8; file names that are not valid text keep their bytes."""
    return line.encode("utf-8", "surrogateescape")


def sync_file(file: BinaryIO) -> None:
    """Wait until a file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until a folder's names are on the disk."""
    folder = os.open(path, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def lock(descriptor: int, output: object) -> None:
    """Lock an open file or folder for this run. (One without a lock was left by a killed run.)
    Raises SinkError when another run holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SinkError(f"{output}: another run is writing it; wait for its end") from None


def leads_to(path: str | Path, descriptor: int) -> bool:
    """Whether a path still is the open file or folder."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def text_lines(path: Path, encoding: str = "utf-8-sig") -> Iterator[str]:
    """The lines of a text file, with their line ends. Raises ValueError for a line of ``MAX_LINE``
    characters or more, before it fills the memory. (UnicodeDecodeError is a ValueError too.)"""
    with open(open_regular(path, limit=MAX_LIST), encoding=encoding, newline="") as file:
        yield from lines_of(file)


def lines_of(file: TextIO) -> Iterator[str]:
    """``text_lines`` of an open file."""
    number = 1
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise ValueError(f"line {number} has more than {MAX_LINE:,} characters")
        yield line
        number += 1
