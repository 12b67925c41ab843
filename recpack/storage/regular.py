"""Files of strangers, opened so that they can neither block nor fill the memory."""

from __future__ import annotations

import errno
import os
import stat

_KINDS = {
    stat.S_IFDIR: "a folder, not a file",
    stat.S_IFIFO: "a named pipe, not a file; write it to a file first",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
}


class RefusedError(OSError):
    """A file that is not read; the text says why."""

    def __str__(self) -> str:
        return self.strerror or ""


class NotRegularError(RefusedError):
    """A folder, a named pipe, a device or a socket where a file must be."""


class TooLargeError(RefusedError):
    """A file of more bytes than its kind ever needs."""


def open_regular(
    path: str | os.PathLike[str], *, follow: bool = True, limit: int | None = None
) -> int:
    """Open a file to read it; returns its descriptor. Never waits, as an open pipe would. Without
    ``follow``, a symbolic link is an error. Raises OSError, NotRegularError for what is no file,
    TooLargeError for more than ``limit`` bytes."""
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        regular_size(descriptor, limit, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: str | os.PathLike[str], limit: int, *, follow: bool = True) -> bytes:
    """Read a whole file of at most ``limit`` bytes. Raises OSError, TooLargeError for a larger
    one, which is not read."""
    with open(open_regular(path, follow=follow, limit=limit), "rb") as file:
        size = regular_size(file.fileno())
        data = file.read(size + 1)  # a buffer of the limit could be more than there is memory
        if len(data) > size:
            data += file.read(max(limit - size, 0))
    demand_size(len(data), limit, path)  # it can have grown
    return data


def regular_size(
    descriptor: int, limit: int | None = None, path: str | os.PathLike[str] | None = None
) -> int:
    """The size of an open file in bytes. Raises NotRegularError, and TooLargeError."""
    status = os.fstat(descriptor)
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise NotRegularError(errno.EINVAL, _KINDS.get(kind, "not a file"), path)
    demand_size(status.st_size, limit, path)
    return status.st_size


def demand_size(size: int, limit: int | None, path: str | os.PathLike[str] | None = None) -> None:
    """Raise TooLargeError for more than ``limit`` bytes."""
    if limit is not None and size > limit:
        text = f"it has {size:,} bytes, and more than {limit:,} bytes are refused; check the file"
        raise TooLargeError(errno.EFBIG, text, path)
