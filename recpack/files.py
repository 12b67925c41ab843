"""Things to close, and texts of strangers."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TextIO


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


def pread(descriptor: int, offset: int, length: int) -> bytes:
    """``length`` bytes of a file at an offset; fewer only at its end."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length and (
        more := os.pread(descriptor, length - len(data), offset + len(data))
    ):
        data += more
    return data


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when the block ends, and is not there if that fails."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            yield file
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


PARTIAL = ".recpack-partial"
"""Behind the name of what is not finished."""

MAX_LINE = 16 << 20
"""Characters; a row of a list with half a million objects has fewer."""


def text_lines(path: Path, encoding: str = "utf-8-sig") -> Iterator[str]:
    """The lines of a text file with their ends as they are; ValueError for one that is longer
    than any real one, before it fills the memory. (UnicodeDecodeError is a ValueError too.)"""
    with path.open(encoding=encoding, newline="") as file:
        yield from lines_of(file)


def lines_of(file: TextIO) -> Iterator[str]:
    """``text_lines`` of an open file."""
    number = 1
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise ValueError(f"line {number} has more than {MAX_LINE:,} characters")
        yield line
        number += 1
