"""Write ``.rec`` files record by record, for data jobs that already have images and boxes."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from recpack.columns import StringColumn
from recpack.data.labels import assemble_labels, misplaced
from recpack.data.samples import Samples
from recpack.display import brief
from recpack.errors import RecordError
from recpack.formats.manifest import Manifest, RecFile, Source, describe
from recpack.formats.recordio import RecordBuffer, format_index, label_bytes
from recpack.records.settings import WriterSettings
from recpack.settings import takes
from recpack.sinks.base import Sink, SinkPlan, Written, WrittenSegment
from recpack.sinks.open import open_sink
from recpack.sinks.settings import MAX_SEGMENT
from recpack.storage.s3.location import INDEX
from recpack.storage.trees.local import LocalTree


class RecordWriter:
    """Write records to ``output``, a path or ``s3://…`` that ends in ``.rec``, or a sink.

    Ids are 0, 1, … in the order of the calls. The end of the ``with`` block publishes the ``.rec``,
    its ``.idx`` and manifest; after an exception in the block nothing is left. ``classes`` names
    the classes in the manifest, in the order of their ids; without it their names are their ids.
    The other keywords work as in ``convert``. Memory: one segment of ``segment_size`` bytes, and
    the labels (on S3 see ``S3Sink``: one worker, and segments grow after every thousand).
    """

    @takes(WriterSettings)
    def __init__(self, output: str | os.PathLike[str] | Sink, settings: WriterSettings) -> None:
        self._sink = open_sink(output, settings)
        self._classes = tuple(settings.classes)
        self._segment_size = settings.segment_bytes
        # arrays, because a list has a hundred bytes and more for each small record
        self._labels, self._bounds = array("f"), array("q", [0])
        self._offsets = array("q", [0])
        self._segments: list[WrittenSegment] = []
        self._receipts: dict[int, str] = {}
        self._tables = array("q")
        """Ids of records that are no samples in the manifest."""
        self._companions: dict[str, Iterable[str]] = {}
        """Lines of further companions, by suffix."""
        self.manifest: Manifest | None = None
        self._buffer: RecordBuffer | None = None

    def __repr__(self) -> str:
        return brief(self, output=self._sink, records=len(self._bounds) - 1)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._sink)
            # one thread writes the segments in order: the plan needs only a limit of their number
            self._writer = self._sink.open(SinkPlan(segments=1 << 20))
            self._buffer = self._writer.buffer(self._segment_size)
            stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._publish()
        except BaseException as failure:  # the sink adds to it what it must leave behind
            self._sink.__exit__(type(failure), failure, failure.__traceback__)
            raise
        finally:
            self._buffer = None
        self._sink.__exit__(kind, error, trace)

    def write(
        self,
        image_bytes: bytes | memoryview,
        boxes: npt.ArrayLike | None = None,
        *,
        label: npt.ArrayLike | None = None,
    ) -> int:
        """Write one record and return its id.

        ``image_bytes`` is an encoded image, stored unchanged. ``boxes`` has shape (n, 5) or more
        columns: class id, then xmin, ymin, xmax, ymax as ratios of the image's size (without any
        box, the label is the one that MXNet ignores). Instead of ``boxes``, ``label`` is the whole
        float32 vector, or one number for image classification. Raises RecordError for boxes in
        pixels, inverted or without area, for a class id that ``classes`` does not name, for a label
        of another shape, and outside of the ``with`` block.
        """
        vector = self._vector(boxes, label)
        if self._buffer is None:
            raise RecordError(
                f"{self._sink.name}: the writer is not open; write inside "
                "'with recpack.RecordWriter(…) as writer:', whose end publishes the file"
            )
        room = self._buffer.begin(len(self._bounds) - 1, label_bytes(vector), len(image_bytes))
        room[:] = image_bytes
        length = self._buffer.commit()
        self._offsets.append(self._offsets[-1] + length)
        self._labels.frombytes(vector.tobytes())
        self._bounds.append(len(self._labels))
        if len(self._buffer) >= self._segment_size:
            self._flush(self._buffer)
            self._buffer = self._writer.buffer(self._segment_size)
            self._enlarge_segments()
        return len(self._bounds) - 2

    def _vector(
        self, boxes: npt.ArrayLike | None, label: npt.ArrayLike | None
    ) -> npt.NDArray[np.float32]:
        if (boxes is None) == (label is None):
            raise RecordError("write: needs either boxes or label")
        if label is not None:
            vector = np.array(label, np.float32, ndmin=1)  # the caller can change his
            if vector.ndim != 1 or not len(vector):
                raise RecordError(f"label: must be a vector or a number (got shape {vector.shape})")
            ids = vector if len(vector) == 1 else vector[:0]
        else:
            table = np.asarray(boxes, np.float32)
            if table.size == 0:
                table = np.zeros((0, 5), np.float32)
            if table.ndim != 2 or table.shape[1] < 5:
                raise RecordError(
                    "boxes: must have shape (n, 5): class id, xmin, ymin, xmax, ymax "
                    f"(got shape {table.shape})"
                )
            vector = assemble_labels(table, np.array([len(table)]))[0]
            ids = table[:, 0]
        if not np.isfinite(vector).all():
            raise RecordError("label: all values must be finite numbers")
        if boxes is not None and (wrong := misplaced(table)) is not None:
            raise RecordError(
                "boxes: xmin, ymin, xmax, ymax must be ratios of the image's width and height, "
                f"xmin below xmax and ymin below ymax (got {table[wrong].tolist()} in row {wrong})"
            )
        if self._classes and (highest := max(ids.tolist(), default=0)) >= len(self._classes):
            raise RecordError(
                f"class id {highest:g}: there are {len(self._classes)} classes, numbered from 0; "
                "name all of them in classes"
            )
        return vector

    def _flush(self, buffer: RecordBuffer) -> None:
        value = self._sink.checksum.of(buffer.view())
        segment = WrittenSegment(len(self._segments), len(buffer), value)
        self._segments.append(segment)
        self._receipts |= self._writer.write(segment.number, buffer, value)

    def _enlarge_segments(self) -> None:
        """Enlarge later segments if their number is limited: the number of records is unknown."""
        most = self._sink.max_segments
        if most is not None and len(self._segments) % (most // 10) == 0:
            self._segment_size = min(2 * self._segment_size, MAX_SEGMENT)

    def _publish(self) -> None:
        if not self._labels or self._buffer is None:
            raise RecordError("nothing was written: a .rec needs at least one record")
        self._flush(self._buffer)
        self._receipts |= self._writer.drain()
        written = Written(self._sink.checksum, self._segments, self._receipts)
        count = len(self._bounds) - 1
        samples = Samples(
            LocalTree(""),
            np.arange(count, dtype=np.int64),
            StringColumn([""] * count),
            np.frombuffer(self._labels, np.float32),
            np.frombuffer(self._bounds, np.int64),
            np.zeros(count, np.int64),
            np.zeros(count, np.uint8),
            np.zeros(count, np.int64),
        )
        checksum = written.checksum.text(written.value)
        rec = RecFile(self._sink.name, self._offsets[-1], checksum)
        source = Source()
        if self._tables:
            samples = samples.take(np.delete(np.arange(count), self._tables))
            source = Source("identities")
        manifest = describe(samples, self._classes, [], {}, rec, source=source)
        manifests: list[Manifest] = []

        def manifest_text(etag: str | None) -> str:
            manifests.append(manifest.with_etag(etag))
            return manifests[-1].to_json()

        index = format_index(np.arange(count), memoryview(self._offsets)[:-1])
        self._sink.publish(written, {INDEX: index, **self._companions}, manifest_text)
        self.manifest = manifests[-1]
