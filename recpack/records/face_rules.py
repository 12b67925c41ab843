"""InsightFace's rules for a ``.rec`` of faces.

Sources: InsightFace's ``dataset.py`` (``MXFaceDataset``), ``image_iter.py`` (``FaceImageIter``) and
``rec_builder.py``. A first record with ``flag`` 0 is an image: then there are no tables, and every
record is an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import NamedTuple

import numpy as np

from recpack.columns import Float64, Int64
from recpack.errors import DataError
from recpack.formats.insightface import Property, identity_keys, key_span
from recpack.formats.record import Record
from recpack.problems import Problem
from recpack.records.inspect import image_header, label_text


class FaceFile(NamedTuple):
    """What the rules must know of the whole file: the keys of its identity records, None where the
    first record is no meta record, its ``property``, and the images' width and height: without a
    ``property`` those of the first one, because a batch takes one size."""

    identities: range | None
    property: Property | None
    size: tuple[int, int] | None

    @classmethod
    def of(cls, first: Sequence[Record], property: Property | None) -> FaceFile:
        """``first``: some first records, the last one with an image."""
        header = image_header(first[-1])
        size = (header.width, header.height) if header else None
        if property is not None:
            size = property.width, property.height
        return cls(identity_keys(first[0]), property, size)

    def problems(self, record: Record, number: int) -> Iterator[Problem]:
        """The problems of one record."""
        keys, stated = self.identities, self.property
        count = len(keys) if keys is not None else stated.identities if stated else 1 << 24
        if keys is not None and (number == 0 or number >= keys.start):
            if number >= keys.stop:
                yield problem_at(record, number, "face-table", "one more than the meta record says")
            elif key_span(record) is None:
                found = "an image" if record.is_image else f"label {label_text(record)}"
                yield problem_at(record, number, "face-table", f"{found}, expected a table of keys")
        elif not record.is_image:
            yield problem_at(record, number, "record-empty", label_text(record))
        elif number == 0 and record.flag:
            yield problem_at(record, number, "face-table", f"{record.flag}, of an image", "flag")
        else:
            identity = float(record.label[0])
            if not (0 <= identity < count and identity == int(identity)):
                value = f"{identity:g}, of {count:,}"
                yield problem_at(record, number, "face-identity", value, "identity")
            header = image_header(record)
            if header is None or header.kind not in ("jpeg", "png"):
                kind = header.kind if header else "unknown"
                yield problem_at(record, number, "record-image-kind", kind)
            elif self.size not in (None, (header.width, header.height)):
                width, height = self.size or (0, 0)
                size = f"{header.width} x {header.height}, of {width} x {height}"
                yield problem_at(record, number, "face-size", size, "size")

    def whole(self, path: str, tables: Float64, keys: Int64) -> list[Problem]:
        """The problems between the records of ``path``. ``tables``: number, byte, first and last
        number of the label of each record without an image, float64 (n, 4) · ``keys`` of the index
        by offset. Raises DataError for keys that the tables can't mean."""
        if self.identities is None:
            return []
        stop = self.identities.stop
        dense = keys == np.arange(len(keys))
        if not dense.all():
            number = int(np.argmin(dense))
            raise DataError(
                f"{path}: the key of record {number} is {keys[number]}, but InsightFace's tables "
                f"count 0, 1, 2, …; rebuild the index: recpack index {quote(path)} --overwrite"
            )
        found = []
        if len(keys) < stop:
            value = f"{len(keys):,} records, the meta record says {stop:,}"
            found.append(Problem("face-table", "error", "record 0 at byte 0", "error", value=value))
        before = np.float32(1)
        spans = tables[tables[:, 0] >= self.identities.start]
        for number, offset, start, end in spans.tolist():
            if start != before:
                where = f"record {int(number)} at byte {int(offset)}"
                value = f"{start:g}, expected {before:g}"
                found.append(Problem("face-table", "error", where, "error", 0, "first key", value))
            before = end
        if before != np.float32(self.identities.start):
            value = f"{before:g}, expected {self.identities.start}"
            where = "the last identity record"
            found.append(Problem("face-table", "error", where, "error", 0, "last key", value))
        return found


def problem_at(record: Record, number: int, code: str, value: str, field: str = "") -> Problem:
    """An error in a record."""
    where = f"record {number} at byte {record.offset}"
    return Problem(code, "error", where, "error", field=field, value=value)
