"""Columns of a table: array types, a column of strings, and rows of unequal length."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise, starmap
from operator import lt
from typing import Any, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

_BLOCK = 2048
"""Rows gathered at a time: it bounds the memory."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Integers = npt.NDArray[np.signedinteger[Any]]
Pixels = npt.NDArray[np.uint8]
Scalar = TypeVar("Scalar", bound=np.generic)


def gather(
    values: npt.NDArray[Scalar], bounds: Integers, order: Integers
) -> tuple[npt.NDArray[Scalar], npt.NDArray[np.int64]]:
    """Choose rows of unequal length, which lie end to end in ``values``.

    Row i is ``values[bounds[i]:bounds[i + 1]]``; returns the rows ``order``, and their bounds.
    """
    lengths = bounds[order + 1] - bounds[order]
    ends = np.concatenate(([0], np.cumsum(lengths)))
    result = np.empty(ends[-1], values.dtype)
    for start in range(0, len(order), _BLOCK):
        block = slice(start, start + _BLOCK)
        first, last = ends[start], ends[min(start + _BLOCK, len(order))]
        # every element's position in `values` is its row's start plus its rank in the row
        shift = np.repeat(bounds[order[block]] - ends[:-1][block], lengths[block])
        result[first:last] = values[np.arange(first, last) + shift]
    return result, ends


def narrow(bounds: Int64) -> Integers:
    """Ascending positions in half of their bytes, where that is enough."""
    return bounds.astype(np.int32) if bounds[-1] < 1 << 31 else bounds


def repeats(values: Int64) -> bool:
    """Whether a value stands there twice. (``np.unique`` needs several times the memory.)"""
    ordered = np.sort(values)
    return bool((ordered[1:] == ordered[:-1]).any())


class StringColumn(Sequence[str]):
    """File names or ids end to end in one ``bytes``: each takes 8 bytes beside its own, in a list
    of str about 60. File names that are not text come back unchanged (``surrogateescape``)."""

    __slots__ = ("_blob", "_bounds")

    def __init__(self, strings: Iterable[str] = ()) -> None:
        blob = bytearray()
        lengths = array("q", [0])
        remaining = iter(strings)
        while block := list(islice(remaining, _BLOCK)):
            text = "".join(block)
            if text.isascii():  # most names are: encode the whole block at once
                blob += text.encode("ascii")
                lengths.extend(map(len, block))
            else:
                names = list(map(os.fsencode, block))
                blob += b"".join(names)
                lengths.extend(map(len, names))
        self._set(bytes(blob), np.cumsum(lengths, dtype=np.int64))

    def _set(self, blob: bytes, bounds: Integers) -> Self:
        self._blob, self._bounds = blob, bounds
        return self

    @classmethod
    def join(cls, parts: Sequence[StringColumn]) -> StringColumn:
        """All strings of several columns, in order."""
        shifts = np.cumsum([0, *(len(part._blob) for part in parts)])
        bounds = [part._bounds[1:] + shift for part, shift in zip(parts, shifts, strict=False)]
        blob = b"".join(part._blob for part in parts)
        return cls()._set(blob, narrow(np.concatenate((np.zeros(1, np.int64), *bounds))))

    @classmethod
    def of(cls, blob: bytes, bounds: Integers) -> StringColumn:
        """The column with this ``blob`` and these ``bounds``."""
        return cls()._set(blob, bounds)

    @property
    def bounds(self) -> Integers:
        """The start of each string in ``blob``, and the end of the last, int (n + 1,)."""
        return self._bounds

    @property
    def blob(self) -> bytes:
        """All strings end to end."""
        return self._blob

    def take(self, order: Integers) -> StringColumn:
        """The strings at these positions, in this order."""
        blob, bounds = gather(np.frombuffer(self._blob, np.uint8), self._bounds, order)
        return StringColumn()._set(blob.tobytes(), bounds)

    def repeated(self) -> Iterator[str]:
        """Each string that stands earlier in the column too, in order."""
        if all(starmap(lt, pairwise(self))):  # most columns are sorted
            return
        if repeats(np.fromiter(map(hash, self), np.int64, len(self))):
            # rare, so this can take more memory
            seen: set[str] = set()
            for string in self:
                if string in seen:
                    yield string
                seen.add(string)

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @overload
    def __getitem__(self, item: int) -> str: ...
    @overload
    def __getitem__(self, item: slice) -> StringColumn: ...
    def __getitem__(self, item: int | slice) -> str | StringColumn:
        if isinstance(item, slice):
            start, stop, step = item.indices(len(self))
            if step != 1:
                return self.take(np.arange(start, stop, step))
            bounds = self._bounds[start : max(stop, start) + 1]
            return StringColumn()._set(self._blob[bounds[0] : bounds[-1]], bounds - bounds[0])
        if not -len(self) <= item < len(self):
            raise IndexError(item)
        item %= len(self)
        return os.fsdecode(self._blob[self._bounds[item] : self._bounds[item + 1]])

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _BLOCK):
            bounds = self._bounds[first : first + _BLOCK + 1]
            block = self._blob[bounds[0] : bounds[-1]]
            spans = pairwise((bounds - bounds[0]).tolist())
            if block.isascii():
                text = block.decode("ascii")
                yield from [text[start:end] for start, end in spans]
            else:
                yield from [os.fsdecode(block[start:end]) for start, end in spans]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"StringColumn({list(self)!r})"


class GrowingColumns:
    """Parts of a table end to end: the arrays of these ``names``, and ``paths``. Each column is one
    buffer that grows in place: joining the parts at the end would need the memory twice."""

    def __init__(self, *names: str) -> None:
        self._buffers = {name: bytearray() for name in names}
        self._paths: list[StringColumn] = []

    def append(self, part: Any) -> None:
        """Add a part, which has the columns as attributes."""
        for name, buffer in self._buffers.items():
            buffer += getattr(part, name).tobytes()
        self._paths.append(part.paths)

    def array(self, name: str, dtype: type[Scalar]) -> npt.NDArray[Scalar]:
        """A column; after this call it can't grow."""
        return np.frombuffer(self._buffers[name], dtype)

    def paths(self) -> StringColumn:
        """All paths."""
        return StringColumn.join(self._paths)
