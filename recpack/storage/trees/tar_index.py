"""Finds the files of a tar archive, by one pass over its headers.

Plain headers, which are nearly all, are read here. ``tarfile`` reads the rest: long names, extended
headers, links. Nothing is ever extracted.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import tarfile
from array import array

import numpy as np

from recpack.columns import StringColumn
from recpack.errors import DataError
from recpack.storage.trees.index import PLAIN, SPARSE, Members, Read, safe_path

_BLOCK = 512
_BATCH = 4096
"""Headers whose checksums are compared together."""
_CHECKSUM = slice(148, 156)
_MAX_EXTENSION = 1 << 16
"""Most bytes of long names and extended headers before a file; real ones have fewer."""
_MAX_HOPS = 8
_FILES = (ord("0"), 0)
_FOLDER, _EXTENDED = ord("5"), ord("x")
_RELEVANT = (b"path=", b"size=", b"GNU.sparse")
"""Fields of an extended header that change a file's name or bytes; times and owners do not."""
_ZERO = bytes(_BLOCK)


def read_members(read: Read, size: int) -> Members:
    """Find all files of an archive of ``size`` bytes.

    Of several files with one name the last counts. A link counts as its target; broken links,
    devices and pipes are left out. Raises DataError for a damaged or truncated archive, and for a
    name that leaves it.
    """
    collector = _Collector(read, size)
    offset = 0
    while offset < size:
        header = read(offset, _BLOCK)
        if header == _ZERO:
            break
        if len(header) < _BLOCK:
            raise DataError(f"it is truncated in the header at byte {offset:,}; copy it again")
        following = collector.add_plain(header, offset) or collector.add_other(offset)
        if following <= offset:
            raise DataError(
                f"the header at byte {offset:,} has a wrong size; make the archive again"
            )
        offset = following
    return collector.members()


class _Collector:
    """The files and links found so far."""

    def __init__(self, read: Read, size: int) -> None:
        self._read, self._size = read, size
        self._names: list[str] = []
        self._starts, self._sizes = array("q"), array("q")
        self._links: dict[str, str] = {}
        self._headers: list[bytes] = []
        self._offsets: list[int] = []

    def add_plain(self, header: bytes, offset: int) -> int:
        """Add a plain file or folder and return the offset of the next header; 0 for all else."""
        kind = header[156]
        digits = header[124:136].strip(b" \0")
        if not digits.isdigit() or b"8" in digits or b"9" in digits:
            return 0
        size = int(digits, 8)
        start = offset + _BLOCK
        following = start + -(-size // _BLOCK) * _BLOCK
        if kind == _EXTENDED and size < _MAX_EXTENSION:
            extension = self._read(start, following + _BLOCK - start)
            if any(field in extension[:size] for field in _RELEVANT):
                return 0
            file = extension[following - start :]
            if len(file) < _BLOCK or file[156] == _EXTENDED:
                return 0
            return self.add_plain(file, following)
        if header[257:263] == b"ustar\0":
            prefix = header[345:500].partition(b"\0")[0]
        elif header[257:265] == b"ustar  \0":  # as GNU's tar writes it, without a prefix
            prefix = b""
        else:
            return 0
        name = header[:100].partition(b"\0")[0]
        if prefix:
            name = prefix + b"/" + name
        if kind != _FOLDER and (kind not in _FILES or name.endswith(b"/")):
            return 0
        self._headers.append(header)
        self._offsets.append(offset)
        if len(self._headers) == _BATCH:
            self._check()
        if kind == _FOLDER:
            return start
        self._add(os.fsdecode(name), start, size)
        return following

    def add_other(self, offset: int) -> int:
        """Add what ``tarfile`` finds at a header and return the offset of the next one."""
        # a header that claims more bytes than this is damaged, and tarfile says so
        window = io.BytesIO(self._read(offset, _MAX_EXTENSION))
        try:
            with tarfile.TarFile(
                fileobj=window, encoding="utf-8", errors="surrogateescape"
            ) as archive:
                member = archive.next()
                following = offset + archive.offset
        except (tarfile.TarError, RecursionError, ValueError, OverflowError) as error:
            what = f"the header at byte {offset:,} is damaged" if offset else "not a tar archive"
            raise DataError(f"{what}: {error}") from error
        if member is None:
            raise DataError(f"the header at byte {offset:,} belongs to no file")
        if member.islnk():
            self._links[safe_path(member.name)] = posixpath.normpath(member.linkname)
        elif member.issym():
            name = safe_path(member.name)
            target = posixpath.join(posixpath.dirname(name), member.linkname)
            self._links[name] = posixpath.normpath(target)
        elif member.issparse():
            self._add(member.name, offset, SPARSE)
        elif member.isreg():
            self._add(member.name, offset + member.offset_data, member.size)
        return following

    def members(self) -> Members:
        """All files, with links resolved."""
        self._check()
        rows = {name: row for row, name in enumerate(self._names)}  # the last of each name
        for name in self._links:
            target = name
            for _ in range(_MAX_HOPS):
                target = self._links.get(target, target)
            rows.pop(name, None)
            if target in rows:
                rows[name] = rows[target]
        names = sorted(rows)
        order = np.array([rows[name] for name in names], np.int64)
        starts, sizes = (
            np.array(column, np.int64)[order] for column in (self._starts, self._sizes)
        )
        extents = np.column_stack((starts, sizes, sizes.clip(0), np.full_like(starts, PLAIN)))
        return Members(StringColumn(names), extents)

    def _add(self, name: str, start: int, size: int) -> None:
        if size != SPARSE and not 0 <= size <= self._size - start:
            raise DataError(
                f"{name!r} would have {size:,} bytes from byte {start:,}, but the archive ends at "
                f"{self._size:,}: it is truncated or damaged; copy it again"
            )
        name = safe_path(name)
        self._links.pop(name, None)
        self._names.append(name)
        self._starts.append(start)
        self._sizes.append(size)

    def _check(self) -> None:
        """Compare the checksums of the headers since the last call."""
        table = np.frombuffer(b"".join(self._headers), np.uint8).reshape(-1, _BLOCK)
        sums = table.sum(1, dtype=np.int64) - table[:, _CHECKSUM].sum(1, dtype=np.int64)
        sums += 8 * ord(" ")
        for header, offset, total in zip(self._headers, self._offsets, sums.tolist(), strict=True):
            digits = header[_CHECKSUM].strip(b" \0")
            if not re.fullmatch(rb"[0-7]+", digits) or int(digits, 8) != total:
                raise DataError(f"the header at byte {offset:,} is damaged")
        self._headers.clear()
        self._offsets.clear()
