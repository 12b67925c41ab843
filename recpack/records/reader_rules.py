"""The rules of each reader for a record, and the comparison of a record with its list.

Sources: MXNet 1.9.1 ``iter_image_recordio_2.cc``, ``iter_image_det_recordio.cc``,
``image_det_aug_default.cc``,
``image/detection.py`` and ``recordio.py``, GluonCV ``data/recordio/detection.py``, DALI
``recordio_loader.h`` and ``recordio_parser.h``, and the SageMaker developer guide.

No reader compares the id in a record's header with anything, and none of these expects certain keys
in the index: MXNet's and GluonCV's go through the keys that are there, DALI takes the offsets only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from recpack.data.labels import LEAST_LABEL, MAX_CLASSES, detection_widths, far_edge
from recpack.data.samples import Samples
from recpack.errors import ImageError
from recpack.formats.image_header import read_header
from recpack.formats.insightface import property_beside
from recpack.formats.manifest import Manifest
from recpack.formats.recordio import MAGIC, RECORD_HEADER, Record
from recpack.problems import Problem, count_text
from recpack.records.face_rules import FaceFile, problem_at
from recpack.records.inspect import image_header, label_text
from recpack.records.reader import RecordReader
from recpack.records.settings import Reader
from recpack.storage.explain import explain
from recpack.storage.files import Closing
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.base import Folder, OpenFile

_WORDS = struct.Struct("<6I")
"""The header of a record, as the words that RecordIO can find its magic word in."""

RULES: dict[Reader, tuple[str, ...]] = {
    "sagemaker": ("detection labels", "ratios", "classes", "images"),
    "mxnet": ("index", "detection labels", "ratios", "areas"),
    "gluoncv": ("index", "detection labels"),
    "dali": ("index", "headers"),
    "image-classification": ("images", "label width", "class ids"),
    "insightface": ("index", "keys", "tables", "identities", "images", "sizes"),
}
"""What each reader demands beyond RecordIO. SageMaker's containers read no index."""

MEANINGS = {
    "manifest": "size, checksum and number of records are the manifest's",
    "recordio": "each record is whole and where it must be",
    "index": "its entries are the records",
    "list": "each record has its row's label and its file's bytes",
    "detection labels": "each label is a header and whole objects",
    "ratios": "edges of boxes are ratios, not pixels",
    "classes": "class ids of boxes are whole, and the manifest has them",
    "areas": "each image has a box with an area",
    "headers": "no id holds RecordIO's magic word",
    "images": "the images are of a kind that it decodes",
    "label width": "all labels have as many numbers",
    "class ids": "class ids are whole, and the manifest has them",
    "keys": "the keys are 0, 1, 2, …",
    "tables": "the tables name each image once",
    "identities": "each image has an identity",
    "sizes": "all images have one size",
}
"""What each rule says."""

Rule = Callable[[Record, int], Iterator[Problem]]
"""(record, its number) → its problems."""


class Whole(NamedTuple):
    """What the rules of the reader must know of the whole file: ``width``, floats of its first
    label, or that it is InsightFace's."""

    width: int = 1
    faces: FaceFile | None = None

    @classmethod
    def of(cls, records: RecordReader, reader: Reader | None, s3: S3Client) -> Whole:
        whole = reader in ("image-classification", "insightface")
        first = list(islice(records, 2)) if whole else []
        if not first:
            return cls()
        if reader == "image-classification":
            return cls(len(first[0].label))
        few = first[:1] if first[0].is_image else first
        return cls(1, FaceFile.of(few, property_beside(records.path, s3)))


_ANY = Whole()


