"""Files of strangers, opened so that they can neither block nor fill the memory."""

from __future__ import annotations

import errno
import os
import stat

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(OSError):
    """A folder, a named pipe, a device or a socket where a file must be."""


class TooLargeError(OSError):
    """A file of more bytes than its kind ever needs."""


def open_regular(path: str | os.PathLike[str], *, follow: bool = True) -> int:
    """Open a file to read it; returns its descriptor. Never waits, as an open pipe would. Without
    ``follow``, a symbolic link is an error. Raises OSError, NotRegularError for what is no file."""
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise NotRegularError(errno.EINVAL, f"{_KINDS.get(kind, 'something')}, not a file", path)
    return descriptor


def read_regular(path: str | os.PathLike[str], limit: int, *, follow: bool = True) -> bytes:
    """Read a whole file of at most ``limit`` bytes. Raises OSError, TooLargeError for a larger
    one, which is not read."""
    with open(open_regular(path, follow=follow), "rb") as file:
        data = file.read(limit + 1) if os.fstat(file.fileno()).st_size <= limit else None
        if data is None or len(data) > limit:
            raise TooLargeError(errno.EFBIG, f"more than {limit:,} bytes", path)
    return data
