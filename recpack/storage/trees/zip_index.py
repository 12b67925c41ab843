"""Finds the files of a zip archive, in its central directory.

Source: PKWARE's APPNOTE.TXT 6.3.10. ``zipfile`` needs about 1 KB of memory a file; this needs the
index alone. At the end of the archive, little-endian::

    central directory, a header for each file, 46 bytes + name + extra fields + comment:
        0 "PK\\1\\2"  5 made on  8 flags  10 method  16 CRC-32  20 packed size  24 size
        28 bytes of name, of extra fields, of comment  38 attributes  42 start of the local header
    with zip64: record "PK\\6\\6", 56 bytes (32 files  40 bytes and 48 start of the directory),
        locator "PK\\6\\7", 20 bytes (8 start of the record)
    end "PK\\5\\6", 22 bytes + comment (10 files  12 bytes and 16 start of the directory)

A field of 0xFFFFFFFF stands in the zip64 extra field (1). A local header repeats all that; its
sizes can be 0 when they stand behind the data, so the central directory counts.
"""

from __future__ import annotations

import stat
import struct
from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recpack.columns import Int64, StringColumn
from recpack.errors import DataError
from recpack.storage.trees.index import BOMB, ENCRYPTED, LINK, METHOD, Members, Read, safe_path

STORED, DEFLATED = 0, 8
LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")
"""Signature, flags, method, bytes of the name and of the extra fields."""
LOCAL_SIGNATURE = b"PK\3\4"
SIGNATURES = (LOCAL_SIGNATURE, b"PK\5\6")
"""How an archive begins, and an empty one."""
ENCRYPTED_FLAGS = 0x2041
_UTF8_FLAG = 0x800

_HEADER = struct.Struct("<4sxBxxHH4xIIIHHH4xII")
_END = struct.Struct("<4sHHHHIIH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4s20xQQQQ")
_FULL = 0xFFFFFFFF
_WINDOW = 4 << 20
_LONGEST = _HEADER.size + 3 * 0xFFFF
_MS_DOS, _UNIX = 0, 3
_LARGE, _RATIO = 512 << 20, 32
"""No record holds an image of more bytes. Larger files must not be more than 32 times their packed
size: documents of text are 3 to 20 times."""


class _Directory(NamedTuple):
    """Where the central directory lies, its number of headers, and the bytes before the archive
    (a program that unpacks it), which its offsets do not count."""

    start: int
    stop: int
    files: int
    before: int


class _Header(NamedTuple):
    system: int
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    attributes: int
    start: int
    name: str


def read_members(read: Read, size: int) -> Members:
    """Find all files of an archive of ``size`` bytes.

    Of several files with one name the last counts. Files that can't be read (encrypted, links, …)
    have a code of ``REFUSED`` instead of a size. Raises DataError for a damaged or truncated
    archive, for files that overlap, and for a name that leaves the archive.
    """
    directory = _find_directory(read, size)
    rows: dict[str, int] = {}
    columns = array("q")
    count = 0
    for header in _headers(read, directory):
        count += 1
        start, name = directory.before + header.start, header.name
        if start + LOCAL_HEADER.size + header.packed > directory.start:
            raise DataError(
                f"{name!r} would have {header.packed:,} bytes from byte {start:,}, but the files "
                f"end at {directory.start:,}: it is damaged; copy it again"
            )
        # macOS writes such a file beside each real one
        if not name.endswith("/") and not name.startswith("__MACOSX/"):
            rows[safe_path(name)] = count - 1
        columns.extend((start, _size(header), header.packed, header.crc))
    if count & 0xFFFF != directory.files & 0xFFFF:
        raise DataError(f"it lists {count:,} of {directory.files:,} files; copy it again")
    table = np.array(columns, np.int64).reshape(-1, 4)
    _demand_apart(table)
    names = sorted(rows)
    return Members(StringColumn(names), table[[rows[name] for name in names]])


