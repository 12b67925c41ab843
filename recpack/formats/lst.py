"""``.lst`` files: one line per sample, ``index TAB label … TAB path``.

A detection label is ``header_width object_width [extra header …] [class xmin ymin xmax ymax …]+``
and is packed into the record as float32; the two widths are written as integers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from isal import isal_zlib

from recpack.columns import Float32, GrowingColumns, Int64, StringColumn, narrow, repeats
from recpack.data.labels import detection_labels
from recpack.data.samples import Samples
from recpack.errors import ListError
from recpack.storage.checksums import Checksum
from recpack.storage.trees.base import Tree

_BATCH = 2048
_MAX_KNOWN = 1 << 16
_MAX_FLOAT = 2.0**128 - 2.0**103
"""From this value up, float64 rounds to an infinite float32."""


def format_rows(samples: Samples, precision: int | None = None) -> Iterator[str]:
    """The lines of a list, with line feeds, some thousand at a time; none for a table.

    Numbers have the fewest digits that read back as the same float32, or ``precision`` decimals
    (4 gives exactly the AWS tool's bytes).
    """
    for start in range(0, len(samples), _BATCH):
        yield _format_block(samples.slice(start, min(start + _BATCH, len(samples))), precision)


def _format_block(block: Samples, precision: int | None) -> str:
    numbers = _formatter(precision).format(block.labels)
    starts = block.bounds[:-1][detection_labels(block)]
    for positions in (starts, starts + 1):  # the two widths
        widths = block.labels[positions].astype(np.int64)
        for position, width in zip(positions.tolist(), widths.tolist(), strict=True):
            numbers[position] = str(width)
    rows = zip(block.indices.tolist(), pairwise(block.bounds.tolist()), block.paths, strict=True)
    join = "\t".join
    return "".join(
        [
            f"{index}\t{join(numbers[start:end])}\t{path}\n"
            for index, (start, end), path in rows
            if path
        ]
    )


class CheckedLines:
    """Passes text through once, some lines at a time. ``crc32`` is then its CRC-32, ``size`` its
    bytes; ``crc32`` stays None for a list that nobody writes."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines
        self.crc32: int | None = None
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        crc32 = size = 0
        for text in self._lines:
            data = text.encode()
            crc32, size = Checksum.CRC32.of(data, crc32), size + len(data)
            yield text
        self.crc32, self.size = crc32, size


def compress_rows(samples: Samples, precision: int | None = None) -> bytes:
    """The text of ``format_rows`` in a third of its bytes, to keep it until it is written."""
    text = "".join(format_rows(samples, precision))
    compressed: bytes = isal_zlib.compress(text.encode(), 1)
    return compressed


def decompress_rows(data: bytes) -> str:
    """The text of ``compress_rows``."""
    return str(isal_zlib.decompress(data), "utf-8")


class PlainText(CheckedLines):
    """The ``text`` of a list that is there already, with its CRC-32."""

    def __init__(self, text: Iterable[str], crc32: int) -> None:
        super().__init__(text)
        self.crc32 = crc32

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)


class FloatFormatter:
    """Float32 → decimal text: the shortest that reads back equal, or ``precision`` decimals.

    Each bit pattern is formatted once, because many boxes share an edge and formatting is slow.
    """

    def __init__(self, precision: int | None = None) -> None:
        self._precision = precision
        self._known: dict[int, str] = {}

    def format(self, values: Float32) -> list[str]:
        """Format each value."""
        patterns = values.view(np.uint32).tolist()
        if len(self._known) > _MAX_KNOWN:
            self._known = {}
        known = self._known  # another thread can replace it meanwhile
        new = list(set(patterns).difference(known))
        distinct = np.array(new, np.uint32).view(np.float32)
        if self._precision is None:
            numbers = distinct.astype("U").tolist()
        else:
            numbers = [f"{value:.{self._precision}f}" for value in distinct.tolist()]
        known.update(zip(new, numbers, strict=True))
        return [known[pattern] for pattern in patterns]


@cache
def _formatter(precision: int | None) -> FloatFormatter:
    """The same for all lists of a process, because they share many numbers."""
    return FloatFormatter(precision)


class Rows(NamedTuple):
    """Rows of a list as columns: ``indices`` int64 (n,) · ``paths`` · ``labels`` float32, all label
    vectors end to end · ``widths`` int64 (n,), floats per label."""

    indices: Int64
    paths: StringColumn
    labels: Float32
    widths: Int64


class RowTable(GrowingColumns):
    """Collects ``Rows``."""

    def __init__(self) -> None:
        super().__init__("indices", "labels", "widths")

    def samples(self, root: Tree) -> Samples:
        """All rows as samples below ``root``. Their image sizes are 0: not known yet. Raises
        ListError when there are none, or an index appears twice. After this call the table can't
        grow."""
        ids, paths = self.array("indices", np.int64), self.paths()
        if not len(ids):
            raise ListError("the list has no rows")
        if repeats(ids):
            twice = np.setdiff1d(np.arange(len(ids)), np.unique(ids, return_index=True)[1])[0]
            raise ListError(
                f"index {ids[twice]} appears twice, again for {paths[int(twice)]!r}; "
                "make indices unique"
            )
        return Samples(
            root,
            ids,
            paths,
            self.array("labels", np.float32),
            narrow(np.concatenate(([0], np.cumsum(self.array("widths", np.int64))))),
            np.zeros(len(ids), np.int64),
            np.zeros(len(ids), np.uint8),
            np.zeros(len(ids), np.int64),
        )


def parse_rows(lines: Iterable[str], root: Tree) -> Samples:
    """The lines of a list → samples below ``root``; see ``read_rows`` and ``RowTable.samples``."""
    table = RowTable()
    table.append(read_rows(lines))
    return table.samples(root)


def read_rows(lines: Iterable[str], first: int = 1) -> Rows:
    """The rows of lines, the first of which has the number ``first``.

    Paths can leave the root. Raises ListError that names the line, the field and the value: too few
    columns, an index that is not an integer, a label that is not a finite number.
    """
    indices = array("q")
    widths = array("q")
    labels = array("f")
    paths: list[str] = []
    for number, line in enumerate(lines, first):
        columns = line.strip().split("\t")
        if columns == [""]:
            continue
        if len(columns) < 3:
            raise ListError(
                f"line {number}: {len(columns)} columns in {line.strip()[:80]!r}; a row is "
                "index, label and path, separated by tabs"
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
            valid = min(values) > -_MAX_FLOAT and max(values) < _MAX_FLOAT and total == total
        except ValueError:
            valid = False
        if not valid or line.count("_") > path.count("_"):
            bad = next((column for column in columns[1:-1] if not is_number(column)), None)
            if bad is not None:
                text = bad.strip()[:80]
                raise ListError(f"line {number}: label is {text!r}, expected a number")
        indices.append(index)
        labels.extend(values)
        widths.append(len(values))
        paths.append(path)
    return Rows(
        np.array(indices, np.int64),
        StringColumn(paths),
        np.array(labels, np.float32),
        np.array(widths, np.int64),
    )


def row_paths(lines: Iterable[str]) -> Iterator[str]:
    """The paths of rows, and of what is none."""
    return (line.strip().rpartition("\t")[2].strip() for line in lines)


def is_number(text: str) -> bool:
    """Whether it is a finite float32. (``float`` also takes 1_000.)"""
    try:
        return -_MAX_FLOAT < float(text) < _MAX_FLOAT and "_" not in text
    except ValueError:
        return False
