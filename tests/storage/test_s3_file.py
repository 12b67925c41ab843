"""Ranged reads of an object."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpack.storage.regular import TooLargeError
from recpack.storage.s3 import file as remote
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.file import RemoteFile
from recpack.storage.s3.location import Location, parse_location
from recpack.storage.s3.objects import put_lines, read
from recpack.storage.s3.retry import S3Error
from recpack.storage.trees.s3 import S3File
from tests.support.s3server import S3Server

pytestmark = pytest.mark.once

DATA = os.urandom(300_000)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    server = S3Server()
    server.answer("put_object", "x", {}, {}, DATA)
    yield server
    server.close()


@given(
    reads=st.lists(st.tuples(st.integers(0, len(DATA) + 10), st.integers(0, 90_000)), max_size=12)
)
def test_any_reads_in_any_order(server: S3Server, reads: list[tuple[int, int]]) -> None:
    file = RemoteFile(S3Client(server.url), Location("bucket", "x"))
    try:
        assert file.size == len(DATA)
        for offset, length in reads:
            assert file.read(offset, length) == DATA[offset : offset + length]
    finally:
        file.close()
        file.close()


@given(steps=st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 3)), max_size=60))
def test_reads_one_behind_the_other(server: S3Server, steps: list[tuple[int, int]]) -> None:
    """As a reader of records does, with its padding left out."""
    file = RemoteFile(S3Client(server.url), Location("bucket", "x"))
    with pytest.MonkeyPatch.context() as small:
        small.setattr(remote, "_FIRST", 1000)
        small.setattr(remote, "_LARGEST", 4000)
        file._step = 1000
        offset = 0
        for length, gap in steps:
            assert file.read(offset, length) == DATA[offset : offset + length]
            offset += length + gap
    file.close()


@given(
    reads=st.lists(st.tuples(st.integers(0, len(DATA)), st.integers(0, 90_000)), max_size=8),
    head=st.integers(0, 400_000),
)
def test_a_file_of_a_tree(server: S3Server, reads: list[tuple[int, int]], head: int) -> None:
    with S3File(Location("bucket", "x"), S3Client(server.url), head) as file:
        assert file.size == len(DATA)
        for offset, length in reads:
            assert file.read(offset, length) == DATA[offset : offset + length]
        room = bytearray(1000)
        assert file.read_into(memoryview(room)) == 1001  # there is more
        assert room == DATA[:1000]
        assert file.read_all(len(DATA)) == DATA
        with pytest.raises(TooLargeError):
            file.read_all(999)


def test_an_empty_object(hostile: S3Server) -> None:
    hostile.answer("put_object", "empty", {}, {}, b"")
    with S3File(Location("bucket", "empty"), S3Client(hostile.url), 100) as file:
        assert (file.size, file.read(0, 10)) == (0, b"")
    empty = RemoteFile(S3Client(hostile.url), Location("bucket", "empty"))
    assert (empty.size, empty.read(0, 8)) == (0, b"")


def test_an_object_that_is_replaced_while_it_is_read(hostile: S3Server) -> None:
    hostile.answer("put_object", "x", {}, {}, DATA)
    file = RemoteFile(S3Client(hostile.url), Location("bucket", "x"))
    assert file.read(0, 10) == DATA[:10]
    hostile.answer("put_object", "x", {}, {}, DATA[::-1])
    with pytest.raises(OSError, match="PreconditionFailed"):
        file.read(200_000, 10)


@pytest.mark.parametrize("harm", ["reset", "500", "RequestTimeTooSkewed"])
def test_reads_survive(hostile: S3Server, harm: str) -> None:
    hostile.answer("put_object", "x", {}, {}, DATA)
    file = RemoteFile(S3Client(hostile.url), Location("bucket", "x"))
    hostile.fault = lambda r: harm if r.name == "get_object" and r.count in (1, 2) else None
    assert file.read(5, 100_000) == DATA[5:100_005]


@pytest.mark.parametrize("lost", range(1, 12, 2))
def test_nothing_is_joined_to_what_was_lost(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """A request fails for good, and the user reads on."""
    asked = itertools.count(1)

    def failing(*arguments: Any, **options: Any) -> bytes:
        if next(asked) == lost:
            raise S3Error("gone")
        return read(*arguments, **options)

    monkeypatch.setattr(remote, "_FIRST", 1000)
    monkeypatch.setattr(remote, "_LARGEST", 4000)
    monkeypatch.setattr(remote, "read", failing)
    file = RemoteFile(S3Client(server.url), Location("bucket", "x"))
    failed = 0
    for offset in range(5, 60_000, 3000):
        try:
            found = file.read(offset, 3000)
        except S3Error:
            failed += 1
            found = file.read(offset, 3000)
        assert found == DATA[offset : offset + 3000]
    assert failed == 1
    file.close()
    with pytest.raises(OSError, match="the reader is closed"):
        file.read(0, 1)


def test_an_answer_with_too_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Short:
        def get_object(self, **_: object) -> dict[str, object]:
            return {"Body": io.BytesIO(b"abc"), "ContentLength": 5}

    monkeypatch.setattr(S3Client, "botocore", lambda _: Short())
    with pytest.raises(OSError, match=r"3 of 5 bytes came \([0-9]+ attempts"):
        read(S3Client("http://127.0.0.1:9", patience=0.3), Location("bucket", "x"))


def test_a_long_text_is_sent_in_pieces(hostile: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recpack.storage.s3.objects.CHUNK", 6 << 20)
    lines = [f"{number:0999}\n" for number in range(15_000)]
    place = Location("bucket", "long.lst")
    put_lines(S3Client(hostile.url), place, iter(lines))
    assert hostile.rec("long.lst").decode() == "".join(lines)
    assert hostile.calls["upload_part"] == 3
    hostile.fault = lambda r: "403" if r.name == "upload_part" else None
    with pytest.raises(OSError, match="access denied"):
        put_lines(S3Client(hostile.url), place, iter(lines))


@pytest.mark.parametrize(
    ("url", "companion"),
    [
        ("s3://b12/p/train/train.rec", "s3://b12/p/_recpack/train.idx"),
        ("s3://b12/a/b/c/x.y.rec", "s3://b12/a/b/_recpack/x.y.idx"),
        ("s3://b12/train.rec", "s3://b12/_recpack/train.idx"),
        ("s3://b12/p/train.rec", "s3://b12/_recpack/train.idx"),
    ],
)
def test_where_companions_lie(url: str, companion: str) -> None:
    assert str(parse_location(url).companion(".idx")) == companion


@pytest.mark.parametrize("url", ["s3:/b/x", "s3://", "s3:///x", "s3://a b/x", "b/x"])
def test_what_is_no_location(url: str) -> None:
    with pytest.raises(Exception, match="write s3://bucket/key"):
        parse_location(url)


def test_a_body_is_signed_where_nobody_else_protects_it() -> None:
    for url, signed in (
        ("https://s3.example.org", False),
        ("http://127.0.0.1:9000", False),
        ("http://[::1]:9000", False),
        ("http://localhost:9000", False),
        ("http://10.0.0.5:9000", True),
        ("http://localhost.example.org", True),
    ):
        config = S3Client(url).botocore().meta.config
        assert config.s3["payload_signing_enabled"] is signed, url
        assert config.request_checksum_calculation == "when_required"
