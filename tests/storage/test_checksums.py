from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpack.storage.checksums import Checksum, parse_checksum


@pytest.mark.parametrize(
    ("checksum", "text", "base64"),
    [  # the check values of both algorithms, of b"123456789"
        (Checksum.CRC32, "crc32:cbf43926", "y/Q5Jg=="),
        (Checksum.CRC64NVME, "crc64nvme:ae8b14860a799888", "rosUhgp5mIg="),
    ],
)
def test_known_values(checksum: Checksum, text: str, base64: str) -> None:
    value = checksum.of(b"123456789")
    assert checksum.text(value) == text
    assert checksum.base64(value) == base64
    assert parse_checksum(text) == (checksum, value)
    assert checksum.of(b"") == 0


@pytest.mark.parametrize("checksum", Checksum)
@given(first=st.binary(), second=st.binary())
def test_pieces_combine(checksum: Checksum, first: bytes, second: bytes) -> None:
    whole = checksum.of(first + second)
    one, other = checksum.of(bytearray(first)), checksum.of(memoryview(second))
    assert checksum.combine(one, other, len(second)) == whole
    assert checksum.of(second, one) == whole


def test_crc32_is_that_of_zlib() -> None:
    assert Checksum.CRC32.of(b"recpack" * 99) == zlib.crc32(b"recpack" * 99)


def test_what_is_no_checksum() -> None:
    for text in ("", "crc32", "md5:00", "crc32:xyz"):
        with pytest.raises(ValueError, match=r".*"):
            parse_checksum(text)
