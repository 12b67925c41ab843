"""Every error that recpack raises on purpose::

    RecpackError
    ├── ConfigError           an option is wrong, or two contradict (exit code 2)
    ├── DataError             the input is at fault (exit code 1); carries the problems found
    │   ├── AnnotationError   an annotation file
    │   ├── ImageError        an image file
    │   ├── ListError         a .lst file
    │   └── RecordError       a .rec or .idx file; carries the byte offset
    └── SinkError             the destination is at fault (exit code 1)

A message names the file, the field, the value and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recpack.problems import Problem


class RecpackError(Exception):
    """Base of every error that recpack raises on purpose."""


class ConfigError(RecpackError):
    """One or more options are wrong; the message lists all of them."""


class DataError(RecpackError):
    """The input is at fault.

    When the error ends a scan, ``problems`` holds everything found in one pass, in the order of
    the files. It is empty where the message alone tells everything.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems: list[Problem] = []
        if problems:
            from recpack.problem_list import Problems

            self.problems = Problems(problems)


class AnnotationError(DataError):
    """An annotation file can't be read; ``code`` is the problem code (see recpack.problems)."""

    def __init__(self, code: str, field: str = "", value: str = "") -> None:
        super().__init__(": ".join(part for part in (code, field, value) if part))
        self.code, self.field, self.value = code, field, value

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.code, self.field, self.value)


class ImageError(DataError):
    """An image file can't be read; ``code`` is the problem code (see recpack.problems)."""

    def __init__(self, code: str, value: str = "") -> None:
        super().__init__(": ".join(part for part in (code, value) if part))
        self.code, self.value = code, value

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.code, self.value)


class ListError(DataError):
    """A .lst file breaks its format."""


class RecordError(DataError):
    """A .rec or .idx file breaks its format; ``offset`` is the byte offset of the fault."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset

    def __reduce__(self) -> tuple[type, tuple[str, int | None]]:
        return type(self), (str(self), self.offset)


class SinkError(RecpackError):
    """The destination can't be written, or holds something that must not be overwritten."""
