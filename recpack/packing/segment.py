"""The work of a worker: one segment's images → records → the sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recpack.data.samples import Samples, Treatment
from recpack.errors import ImageError, RecordError
from recpack.formats.encoding import Encoding
from recpack.formats.image_codec import reencode, tune_process
from recpack.formats.recordio import label_bytes
from recpack.packing.plan import Segment
from recpack.packing.table import samples_of
from recpack.sinks.base import Receipts
from recpack.storage.checksums import Checksum
from recpack.storage.explain import Reason, explain
from recpack.storage.regular import NotRegularError
from recpack.storage.trees.base import Folder, Opener, OpenFile

_PIECE = 1 << 18
"""Bytes whose checksum is taken at once, while they are in the cache."""


class Failure(NamedTuple):
    """An image that can't be packed: its position among the samples (a worker counts from the first
    of its segment), its path, the problem code and value."""

    position: int
    path: str
    code: str
    value: str


@dataclass(frozen=True, eq=False)
class PackedSegment:
    """What a worker returns: never image bytes.

    ``lengths``: uint32 (n,), bytes of each framed record · ``size`` and ``checksum`` of the segment
    · ``receipts``: see ``SegmentWriter.write`` · ``rows``: its rows of the list, compressed. With
    ``failures`` the segment is incomplete and must not be published.
    """

    lengths: npt.NDArray[np.uint32]
    size: int
    checksum: int
    failures: list[Failure] = field(default_factory=list)
    receipts: Receipts = field(default_factory=dict)
    rows: bytes = b""


def pack_segment(
    segment: Segment,
    encoding: Encoding,
    checksum: Checksum,
    format_list: Callable[[Samples], bytes] | None = None,
    alone: bool = False,
) -> PackedSegment:
    """Read the segment's images, build its records in place, pass them to the sink. ``format_list``
    makes its rows of the list. ``alone``: the process does nothing else."""
    writer = segment.writer
    buffer = writer.buffer(segment.room)
    samples = samples_of(segment.part)
    lengths = np.zeros(len(samples), np.uint32)
    failures: list[Failure] = []
    changed = (samples.treatments != Treatment.KEEP) | encoding.changes_images
    if alone and changed.any():
        tune_process()
    value = summed = 0
    try:
        with samples.root.folder(".", proven=True) as folder:
            for row, (id, label, size, identity, change, opener) in enumerate(
                _rows(samples, changed, folder)
            ):
                if opener is None:  # a table
                    buffer.begin(id, label, 0)
                    lengths[row] = buffer.commit()
                    continue
                try:
                    with opener() as file:
                        if change:
                            treatment = Treatment(samples.treatments[row])
                            data = reencode(read_same(file, size, identity), treatment, encoding)
                            buffer.begin(id, label, len(data))[:] = data.data
                        else:
                            _read_unchanged(file, size, identity, buffer.begin(id, label, size))
                    lengths[row] = buffer.commit()
                except RecordError as error:
                    raise RecordError(f"{samples.paths[row]}: {error}") from None
                except (ImageError, OSError) as error:
                    failures.append(Failure(row, samples.paths[row], *explain_image(error)))
                if len(buffer) - summed >= _PIECE:
                    value, summed = checksum.of(buffer.view(summed), value), len(buffer)
        value = checksum.of(buffer.view(summed), value)
    except BaseException:
        writer.fail(segment.number)
        raise
    receipts: Receipts = {}
    size = len(buffer)
    if size < segment.min_bytes:
        writer.discard(segment.number, buffer)
    else:
        receipts = writer.write(segment.number, buffer, value)
    # last, because the next segment can wait for this one
    rows = format_list(samples) if format_list is not None else b""
    return PackedSegment(lengths, size, value, failures, receipts, rows)


def _rows(
    samples: Samples, changed: npt.NDArray[np.bool_], folder: Folder
) -> Iterator[tuple[int, bytes, int, int, bool, Opener | None]]:
    """Id, label, size, identity, whether it is changed, and opener of each image, None for
    a table. Not a ``Sample``
    of each, which takes as long as opening its file."""
    labels, sizes = label_bytes(samples.labels), samples.image_bytes.tolist()
    paths: Sequence[str | None] = samples.paths
    if not np.diff(samples.paths.bounds).all():
        paths = [path or None for path in samples.paths]
    bounds = (samples.bounds * samples.labels.itemsize).tolist()
    return zip(
        samples.indices.tolist(),
        (labels[start:stop] for start, stop in pairwise(bounds)),
        sizes,
        samples.identities.tolist(),
        changed.tolist(),
        folder.in_order(paths, sizes=sizes),
        strict=True,
    )


def explain_image(error: Exception) -> Reason:
    """Why an image that was checked can't be packed."""
    if isinstance(error, NotRegularError):  # it was a file
        return Reason("image-changed", str(error))
    return explain(error, "image")


def read_same(file: OpenFile, size: int, identity: int) -> bytes:
    """The bytes of an image. Raises ImageError when it is not the file that was checked, which had
    this size and identity."""
    if file.size != size or file.identity != identity:
        raise ImageError("image-changed", "")
    return file.read(0, size)


def _read_unchanged(file: OpenFile, size: int, identity: int, room: memoryview) -> None:
    # asked after the read, so that a change meanwhile is found too
    if file.read_into(room) != size or file.identity != identity:
        raise ImageError("image-changed", "")
