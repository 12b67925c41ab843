"""Checksums of a whole object that can be combined from the checksums of its parts.

S3 keeps both as full-object checksums. CRC-32 comes from isal, CRC-64/NVME from anycrc: the fastest
maintained packages that can also combine.
"""

from __future__ import annotations

import base64
import enum
from functools import cache
from typing import Any

from isal import isal_zlib

Buffer = bytes | bytearray | memoryview


class Checksum(enum.Enum):
    """An algorithm; its value is its name in options and manifests."""

    CRC32 = "crc32"
    CRC64NVME = "crc64nvme"

    @property
    def width(self) -> int:
        """Bytes of a checksum."""
        return 4 if self is Checksum.CRC32 else 8

    def of(self, data: Buffer, before: int = 0) -> int:
        """The checksum of ``data``, or of earlier bytes with checksum ``before`` plus ``data``."""
        if self is Checksum.CRC32:
            return int(isal_zlib.crc32(data, before))
        return int(_crc64().calc(data, before))

    def combine(self, first: int, second: int, second_length: int) -> int:
        """The checksum of two consecutive pieces, from the checksums of each."""
        if self is Checksum.CRC32:
            return int(isal_zlib.crc32_combine(first, second, second_length))
        return int(_crc64().combine(first, second, second_length))

    def text(self, value: int) -> str:
        """As in manifests, with the algorithm: ``crc32:66af1948``."""
        return f"{self.value}:{value:0{2 * self.width}x}"

    def base64(self, value: int) -> str:
        """As in S3: big endian, base64."""
        return base64.b64encode(value.to_bytes(self.width, "big")).decode()


def parse_checksum(text: str) -> tuple[Checksum, int]:
    """A manifest's ``crc32:66af1948`` → algorithm and value; ValueError for anything else."""
    name, _, digits = text.partition(":")
    checksum, value = Checksum(name), bytes.fromhex(digits)
    if len(value) != checksum.width:
        raise ValueError(f"checksum: {text[:80]!r} has not {2 * checksum.width} digits")
    return checksum, int.from_bytes(value)


@cache
def _crc64() -> Any:
    import anycrc

    return anycrc.Model("CRC64-NVME")
