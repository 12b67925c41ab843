from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recpack
from recpack.data.labels import detection_widths
from recpack.errors import RecordError
from recpack.formats.recordio import (
    MAX_PAYLOAD,
    RecordBuffer,
    decode_payload,
    format_index,
    framed_length,
    join_parts,
    label_bytes,
    locate_record,
    parse_index,
    payload_length,
)
from tests.conftest import Oracle
from tests.support import strategies
from tests.support.devkits import MAGIC, encode_record

GOLDEN_PLAIN = bytes.fromhex(
    "0a23d7ce 2f000000"  # magic, whole part of 47 bytes
    "05000000 00000000 0700000000000000 0000000000000000"  # 5 floats, label 0, id 7, id2 0
    "00000040 0000a040 00000000 0000803e 0000003f"  # 2 5 0 0.25 0.5
    "ffd8ff 00"  # 3 bytes of image, 1 of padding
)
GOLDEN_SPLIT = bytes.fromhex(
    "0a23d7ce 18000020"  # first part, 24 bytes
    "00000000 0000803f 0100000000000000 0000000000000000"  # scalar label 1.0, id 1
    "0a23d7ce 00000040"  # middle part, empty: two magic words side by side
    "0a23d7ce 04000040 61626364"  # middle part, 'abcd'
    "0a23d7ce 01000060 65000000"  # last part, 'e' and padding
)

ONE = label_bytes(np.array([1.0], np.float32))


def decode(data: bytes, offset: int = 0) -> recpack.Record:
    def read(at: int, length: int) -> bytes:
        return data[at : at + length]

    return decode_payload(join_parts(read, locate_record(read, offset, len(data))), offset)


def test_golden_bytes() -> None:
    assert encode_record(7, [2, 5, 0, 0.25, 0.5], b"\xff\xd8\xff") == GOLDEN_PLAIN
    assert encode_record(1, [1.0], MAGIC + MAGIC + b"abcd" + MAGIC + b"e") == GOLDEN_SPLIT


def test_golden_bytes_come_back() -> None:
    record = decode(GOLDEN_PLAIN)
    assert (record.id, record.flag, record.image_bytes) == (7, 5, b"\xff\xd8\xff")
    assert record.label.tolist() == [2, 5, 0, 0.25, 0.5]
    split = decode(GOLDEN_SPLIT)
    assert (split.flag, split.label.tolist()) == (0, [1.0])
    assert split.image_bytes == MAGIC + MAGIC + b"abcd" + MAGIC + b"e"


@given(strategies.records, st.data())
def test_what_is_read_is_what_was_written(
    records: list[tuple[list[float], bytes]], data: st.DataObject
) -> None:
    buffer = RecordBuffer()
    starts = []
    ids = [data.draw(strategies.ids) for _ in records]
    for id_, (label, image) in zip(ids, records, strict=True):
        starts.append(len(buffer))
        buffer.begin(id_, label_bytes(np.array(label, np.float32)), len(image))[:] = image
        length = buffer.commit()
        assert length == len(buffer) - starts[-1]
        assert length % 4 == 0
        assert length >= framed_length(payload_length(len(label), len(image)))
    file = bytes(buffer.view())
    for start, id_, (label, image) in zip(starts, ids, records, strict=True):
        record = decode(file, start)
        assert record.id == id_
        assert record.label.tolist() == label
        assert record.image_bytes == image


@given(strategies.labels, strategies.payload_bytes)
def test_no_magic_word_stays_on_a_boundary_of_the_payload(label: list[float], image: bytes) -> None:
    """dmlc's readers look for the magic word at every 4 bytes when they lost their way."""
    file = encode_record(0, label, image)
    parts = locate_record(lambda at, length: file[at : at + length], 0, len(file))
    headers = {part.start - 8 for part in parts}
    found = {at for at in range(0, len(file), 4) if file[at : at + 4] == MAGIC}
    assert found == headers


@settings(max_examples=60)
@given(strategies.records)
def test_mxnet_writes_the_same_file(
    oracle: Oracle, tmp_path: Path, records: list[tuple[list[float], bytes]]
) -> None:
    rec, idx = tmp_path / "mx.rec", tmp_path / "mx.idx"
    rows = [(id_, label, image.hex()) for id_, (label, image) in enumerate(records)]
    oracle("write", rec, idx, rows)
    ours = [encode_record(id_, label, image) for id_, (label, image) in enumerate(records)]
    offsets = np.cumsum([0, *map(len, ours)])[:-1].tolist()
    assert rec.read_bytes() == b"".join(ours)
    assert idx.read_text() == "".join(format_index(range(len(ours)), offsets))