def _find_directory(read: Read, size: int) -> _Directory:
    first = max(size - _END.size - 0xFFFF, 0)
    tail = read(first, size - first)
    at = len(tail)
    while (at := tail.rfind(b"PK\5\6", 0, at)) >= 0:
        left = len(tail) - at - _END.size
        if left >= 0 and _END.unpack_from(tail, at)[-1] <= left:
            break  # elsewhere the signature is text of the comment
    else:
        raise DataError("not a zip archive, or the end of one is missing; copy it again")
    _, disk, _, _, files, length, start, _ = _END.unpack_from(tail, at)
    stop = first + at
    locator = read(max(stop - _LOCATOR.size, 0), _LOCATOR.size)
    if locator.startswith(b"PK\6\7"):
        # where offsets do not count the bytes before the archive, it is in front of its locator
        for record in (_LOCATOR.unpack(locator)[2], stop - _LOCATOR.size - _END64.size):
            end = read(record, _END64.size) if 0 <= record < stop else b""
            if len(end) == _END64.size and end.startswith(b"PK\6\6"):
                break
        else:
            raise DataError("its zip64 record is missing; copy it again")
        _, _, files, length, start = _END64.unpack(end)
        stop = record
    elif disk not in (0, 0xFFFF):
        raise DataError("it is one part of several; join them with zip -s 0")
    before = stop - length - start
    if before < 0:
        raise DataError(
            f"its list of files would have {length:,} bytes from byte {start:,}: it is truncated "
            "or damaged; copy it again"
        )
    return _Directory(stop - length, stop, files, before)


def _headers(read: Read, directory: _Directory) -> Iterator[_Header]:
    at = directory.start
    while at < directory.stop:
        window = read(at, min(_WINDOW, directory.stop - at))
        last = at + len(window) == directory.stop
        offset = 0
        while offset < len(window) and (last or len(window) - offset >= _LONGEST):
            header, length = _header(window, offset, at + offset)
            yield header
            offset += length
        if not offset:
            raise DataError(f"its list of files ends at byte {at:,}; copy it again")
        at += offset


def _header(window: bytes, offset: int, position: int) -> tuple[_Header, int]:
    """The header at an offset, and its length."""
    if len(window) - offset < _HEADER.size or not window.startswith(b"PK\1\2", offset):
        raise DataError(f"its list of files is damaged at byte {position:,}; copy it again")
    (
        _, system, flags, method, crc, packed, size,
        name_length, extra_length, comment_length, attributes, start,
    ) = _HEADER.unpack_from(window, offset)  # fmt: skip
    name_end = offset + _HEADER.size + name_length
    extra_end = name_end + extra_length
    end = extra_end + comment_length
    if end > len(window):
        raise DataError(f"its list of files is damaged at byte {position:,}; copy it again")
    name = _decode(window[name_end - name_length : name_end], flags)
    if system == _MS_DOS:
        name = name.replace("\\", "/")
    if _FULL in (packed, size, start):
        values = _large_values(window[name_end:extra_end])
        try:
            size, packed, start = (
                next(values) if value == _FULL else value for value in (size, packed, start)
            )
        except RuntimeError:  # a generator's StopIteration
            raise DataError(f"{name!r} has no zip64 sizes; make the archive again") from None
    header = _Header(system, flags, method, crc, packed, size, attributes, start, name)
    return header, end - offset


def _decode(name: bytes, flags: int) -> str:
    """macOS and others write UTF-8 without its flag; what is not UTF-8 then is code page 437."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode(errors="surrogateescape") if flags & _UTF8_FLAG else name.decode("cp437")


def _large_values(extra: bytes) -> Iterator[int]:
    """The values of the zip64 extra field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            values = extra[4 : 4 + length]
            yield from struct.unpack_from(f"<{len(values) // 8}Q", values)
            return
        extra = extra[4 + length :]


def _size(header: _Header) -> int:
    """A file's size, or why it can't be read."""
    if header.flags & ENCRYPTED_FLAGS:
        return ENCRYPTED
    if header.system == _UNIX and stat.S_ISLNK(header.attributes >> 16):
        return LINK
    if header.method not in (STORED, DEFLATED):
        return METHOD
    if header.method == STORED and header.size != header.packed:
        raise DataError(
            f"{header.name!r} has {header.packed:,} bytes, but would have {header.size:,}: it is "
            "damaged; make the archive again"
        )
    return BOMB if header.size > max(_LARGE, _RATIO * header.packed) else header.size


def _demand_apart(table: Int64) -> None:
    """Raise DataError where two files share bytes, as in archives that are made to grow without
    end."""
    ordered = table[np.argsort(table[:, 0], kind="stable")]
    ends = ordered[:, 0] + LOCAL_HEADER.size + ordered[:, 2]
    shared = np.flatnonzero(ends[:-1] > ordered[1:, 0])
    if len(shared):
        raise DataError(
            f"the files at byte {ordered[shared[0], 0]:,} and {ordered[shared[0] + 1, 0]:,} share "
            "bytes: it is damaged or made to do harm; make the archive again"
        )