def rule_of(reader: Reader, manifest: Manifest | None, whole: Whole = _ANY) -> Rule:
    """The rules of a reader for one record, as one function."""
    if whole.faces is not None:
        return whole.faces.problems
    if reader == "image-classification":
        return partial(_class_problems, manifest=manifest, width=whole.width)
    rules = RULES[reader]

    def rule(record: Record, number: int) -> Iterator[Problem]:
        problem = partial(problem_at, record, number)
        if "headers" in rules:
            scalar = 0.0 if record.flag else float(record.label[0])
            header = RECORD_HEADER.pack(record.flag, scalar, record.id, record.id2)
            if MAGIC in _WORDS.unpack(header):
                yield problem("record-magic", f"id {record.id}, id2 {record.id2}")
        if "detection labels" not in rules:
            return
        if not record.image_bytes:
            yield problem("record-empty", label_text(record))
            return
        if detection_widths(record.label) is None or len(record.label) < LEAST_LABEL:
            yield problem("record-label", f"{count_text(len(record.label), 'float')}, no boxes")
            return
        if manifest is not None and len(record.label) > manifest.label_width:
            yield problem("record-label-width", str(len(record.label)), "label width")
        boxes = record.boxes[record.boxes[:, 0] >= 0]
        if "areas" in rules:
            edges = boxes[:, 1:5]
            has_area = (edges[:, 2] > edges[:, 0]) & (edges[:, 3] > edges[:, 1])
            if not has_area.any():
                yield problem("record-no-box", f"{len(boxes)} boxes")
        if "ratios" in rules and (far := far_edge(boxes)):
            yield problem("box-pixels", f"{far:g}")
        if "classes" in rules:
            ids = boxes[:, 0]
            known = len(manifest.classes) if manifest is not None else np.inf
            wrong = ids[(ids != np.floor(ids)) | (ids >= known)]
            if len(wrong):
                yield problem("record-class", f"{wrong[0]:g}", "class id")
        if "images" in rules:
            image = image_header(record)
            if image is None or not image.passes:
                kind = f"{image.channels}-channel {image.kind}" if image else "unknown"
                yield problem("record-image", kind)

    return rule


def _class_problems(
    record: Record, number: int, *, manifest: Manifest | None, width: int
) -> Iterator[Problem]:
    """What MXNet's ImageRecordIter and SageMaker's image classification demand."""
    problem = partial(problem_at, record, number)
    if not record.is_image:
        yield problem("record-empty", label_text(record))
        return
    header = image_header(record)
    if header is None or header.kind not in ("jpeg", "png"):
        yield problem("record-image-kind", header.kind if header else "unknown")
    if len(record.label) != width:
        yield problem("record-label-differs", f"{len(record.label)}, of record 0 {width}")
    elif width == 1:
        id_ = float(record.label[0])
        known = len(manifest.classes) if manifest is not None else MAX_CLASSES
        if not (0 <= id_ < known and id_ == int(id_)):
            yield problem("record-class", f"{id_:g}", "class id")


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
        self._ids = np.sort(samples.indices)
        self._folder: Folder = samples.root.folder(".")

    def compare(self, record: Record, number: int) -> Iterator[Problem]:
        """The problems of a record that differs from its row's label or its file's bytes."""
        if (
            not record.is_image
            and record.id not in self._ids[np.searchsorted(self._ids, record.id) :][:1]
        ):
            return  # a table of InsightFace
        where = f"record {number} at byte {record.offset}"
        sample = next(self._rows, None)
        if sample is None:
            yield Problem("record-surplus", "error", where, "error")
            return
        if record.label.tobytes() != sample.label.tobytes():
            yield Problem("record-differs", "error", where, "error", 0, "label", sample.path)
        try:
            with self._folder.open(sample.path) as file:
                image = record.image_bytes
                same = file.read(0, len(image) + 1) == image or _is_reencoded(record, file)
        except OSError as error:
            code, value = explain(error, "image")
            yield Problem(code, "error", sample.path, "error", value=value)
        else:
            if not same:
                yield Problem("record-differs", "error", where, "error", 0, "image", sample.path)

    def close(self) -> None:
        self._folder.close()
