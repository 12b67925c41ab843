"""A worker's part of packing: the bytes of one segment, and what became of its images."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from recpack.columns import StringColumn
from recpack.data.samples import Samples, Treatment
from recpack.formats.encoding import Encoding
from recpack.formats.recordio import RecordBuffer
from recpack.packing.plan import Segment
from recpack.packing.segment import PackedSegment, pack_segment
from recpack.sinks.base import Receipts, SegmentWriter
from recpack.storage.checksums import Checksum
from recpack.storage.trees.local import LocalTree
from tests.support.devkits import MAGIC, encode_record, jpeg

BOXES = [2.0, 5.0, 1.0, 0.125, 0.25, 0.5, 0.75]


class Kept(SegmentWriter):
    """Keeps the bytes of the segment."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        del number
        self.data = bytes(buffer.view())
        assert zlib.crc32(self.data) == checksum
        return {}


def checked(folder: Path, images: Sequence[bytes], labels: Sequence[Sequence[float]]) -> Samples:
    """Images as a scan finds them, with ids from 10 on."""
    tree = LocalTree(str(folder))
    names = [f"{number}.jpg" for number in range(len(images))]
    identities = []
    with tree.folder(".") as opened:
        for name, image in zip(names, images, strict=True):
            (folder / name).write_bytes(image)
            with opened.open(name) as file:
                identities.append(file.identity)
    return Samples(
        tree,
        np.arange(10, 10 + len(images)),
        StringColumn(names),
        np.array([value for label in labels for value in label], np.float32),
        np.cumsum([0, *map(len, labels)]),
        np.array([*map(len, images)]),
        np.zeros(len(images), np.uint8),
        np.array(identities),
    )


def pack(samples: Samples, encoding: Encoding | None = None) -> tuple[PackedSegment, bytes]:
    writer = Kept()
    segment = Segment(0, writer, samples, int(samples.image_bytes.sum()))
    return pack_segment(segment, encoding or Encoding(), Checksum.CRC32), writer.data


def test_records_of_every_kind(tmp_path: Path) -> None:
    """More bytes than one piece of the checksum; magic words between records without."""
    images = [os.urandom(size).replace(MAGIC, b"none") for size in (90_001, 90_002, 5, 0, 200_000)]
    images[2:2] = [MAGIC + b"ab" + MAGIC + MAGIC + b"cdef" + 3 * MAGIC]
    labels: list[list[float]] = [BOXES, [3.0], [7.5], [], [2.0, 5.0], [*BOXES, *BOXES[2:]]]
    packed, data = pack(checked(tmp_path, images, labels))
    rows = list(zip(range(10, 16), labels, images, strict=True))
    records = [encode_record(*row) for row in rows]
    assert data == b"".join(records)
    assert packed.lengths.tolist() == [*map(len, records)]
    assert packed.failures == []
    for (id, label, image), record in zip(rows, records, strict=True):
        if MAGIC not in image:
            head = struct.pack(
                "<IfQQ", *((0, *label) if len(label) == 1 else (len(label), 0)), id, 0
            )
            floats = b"" if len(label) == 1 else struct.pack(f"<{len(label)}f", *label)
            payload = head + floats + image
            framed = MAGIC + struct.pack("<I", len(payload)) + payload
            assert record == framed + bytes(-len(framed) % 4)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def touch(path: Path) -> None:
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (grow, "image-changed"),
        (shrink, "image-changed"),
        (touch, "image-changed"),
        (Path.unlink, "image-missing"),
    ],
)
@pytest.mark.parametrize("row", [0, 1, 2])
def test_an_image_that_changed_leaves_the_others_whole(
    tmp_path: Path, change: Callable[[Path], None], code: str, row: int
) -> None:
    images = [os.urandom(size) for size in (1000, 1001, 1002)]
    labels = [BOXES, [1.0], BOXES]
    samples = checked(tmp_path, images, labels)
    change(tmp_path / f"{row}.jpg")
    packed, data = pack(samples)
    ((position, path, found, _),) = packed.failures
    assert (position, path, found) == (row, f"{row}.jpg", code)
    others = [
        encode_record(10 + number, labels[number], images[number])
        for number in range(3)
        if number != row
    ]
    assert data == b"".join(others)
    assert packed.lengths[row] == 0
    assert packed.size == len(data)


def test_some_images_are_changed_and_the_others_kept(tmp_path: Path) -> None:
    images = [jpeg(60, 40, number) for number in range(4)]
    labels = [BOXES, BOXES, [4.0], [5.0]]
    samples = checked(tmp_path, images, labels)
    _, kept = pack(samples)
    _, changed = pack(samples, Encoding(reencode=True))
    samples.treatments[[1, 2]] = Treatment.AS_STORED
    packed, mixed = pack(samples)
    ends = np.cumsum(packed.lengths)
    assert packed.lengths[[0, 3]].tolist() == [
        len(encode_record(0, labels[i], images[i])) for i in (0, 3)
    ]
    assert mixed[: ends[0]] == kept[: ends[0]]
    assert mixed[ends[0] : ends[2]] in changed
    assert mixed[ends[2] :] == kept[-int(packed.lengths[3]) :]
