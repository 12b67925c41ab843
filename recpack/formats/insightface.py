"""InsightFace's layout of a ``.rec`` of faces: images between tables, which have no image.

    key 0           the meta record: label [first identity key, one past the last]
    keys 1, 2, …    the images of identity 0, of identity 1, …: the label is the identity
    the next keys   a record for each identity: label [its first image key, one past the last]

A text file ``property`` beside it holds ``identities,height,width``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recpack.columns import Float32, Int64, StringColumn
from recpack.data.samples import Samples
from recpack.errors import DataError
from recpack.formats.record import Record
from recpack.storage.limits import MAX_PROPERTY
from recpack.storage.paths import PathOrUrl, companion, read_bytes, read_companion
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import PROPERTY

_MOST_KEYS = 1 << 24
"""A label's floats hold each whole number up to it."""


@dataclass(frozen=True)
class Property:
    """What the file ``property`` says: the number of ``identities``, and the images' size."""

    identities: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.identities},{self.height},{self.width}"


def property_beside(rec: PathOrUrl, s3: S3Client) -> Property | None:
    """The ``property`` of a ``.rec``; None when there is none. Raises DataError that names it for
    another text."""
    where = companion(rec, PROPERTY)
    try:
        data = read_companion(rec, PROPERTY, s3, lambda path: read_bytes(path, s3, MAX_PROPERTY))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: {error}") from error
    # RecBuilder of InsightFace adds a second line, with the number of images
    text = data.decode("utf-8", "replace").partition("\n")[0].strip()
    numbers = re.fullmatch("([0-9]{1,9}),([0-9]{1,9}),([0-9]{1,9})", text)
    if numbers is None:
        raise DataError(
            f"{where}: it must say identities,height,width, like 85742,112,112 "
            f"(got {text[:80]!r}); correct it, or move it away"
        )
    return Property(*map(int, numbers.groups()))


def identity_keys(first: Record) -> range | None:
    """The keys of the identity records, from the first record of a file; None where it is no meta
    record."""
    span = key_span(first)
    return None if span is None or span.start < 1 else span


def key_span(record: Record) -> range | None:
    """The keys that a table spans; None for a record that is no such table."""
    if record.image_bytes or record.flag != 2 or not np.isfinite(record.label).all():
        return None
    start, stop = record.label.tolist()
    whole = start == int(start) and stop == int(stop) and 0 <= start <= stop < 1 << 53
    return range(int(start), int(stop)) if whole else None


def table_labels(counts: Int64) -> Float32:
    """The labels of the meta record and of the identity records, for identities of so many images,
    float32 (identities + 1, 2). Raises DataError for more keys than a float counts exactly."""
    bounds = np.concatenate(([1], 1 + np.cumsum(counts)))
    last = int(bounds[-1]) + len(counts)
    if last > _MOST_KEYS:
        raise DataError(
            f"{last:,} records: InsightFace keeps keys as float32, which is exact up to "
            f"{_MOST_KEYS:,}; put some of the identities into another file"
        )
    spans = np.stack((bounds[:-1], bounds[1:]), 1)
    return np.vstack(([[bounds[-1], last]], spans)).astype(np.float32)


def with_tables(samples: Samples, identities: int) -> Samples:
    """Samples of faces between InsightFace's tables, which have an empty path and no bytes: images
    ordered by their label, else as they were. Raises DataError: see ``table_labels``."""
    count, ids = len(samples), samples.labels.astype(np.int64)
    tables = table_labels(np.bincount(ids, minlength=identities))
    rows = samples.take(np.argsort(ids, kind="stable"))
    none = np.zeros(identities, np.int64)

    def around(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate((none[:1], column, none)).astype(column.dtype)

    widths = np.concatenate(([2], np.ones(count, np.int64), none + 2))
    return replace(
        rows,
        indices=np.arange(len(widths)),
        paths=StringColumn.join([StringColumn([""]), rows.paths, StringColumn([""] * identities)]),
        labels=np.concatenate((tables[0], rows.labels, tables[1:].ravel())),
        bounds=np.concatenate(([0], np.cumsum(widths))),
        image_bytes=around(rows.image_bytes),
        treatments=around(rows.treatments),
        identities=around(rows.identities),
    )
