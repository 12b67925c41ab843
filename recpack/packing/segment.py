"""The work of a worker: one segment's images → records → the sink."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recpack.data.samples import Sample, Samples, Treatment
from recpack.errors import ImageError, RecordError
from recpack.formats.encoding import Encoding
from recpack.formats.image_codec import reencode, tune_process
from recpack.formats.recordio import RecordBuffer
from recpack.packing.plan import Segment
from recpack.sinks.base import Receipts, SegmentWriter
from recpack.storage.checksums import Checksum
from recpack.storage.explain import Reason, explain
from recpack.storage.regular import NotRegularError
from recpack.storage.trees.base import OpenFile


class Failure(NamedTuple):
    """An image that can't be packed: its sample's index, its path, the problem code and value."""

    sample: int
    path: str
    code: str
    value: str


@dataclass(frozen=True, eq=False)
class PackedSegment:
    """What a worker returns: never image bytes.

    ``lengths``: uint32 (n,), bytes of each framed record · ``checksum``: of the segment ·
    ``receipts``: see ``SegmentWriter.write`` · ``rows``: its rows of the list, compressed. With
    ``failures`` the segment is incomplete and must not be published.
    """

    lengths: npt.NDArray[np.uint32]
    checksum: int
    failures: list[Failure] = field(default_factory=list)
    receipts: Receipts = field(default_factory=dict)
    rows: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of the segment."""
        return int(self.lengths.sum(dtype=np.int64))


def pack_segment(
    segment: Segment,
    encoding: Encoding,
    writer: SegmentWriter,
    checksum: Checksum,
    format_list: Callable[[Samples], bytes] | None = None,
    alone: bool = False,
) -> PackedSegment:
    """Read the segment's images, build its records in place, pass them to the sink. ``format_list``
    makes its rows of the list. ``alone``: the process does nothing else."""
    buffer = writer.buffer(segment.room)
    lengths = np.zeros(len(segment.samples), np.uint32)
    failures: list[Failure] = []
    samples, change_all = segment.samples, encoding.changes_images
    if alone and (change_all or samples.treatments.any()):
        tune_process()
    try:
        sizes = samples.image_bytes.tolist()
        with samples.root.folder(".", proven=True) as folder:
            openers = folder.in_order(samples.paths, sizes=sizes)
            for row, (sample, opener) in enumerate(zip(samples, openers, strict=True)):
                assert opener is not None
                try:
                    with opener() as file:
                        if change_all or sample.treatment is not Treatment.KEEP:
                            lengths[row] = _append_changed(sample, file, buffer, encoding)
                        else:
                            lengths[row] = _append_unchanged(sample, file, buffer)
                except RecordError as error:
                    raise RecordError(f"{sample.path}: {error}") from None
                except (ImageError, OSError) as error:
                    failures.append(Failure(sample.index, sample.path, *explain_image(error)))
        value = checksum.of(buffer.view())
    except BaseException:
        writer.fail(segment.number)
        raise
    receipts: Receipts = {}
    if len(buffer) < segment.min_bytes:
        writer.discard(segment.number, buffer)
    else:
        receipts = writer.write(segment.number, buffer, value)
    # last, because the next segment can wait for this one
    rows = format_list(samples) if format_list is not None else b""
    return PackedSegment(lengths, value, failures, receipts, rows)


def explain_image(error: Exception) -> Reason:
    """Why an image that was checked can't be packed."""
    if isinstance(error, NotRegularError):  # it was a file
        return Reason("image-changed", str(error))
    return explain(error, "image")


def read_same(sample: Sample, file: OpenFile) -> bytes:
    """The bytes of an image. Raises ImageError when it is not the file that was checked."""
    if file.size != sample.image_bytes or file.identity != sample.identity:
        raise ImageError("image-changed", "")
    return file.read(0, file.size)


def _append_unchanged(sample: Sample, file: OpenFile, buffer: RecordBuffer) -> int:
    expected = sample.image_bytes
    room = buffer.begin(sample.index, sample.label, expected)
    size = file.read_into(room)
    del room  # while a view of it exists, the buffer can't grow in place
    # asked after the read, so that a change meanwhile is found too
    if size != expected or file.identity != sample.identity:
        raise ImageError("image-changed", "")
    return buffer.commit(expected)


def _append_changed(
    sample: Sample, file: OpenFile, buffer: RecordBuffer, encoding: Encoding
) -> int:
    image = reencode(read_same(sample, file), sample.treatment or Treatment.UPRIGHT, encoding)
    buffer.begin(sample.index, sample.label, len(image))[:] = image.data
    return buffer.commit(len(image))
