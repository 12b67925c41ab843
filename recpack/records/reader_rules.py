"""The rules of each reader for a record, and the comparison of a record with its list.

Sources: MXNet 1.9.1 ``iter_image_det_recordio.cc`` and ``image/detection.py``, GluonCV
``data/recordio/detection.py``, DALI ``recordio_loader.h``, and the SageMaker developer guide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from recpack.data.labels import detection_widths, far_edge
from recpack.data.samples import Samples
from recpack.errors import ImageError
from recpack.formats.image_header import read_header
from recpack.formats.manifest import Manifest
from recpack.formats.recordio import MAGIC_BYTES, RECORD_HEADER, Record
from recpack.problems import Problem
from recpack.records.inspect import image_header
from recpack.records.settings import Reader
from recpack.storage.explain import explain
from recpack.storage.files import Closing
from recpack.storage.trees.base import Folder, OpenFile

_LEAST = 7
"""Floats of a label with one object."""

Rule = Callable[[Record, int], Iterator[Problem]]
"""(record, its number) → its problems."""


def rule_of(reader: Reader, manifest: Manifest | None) -> Rule:
    """The rules of a reader, as one function."""

    def rule(record: Record, number: int) -> Iterator[Problem]:
        def problem(code: str, value: str, field: str = "") -> Problem:
            where = f"record {number} at byte {record.offset}"
            return Problem(code, "error", where, "error", field=field, value=value)

        if reader == "dali":
            scalar = 0.0 if record.flag else float(record.label[0])
            header = RECORD_HEADER.pack(record.flag, scalar, record.id, record.id2)
            if MAGIC_BYTES in header:
                yield problem("record-magic", f"id {record.id}, id2 {record.id2}")
            return
        widths = detection_widths(record.label)
        if widths is None or len(record.label) < _LEAST:
            yield problem("record-label", f"{len(record.label)} floats")
            return
        if manifest is not None and len(record.label) > manifest.label_width:
            yield problem("record-label-width", str(len(record.label)), "label width")
        boxes = record.boxes[record.boxes[:, 0] >= 0]
        if reader in ("sagemaker", "mxnet"):
            edges = boxes[:, 1:5]
            has_area = (edges[:, 2] > edges[:, 0]) & (edges[:, 3] > edges[:, 1])
            if reader == "mxnet" and not has_area.any():
                yield problem("record-no-box", f"{len(boxes)} boxes")
            if far := far_edge(boxes):
                yield problem("box-pixels", f"{far:g}")
        if reader == "sagemaker":
            ids = boxes[:, 0]
            known = len(manifest.classes) if manifest is not None else np.inf
            wrong = ids[(ids != np.floor(ids)) | (ids >= known)]
            if len(wrong):
                yield problem("record-class", f"{wrong[0]:g}", "class id")
            image = image_header(record)
            if image is None or not image.passes:
                kind = f"{image.channels}-channel {image.kind}" if image else "unknown"
                yield problem("record-image", kind)

    return rule


def _is_reencoded(record: Record, file: OpenFile) -> bool:
    """Whether ``convert`` re-encodes such a file, and the record's image has its size."""
    header = image_header(record)
    try:
        source = read_header(file.read, file.size)
    except ImageError:
        return False
    sizes = (source.width, source.height), source.upright
    return not source.passes and header is not None and (header.width, header.height) in sizes


class SourceComparison(Closing):
    """Compares records with the rows and files that they were made from. Of images that ``convert``
    re-encodes, only the size is compared."""

    def __init__(self, samples: Samples) -> None:
        self._rows = iter(samples)
        self._folder: Folder = samples.root.folder(".")

    def compare(self, record: Record, number: int) -> Iterator[Problem]:
        """The problems of a record that differs from its row's label or its file's bytes."""
        where = f"record {number} at byte {record.offset}"
        sample = next(self._rows, None)
        if sample is None:
            yield Problem("record-surplus", "error", where, "error")
            return
        if record.label.tobytes() != sample.label.tobytes():
            yield Problem("record-differs", "error", where, "error", 0, "label", sample.path)
        try:
            with self._folder.open(sample.path) as file:
                same = file.read(0, file.size) == record.image_bytes or _is_reencoded(record, file)
        except OSError as error:
            code, value = explain(error, "image")
            yield Problem(code, "error", sample.path, "error", value=value)
        else:
            if not same:
                yield Problem("record-differs", "error", where, "error", 0, "image", sample.path)

    def close(self) -> None:
        self._folder.close()
