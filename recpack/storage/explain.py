"""Maps exceptions to problem codes, for every file of a data set."""

from __future__ import annotations

import errno
from typing import Literal, NamedTuple

from recpack.errors import AnnotationError, ImageError
from recpack.storage.files import UnsafePathError

UNREADABLE = (AnnotationError, ImageError, OSError, ValueError)
"""What reading a file of a data set can raise."""


_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""This process may open or hold no more, which says nothing about the file."""


class Reason(NamedTuple):
    """A problem's code, and a value with details."""

    code: str
    value: str


def explain(error: Exception, subject: Literal["annotation", "image"]) -> Reason:
    """Why an annotation or an image can't be read, from one of ``UNREADABLE``. Raises the error
    where the fault is not the file's: such a file must not be left out."""
    if isinstance(error, OSError) and error.errno in _OURS:
        raise error
    if isinstance(error, (AnnotationError, ImageError)):
        return Reason(error.code, error.value)
    if isinstance(error, FileNotFoundError):
        return Reason(f"{subject}-missing", "")
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, UnsafePathError):
        return Reason("path-unsafe", reason)
    return Reason(f"{subject}-unreadable", reason)
