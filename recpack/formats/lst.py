"""``.lst`` files: one line a sample, ``index TAB label … TAB path``.

A detection label is ``header_width object_width [extra header …] [class xmin ymin xmax ymax …]+``
and is packed into the record as float32; the two widths are written as integers.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count, islice

import numpy as np
from isal import isal_zlib

from recpack.columns import Float32, StringColumn
from recpack.data.labels import detection_labels
from recpack.data.samples import Samples
from recpack.errors import ListError
from recpack.storage.checksums import Checksum
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Tree

_BATCH = 2048
_MAX_KNOWN = 1 << 17
_MAX_FLOAT = 2.0**128 - 2.0**103
"""From here on float64 rounds to a float32 that is infinite."""


def format_rows(samples: Samples, precision: int | None = None) -> Iterator[str]:
    """The lines of a list, line feeds included.

    Numbers have as many digits as float32 needs to come back unchanged, or ``precision``
    decimals (4 gives the AWS tool's text to the byte).
    """
    floats = FloatTexts(precision)
    for start in range(0, len(samples), _BATCH):
        batch = samples.slice(start, min(start + _BATCH, len(samples)))
        texts = floats.of(batch.labels)
        firsts = batch.bounds[:-1][detection_labels(batch)]
        for places in (firsts, firsts + 1):  # the two widths
            widths = batch.labels[places].astype(np.int64)
            for place, width in zip(places.tolist(), widths.tolist(), strict=True):
                texts[place] = str(width)
        bounds = batch.bounds.tolist()
        for i, (index, path) in enumerate(zip(batch.indices.tolist(), batch.paths, strict=True)):
            label = "\t".join(texts[bounds[i] : bounds[i + 1]])
            yield f"{index}\t{label}\t{path}\n"


class CheckedLines:
    """Lines that pass through once, many at a time, and the CRC-32 of their text when they have."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._count = 0
        self._made: deque[bytes] = deque()
        self.crc32 = 0

    def __iter__(self) -> Iterator[str]:
        while self._made:
            yield isal_zlib.decompress(self._made.popleft()).decode()
        while text := self._next():
            yield text.decode()

    def make_ahead(self, count: int) -> None:
        """Have so many lines ready, while somebody else is busy. They are kept compressed, in a few
        dozen bytes each."""
        while self._count < count and (text := self._next()):
            self._made.append(isal_zlib.compress(text, 1))

    def _next(self) -> bytes:
        lines = list(islice(self._lines, _BATCH))
        self._count += len(lines)
        text = "".join(lines).encode()
        self.crc32 = Checksum.CRC32.of(text, self.crc32)
        return text


class FloatTexts:
    """Float32 → text: the shortest that reads back equal, or with so many decimals.

    Each bit pattern is made into text once, because many boxes share an edge, and making texts is
    the slow part.
    """

    def __init__(self, precision: int | None = None) -> None:
        self._precision = precision
        self._known: dict[int, str] = {}

    def of(self, values: Float32) -> list[str]:
        """The text of each value."""
        patterns = values.view(np.uint32).tolist()
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()
        new = list(set(patterns).difference(self._known))
        distinct = np.array(new, np.uint32).view(np.float32)
        if self._precision is None:
            texts = distinct.astype("U").tolist()
        else:
            texts = [f"{value:.{self._precision}f}" for value in distinct.tolist()]
        self._known.update(zip(new, texts, strict=True))
        return [self._known[pattern] for pattern in patterns]


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
        columns = line.strip().split("\t")
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
                f"line {number}: index is {columns[0].strip()[:80]!r}, expected an integer from 0"
            ) from None
        path = columns[-1].strip()
        try:
            values = list(map(float, columns[1:-1]))
            total = sum(values)
            sound = min(values) > -_MAX_FLOAT and max(values) < _MAX_FLOAT and total == total
        except ValueError:
            sound = False
        if not sound or line.count("_") > path.count("_"):
            bad = next((column for column in columns[1:-1] if not _is_number(column)), None)
            if bad is not None:
                text = bad.strip()[:80]
                raise ListError(f"line {number}: label is {text!r}, expected a number")
        if unsafe_path(path):
            raise ListError(
                f"line {number}: path {path[:200]!r} leaves the root; paths are relative "
                "to the image root and stay below it"
            )
        indices.append(index)
        labels.extend(values)
        bounds.append(len(labels))
        paths.append(path)
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
        StringColumn(paths),
        np.array(labels, np.float32),
        np.array(bounds, np.int64),
        np.zeros(len(ids), np.int64),
        np.zeros(len(ids), np.uint8),
    )


def _is_number(text: str) -> bool:
    """Whether it is a finite float32; ``float`` takes 1_000 too."""
    try:
        return -_MAX_FLOAT < float(text) < _MAX_FLOAT and "_" not in text
    except ValueError:
        return False