def test_a_buffer_is_used_again() -> None:
    buffer = RecordBuffer(1)
    for size in (10, 100_000, 3):
        buffer.clear()
        buffer.begin(0, ONE, size)[:] = b"x" * size
        buffer.commit()
        assert bytes(buffer.view()) == encode_record(0, [1.0], b"x" * size)


def test_a_forked_process_has_a_buffer_of_its_own() -> None:
    buffer = RecordBuffer()
    room = buffer.begin(0, ONE, 3)
    room[:] = b"abc"
    child = os.fork()
    if not child:
        room[:] = b"xyz"
        os._exit(0)
    os.waitpid(child, 0)
    buffer.commit()
    assert bytes(buffer.view()) == encode_record(0, [1.0], b"abc")


def test_a_record_too_large_is_refused() -> None:
    with pytest.raises(RecordError, match="less than 536,870,912 bytes"):
        RecordBuffer().begin(0, ONE, MAX_PAYLOAD - 23)


@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (b"PK\x03\x04" + bytes(40), 0, "no record at byte 0: magic word 0x04034b50"),
        (GOLDEN_PLAIN[:5], 0, "ends inside a record header at byte 0"),
        (GOLDEN_PLAIN[:20], 0, "claims 47 bytes, but only 12 are left"),
        (GOLDEN_SPLIT[:34], 0, "ends inside a record header at byte 32"),
        (MAGIC + struct.pack("<I", MAX_PAYLOAD) + bytes(99), 0, "claims 536,870,911 bytes"),
        (GOLDEN_SPLIT[32:], 0, r"out of order at byte 0 \(cflag 2\)"),
        (GOLDEN_SPLIT[:32] + GOLDEN_PLAIN, 0, r"out of order at byte 32 \(cflag 0\)"),
        (MAGIC + struct.pack("<I", 9) + bytes(12), 0, "fewer than the 24"),
        (MAGIC + struct.pack("<IIfQQ", 24, 1 << 31, 0, 0, 0), 0, "claims 2,147,483,648 label"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_damage_is_named_with_its_place(data: bytes, offset: int, message: str) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        decode(data, offset)
    assert caught.value.offset is not None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        assert decode(data).offset == 0
    except RecordError as error:
        assert error.offset is not None  # noqa: PT017


@pytest.mark.parametrize(
    ("label", "widths"),
    [
        ([2, 5, 0, 0.1, 0.1, 0.2, 0.2], (2, 5)),
        ([4, 6, 500, 375, 0, 0.1, 0.1, 0.2, 0.2, 0], (4, 6)),
        ([2, 5], (2, 5)),
        ([1.0], None),
        ([2, 5, 0, 0.1], None),
        ([2.5, 5, 0, 0.1, 0.1, 0.2, 0.2], None),
        ([1, 5, 0, 0.1, 0.1, 0.2], None),
        ([2, 4, 0, 0.1, 0.1, 0.2], None),
        ([float("nan"), 5, 0], None),
    ],
)
def test_detection_widths(label: list[float], widths: tuple[int, int] | None) -> None:
    if widths == (2, 5) and len(label) == 2:
        widths = None  # a header of 2 says objects of 5 floats, and has none
    assert detection_widths(np.array(label, np.float32)) == widths


def test_boxes_of_a_scalar_label_are_an_error() -> None:
    with pytest.raises(RecordError, match="has no detection label"):
        decode(GOLDEN_SPLIT).boxes  # noqa: B018


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\t0\n1 100\n", "line 2 of the index is '1 100'"),
        ("a\t0\n", "line 1"),
        ("0\t-4\n", "line 1"),
        ("0\t0\n0\t100\n", "a key appears twice"),
        (f"0\t{1 << 64}\n", "line 1"),
    ],
)
def test_a_broken_index_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        parse_index(text.encode())


@given(
    st.lists(
        st.tuples(st.integers(-(2**40), 2**40), st.integers(0, 2**50)), unique_by=lambda p: p[0]
    )
)
def test_the_index_round_trips(pairs: list[tuple[int, int]]) -> None:
    keys, offsets = parse_index(
        "".join(format_index([k for k, _ in pairs], [o for _, o in pairs])).encode()
    )
    assert list(zip(keys.tolist(), offsets.tolist(), strict=True)) == pairs
