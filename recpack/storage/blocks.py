"""A large text file in blocks of whole lines: one process cuts it, many read it."""

from __future__ import annotations

import os
from codecs import iterdecode
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO, StringIO
from pathlib import Path

from recpack.errors import DataError
from recpack.storage.checksums import Checksum
from recpack.storage.files import Closing, lines_of
from recpack.storage.kinds import what_is
from recpack.storage.limits import MAX_LINE, MAX_LIST
from recpack.storage.regular import open_regular

BLOCK = 1 << 18
"""Bytes of a block, about, at most: each costs the coordinator as much as hundreds of rows."""
_SMALL = 1 << 15
_SHARES = 32
"""Blocks of a file, at least, unless they would be smaller than ``_SMALL``: many can work."""
_PIECE = 1 << 20
_BOM = b"\xef\xbb\xbf"
_MAX_CHARACTER = 4
"""Bytes of a character in UTF-8, at most."""


@dataclass(frozen=True)
class TextBlock:
    """Whole lines of a text file in UTF-8. ``number`` is that of the first line, from 1, ``start``
    where it begins in the file. ``fault``: why the file can't be read from here."""

    number: int
    start: int
    data: bytes
    fault: str = ""

    def lines(self) -> Iterator[str]:
        """See ``files.text_lines``. Raises ValueError, also for the ``fault``."""
        if self.fault:
            raise ValueError(self.fault)
        data = self.data if self.start else self.data.removeprefix(_BOM)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            if not self.start and (kind := what_is(data)):
                raise ValueError(f"it is {kind}, not a list") from None
            first, last = self.start + error.start, self.start + error.end - 1
            where = f"bytes in position {first}-{last}"
            if first == last:
                where = f"byte 0x{data[error.start]:02x} in position {first}"
            raise ValueError(f"'utf-8' codec can't decode {where}: {error.reason}") from None
        return lines_of(StringIO(text, newline=""), self.number)

    def rough_lines(self) -> Iterator[str]:
        """The lines, with marks in place of what is not text. Made when they are needed."""
        yield from StringIO(self.data.decode(errors="replace"), newline="")


class TextFile(Closing):
    """A text file that stays open, so that it is read the second time though its name be gone.
    ``block_count``: about how many there will be · ``crc32`` of what ``blocks`` has read. Raises
    OSError, TooLargeError for more than ``MAX_LIST`` bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.crc32 = 0
        self._file = FileIO(open_regular(path, limit=MAX_LIST))
        size = self._file.seek(0, 2)
        self._block = min(BLOCK, max(size // _SHARES, _SMALL))
        self.block_count = -(-size // self._block)

    def close(self) -> None:
        self._file.close()

    def is_at(self, path: Path) -> bool:
        """Whether a path leads to this file."""
        return path.exists() and os.path.samestat(os.fstat(self._file.fileno()), path.stat())

    def blocks(self) -> Iterator[TextBlock]:
        """The whole file. It never raises: a block with a ``fault`` is the last one."""
        self._file.seek(0)
        self.crc32 = start = 0
        number, rest, new = 1, b"", b"\n"
        while new:
            try:
                new = self._file.read(max(self._block, len(rest)))
            except OSError as error:
                yield TextBlock(number, start, b"", str(error))
                return
            self.crc32 = Checksum.CRC32.of(new, self.crc32)
            data = rest + new
            # a line can end with a carriage return alone; the last byte may be half of an end
            end = data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1
            end = end if new else len(data)
            if end:
                yield TextBlock(number, start, data[:end])
                number, start = number + _ends(data[:end]), start + end
            rest = data[end:]
            if len(rest) >= _MAX_CHARACTER * MAX_LINE:
                fault = f"line {number} has more than {MAX_LINE:,} characters"
                yield TextBlock(number, start, b"", fault)
                return

    def again(self) -> Iterator[str]:
        """The text, in pieces. Raises DataError at the end if it is not that of ``blocks``."""
        self._file.seek(0)
        return iterdecode(self._pieces(), "utf-8", "surrogateescape")

    def _pieces(self) -> Iterator[bytes]:
        crc32 = 0
        while data := self._file.read(_PIECE):
            crc32 = Checksum.CRC32.of(data, crc32)
            yield data
        if crc32 != self.crc32:
            raise DataError(f"{self.path}: changed while it was read; run again")


def _ends(data: bytes) -> int:
    """The number of line ends."""
    ends = data.count(b"\n")
    return ends + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else ends
