"""The index of an archive: the names of its files, and where their bytes are."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import NamedTuple

from recpack.columns import Int64, StringColumn
from recpack.errors import DataError

Read = Callable[[int, int], bytes]
"""``read(offset, length)``: ``length`` bytes, fewer only at the end of the archive."""

PLAIN = -1
"""Stands for the CRC-32 of a file without one: its bytes lie in the archive as they are."""

SPARSE, ENCRYPTED, METHOD, LINK, BOMB = range(-1, -6, -1)
REFUSED = {
    SPARSE: "a sparse file; make the archive again without --sparse",
    ENCRYPTED: "it is encrypted; make the archive again without a password",
    METHOD: "its compression is not deflate; make the archive again with zip's own method",
    LINK: "a symbolic link; make the archive again without zip's --symlinks",
    BOMB: "few bytes that would become more than 512 MiB; if that is meant, unpack the archive and "
    "give the folder",
}
"""Why a file can't be read; the codes stand for its size."""


class Extent(NamedTuple):
    """Where a file is: the first byte, its own ``size`` (or a code of ``REFUSED``), its ``packed``
    size in the archive, its CRC-32 (or ``PLAIN``), the number of its archive."""

    start: int
    size: int
    packed: int
    crc: int
    archive: int = 0


class Members(NamedTuple):
    """The files of an archive, sorted by name; ``extents`` int64 (n, 4): the first four fields of
    each ``Extent``."""

    names: StringColumn
    extents: Int64


def safe_path(name: str) -> str:
    """A name as a path of the tree. Raises DataError when it leaves the archive."""
    path = posixpath.normpath(name)
    if posixpath.isabs(path) or path == ".." or path.startswith("../") or "\0" in path:
        raise DataError(f"{name!r} leaves the archive; make the archive again without that file")
    return path
