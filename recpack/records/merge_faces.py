"""Several of InsightFace's ``.rec`` files → one set of identities, with one set of tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote

import numpy as np

from recpack.columns import Float32, Int64
from recpack.errors import DataError
from recpack.formats.insightface import (
    Property,
    identity_keys,
    key_span,
    property_beside,
    table_labels,
)
from recpack.formats.manifest import Manifest
from recpack.formats.record import Record
from recpack.records.reader import RecordReader
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import PROPERTY


@dataclass(frozen=True)
class MergedFaces:
    """``counts``: the images of each identity of all files, one file after the other · ``keys``: of
    the identity records of each file · ``names`` of the identities, empty where they are numbers ·
    ``stated``:
    the ``property`` of all."""

    counts: Int64
    keys: Sequence[range]
    names: Sequence[str]
    stated: Property | None

    @classmethod
    def of(
        cls, readers: Sequence[RecordReader], manifests: Sequence[Manifest], s3: S3Client
    ) -> MergedFaces:
        """Read the tables. Raises DataError where they do not cover the images, and for images of
        different sizes."""
        spans = [_spans(reader) for reader in readers]
        counts = np.array([len(one) for _, found in spans for one in found], np.int64)
        keys = [keys for keys, _ in spans]
        stated = [property_beside(reader.path, s3) for reader in readers]
        for reader, one in zip(readers, stated, strict=True):
            first = stated[0]
            if one and first and (one.height, one.width) != (first.height, first.width):
                raise DataError(
                    f"{reader.path}: its property says {one}, that of {readers[0].path} {first}; "
                    "InsightFace takes images of one size: convert the folders of the identities "
                    "again with --center-crop --resize"
                )
        names = [name for manifest in manifests for name in manifest.classes]
        known = len(set(names)) == len(names) == len(counts)
        whole = None
        if stated[0] is not None and None not in stated:
            whole = Property(len(counts), stated[0].height, stated[0].width)
        return cls(counts, keys, names if known else (), whole)

    @property
    def companions(self) -> dict[str, list[str]]:
        """The lines of ``property``, if it is written."""
        return {} if self.stated is None else {PROPERTY: [f"{self.stated}\n"]}

    def records(self, readers: Sequence[RecordReader]) -> Iterator[tuple[str, Record, Float32]]:
        """All records of the output, each with the path of its file and its label."""
        tables = table_labels(self.counts)
        table = Record(0, 0, 2, tables[0], b"")
        yield readers[0].path, table, tables[0]
        before = 0
        for reader, keys in zip(readers, self.keys, strict=True):
            for number, record in enumerate(reader):
                if 0 < number < keys.start:
                    label = record.label.copy()
                    label[0] += before
                    yield reader.path, record, label
            before += len(keys)
        for label in tables[1:]:
            yield readers[0].path, table, label


def _spans(reader: RecordReader) -> tuple[range, list[range]]:
    """The keys of the identity records, and the keys of the images of each identity. Raises
    DataError when they are not one after the other: see ``verify``."""
    keys = identity_keys(next(iter(reader)))
    spans: list[range] = []
    if keys is not None and len(reader) == keys.stop:
        # in the order of the file; an index can have another
        for record in reader.read_many(np.argsort(reader.offsets)[keys.start :]):
            span = key_span(record)
            if span is None or span.start != (spans[-1].stop if spans else 1):
                break
            spans.append(span)
    if keys is None or len(spans) < len(keys) or (spans[-1].stop if spans else 1) != keys.start:
        raise DataError(
            f"{reader.path}: its tables do not cover its images; see what is wrong with: "
            f"recpack verify {quote(reader.path)} --reader insightface"
        )
    return keys, spans
