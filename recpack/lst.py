"""``.lst`` files: one line a sample, ``index TAB label … TAB path``.

A detection label is ``header_width object_width [extra header …] [class xmin ymin xmax ymax …]+``
and is packed into the record as float32; the two widths are written as integers.
"""

from __future__ import annotations

import posixpath
from array import array
from collections.abc import Iterable, Iterator
from itertools import count

import numpy as np

from recpack.checksums import Checksum
from recpack.errors import ListError
from recpack.labels import detection_labels
from recpack.sample import Float32, Samples
from recpack.texts import Texts
from recpack.trees.base import Tree

_BATCH = 2048


def format_rows(samples: Samples, precision: int | None = None) -> Iterator[str]:
    """The lines of a list, line feeds included.

    Numbers have as many digits as float32 needs to come back unchanged, or ``precision``
    decimals (4 gives the AWS tool's text to the byte).
    """
    for start in range(0, len(samples), _BATCH):
        batch = samples.slice(start, min(start + _BATCH, len(samples)))
        texts = format_floats(batch.labels, precision)
        for place in np.flatnonzero(detection_labels(batch)).tolist():
            first = batch.bounds[place]
            texts[first : first + 2] = map(str, batch.labels[first : first + 2].astype(int))
        bounds = batch.bounds.tolist()
        for i, (index, path) in enumerate(zip(batch.indices.tolist(), batch.paths, strict=True)):
            label = "\t".join(texts[bounds[i] : bounds[i + 1]])
            yield f"{index}\t{label}\t{path}\n"


class CheckedLines:
    """Lines that pass through once, and the CRC-32 of their text when they have."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines
        self.crc32 = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.crc32 = Checksum.CRC32.of(line.encode(), self.crc32)
            yield line


def format_floats(values: Float32, precision: int | None = None) -> list[str]:
    """Each float32 as its shortest text that reads back equal, or with so many decimals."""
    # one text for each bit pattern: many boxes share an edge, and making texts is the slow part
    patterns, places = np.unique(values.view(np.uint32), return_inverse=True)
    distinct = patterns.view(np.float32)
    if precision is None:
        texts = distinct.astype("U").tolist()
    else:
        texts = [f"{value:.{precision}f}" for value in distinct.tolist()]
    return [texts[place] for place in places.tolist()]


def parse_rows(lines: Iterable[str], root: Tree) -> Samples:
    """The lines of a list → samples below ``root`` (their image sizes are not known yet: 0).

    Raises ListError naming the line, the field and the value: too few columns, an index that is
    no integer or comes twice, a label that is no finite number, a path that is absolute or leaves
    the root.
    """
    indices = array("q")
    bounds = array("q", [0])
    labels = array("f")
    paths: list[str] = []
    for number, line in zip(count(1), lines, strict=False):
        columns = [column.strip() for column in line.strip().split("\t")]
        if columns == [""]:
            continue
        if len(columns) < 3:
            raise ListError(
                f"line {number}: {len(columns)} columns in {line.strip()[:80]!r}; a row is "
                "index, label and path with tabs between"
            )
        try:
            index = int(columns[0])
            if not 0 <= index < 1 << 63:
                raise ValueError
        except ValueError:
            raise ListError(
                f"line {number}: index is {columns[0][:80]!r}, expected an integer from 0"
            ) from None
        try:
            with np.errstate(over="ignore"):
                values = np.array(columns[1:-1], np.float64).astype(np.float32)
        except ValueError:
            values = np.array([np.nan], np.float32)
        if not np.isfinite(values).all():
            bad = next(column for column in columns[1:-1] if not _finite(column))
            raise ListError(f"line {number}: label is {bad[:80]!r}, expected a number")
        if unsafe_path(columns[-1]):
            raise ListError(
                f"line {number}: path {columns[-1][:200]!r} leaves the root; paths are relative "
                "to the image root and stay below it"
            )
        indices.append(index)
        labels.extend(values.tolist())
        bounds.append(len(labels))
        paths.append(columns[-1])
    if not paths:
        raise ListError("the list has no rows")
    ids = np.array(indices, np.int64)
    unique, first = np.unique(ids, return_index=True)
    if len(unique) < len(ids):
        twice = np.setdiff1d(np.arange(len(ids)), first)[0]
        raise ListError(f"index {ids[twice]} comes twice (again for {paths[twice]!r})")
    return Samples(
        root,
        ids,
        Texts(paths),
        np.array(labels, np.float32),
        np.array(bounds, np.int64),
        np.zeros(len(ids), np.int64),
        np.zeros(len(ids), np.uint8),
    )


def _finite(text: str) -> bool:
    try:
        return abs(float(text)) <= float(np.finfo(np.float32).max)
    except ValueError:
        return False


def unsafe_path(path: str) -> bool:
    """Whether a path from a list is absolute or climbs out of its root."""
    return posixpath.isabs(path) or "\0" in path or ".." in path.split("/") or path in ("", ".")
