"""Things to close, and texts of strangers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO


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
