"""Records from what can't be sought."""

from __future__ import annotations

import io
import os
import threading
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recpack
from recpack.formats.recordio import PART_HEADER
from tests.support.devkits import MAGIC, encode_record, jpeg, with_comment

IMAGES = [with_comment(jpeg(20, 20, n), b"\0" * n + MAGIC * 3) if n % 2 else jpeg(9, 9, n)
          for n in range(6)]  # fmt: skip
LABELS = [np.float32([2, 5, *[n, 0.1, 0.2, 0.3, 0.4] * (n + 1)]) for n in range(6)]
DATA = b"".join(
    encode_record(n, label, image)
    for n, (label, image) in enumerate(zip(LABELS, IMAGES, strict=True))
)


class Trickle(io.RawIOBase):
    """Gives a few bytes at a time, as a pipe does."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step, self._at = data, step, 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        piece = self._data[self._at : self._at + min(size, self._step)]
        self._at += len(piece)
        return piece


@given(step=st.integers(1, 200))
def test_a_stream_gives_what_a_file_does(
    step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "streamed.rec"
    path.write_bytes(DATA)
    with recpack.RecordReader(path) as reader:
        expected = list(reader)
    assert len(expected) == len(IMAGES)
    for one, other in zip(recpack.read_records(Trickle(DATA, step)), expected, strict=True):
        assert (one.id, one.id2, one.flag) == (other.id, other.id2, other.flag)
        assert (one.offset, one.image_bytes) == (other.offset, other.image_bytes)
        np.testing.assert_array_equal(one.label, other.label)


def test_a_named_pipe_that_its_writer_closes_early(tmp_path: Path) -> None:
    path = tmp_path / "train_0"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(DATA[:-30]))
    writer.start()
    found = []
    with path.open("rb") as stream, pytest.raises(recpack.RecordError, match="cut short"):
        for record in recpack.read_records(stream):
            found.append(record.image_bytes)
    writer.join()
    assert found == IMAGES[:-1]
    assert not list(recpack.read_records(io.BytesIO()))


@pytest.mark.parametrize("cut", range(1, 90, 4))
def test_every_end_inside_a_record_is_an_error(cut: int) -> None:
    data = encode_record(3, LABELS[0], b"\xff\xd8\xff" + MAGIC + bytes(30))
    whole = len(data) - len(data) % 4
    assert whole > 90
    records = recpack.read_records(io.BytesIO(data[:cut]))
    with pytest.raises(recpack.RecordError) as caught:
        list(records)
    assert caught.value.offset is not None
    with pytest.raises(recpack.RecordError, match="no record at byte 0"):
        list(recpack.read_records(io.BytesIO(b"<?xml version")))


@given(
    cuts=st.lists(st.tuples(st.integers(0, len(DATA)), st.binary(max_size=9)), max_size=3),
    step=st.integers(1, 64),
)
def test_any_bytes_are_read_or_refused(cuts: list[tuple[int, bytes]], step: int) -> None:
    data = DATA
    for at, put in cuts:
        data = data[:at] + put + data[at + step :]
    with suppress(recpack.RecordError):
        for record in recpack.read_records(Trickle(data, step)):
            assert len(record.image_bytes) <= len(data)


def test_the_last_padding_may_be_missing() -> None:
    data = encode_record(3, LABELS[0], b"\xff\xd8\xff")
    assert data.endswith(b"\xff\0")
    (record,) = recpack.read_records(io.BytesIO(data[:-1]))
    assert record.image_bytes == b"\xff\xd8\xff"


def test_a_length_that_lies_costs_no_memory() -> None:
    data = PART_HEADER.pack(0xCED7230A, (1 << 29) - 1) + bytes(100)
    tracemalloc.start()
    with pytest.raises(recpack.RecordError, match="cut short"):
        list(recpack.read_records(io.BytesIO(data)))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_stream_that_fails_is_named_with_its_byte() -> None:
    class Failing(Trickle):
        def read(self, size: int = -1) -> bytes:
            if self._at > 600:
                raise ConnectionResetError(104, "Connection reset by peer")
            return super().read(size)

    with pytest.raises(recpack.RecordError, match=r"at byte .*Connection reset"):
        list(recpack.read_records(Failing(DATA, 50)))
