"""The worker's heavy half: one segment's images → records → the sink."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recpack.checksums import Checksum
from recpack.config import Encoding
from recpack.errors import ImageError, RecordError
from recpack.image import reencode
from recpack.plan import Segment
from recpack.recordio import RecordBuffer
from recpack.sample import Sample, Treatment
from recpack.sinks.base import Receipts, SegmentWriter


class Failure(NamedTuple):
    """An image that could not be packed: its sample's index, and why."""

    sample: int
    path: str
    code: str
    value: str


@dataclass(frozen=True, eq=False)
class PackedSegment:
    """What a worker returns: never image bytes.

    ``lengths``: uint32 (n,), bytes of each framed record · ``checksum`` of all of them ·
    ``receipts``: see ``SegmentWriter.write``. With ``failures`` the segment is incomplete, and
    the output must not be published.
    """

    lengths: npt.NDArray[np.uint32]
    checksum: int
    failures: list[Failure] = field(default_factory=list)
    receipts: Receipts = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the segment."""
        return int(self.lengths.sum(dtype=np.int64))


def pack_segment(
    segment: Segment,
    encoding: Encoding,
    reencode_all: bool,
    writer: SegmentWriter,
    checksum: Checksum,
) -> PackedSegment:
    """Read the segment's images, build its records in place, give them to the sink."""
    buffer = writer.buffer(segment.room)
    lengths = np.zeros(len(segment.samples), np.uint32)
    failures: list[Failure] = []
    try:
        root = os.open(segment.samples.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for row, sample in enumerate(segment.samples):
                try:
                    if reencode_all or sample.treatment is not Treatment.KEEP:
                        lengths[row] = _changed(sample, root, buffer, encoding)
                    else:
                        lengths[row] = _unchanged(sample, root, buffer)
                except ImageError as error:
                    failures.append(Failure(sample.index, sample.path, error.code, error.value))
                except RecordError as error:
                    raise RecordError(f"{sample.path}: {error}") from None
                except OSError as error:
                    reason = error.strerror or str(error)
                    failures.append(Failure(sample.index, sample.path, "image-unreadable", reason))
        finally:
            os.close(root)
        value = checksum.of(buffer.view())
    except BaseException:
        writer.fail(segment.number)
        raise
    if len(buffer) < segment.min_bytes:
        writer.discard(segment.number, buffer)
        return PackedSegment(lengths, value, failures)
    receipts = writer.write(segment.number, buffer, value)
    return PackedSegment(lengths, value, failures, receipts)


def _unchanged(sample: Sample, root: int, buffer: RecordBuffer) -> int:
    file = os.open(sample.path, os.O_RDONLY, dir_fd=root)
    try:
        size = os.fstat(file).st_size
        if size != sample.image_bytes:
            raise ImageError(
                "image-unreadable",
                f"it changed while it was packed, from {sample.image_bytes:,} to {size:,} bytes",
            )
        room = buffer.begin(sample.index, sample.label, size)
        read = 0
        while read < size:
            count = os.readv(file, [room[read:]])
            if not count:
                raise ImageError("image-truncated", "it was cut short while it was packed")
            read += count
    finally:
        os.close(file)
    return buffer.commit(size)


def _changed(sample: Sample, root: int, buffer: RecordBuffer, encoding: Encoding) -> int:
    with open(os.open(sample.path, os.O_RDONLY, dir_fd=root), "rb") as file:
        data = file.read()
    image = reencode(data, sample.treatment or Treatment.UPRIGHT, encoding)
    buffer.begin(sample.index, sample.label, len(image))[:] = image.data
    return buffer.commit(len(image))
