"""Reading ``.rec`` files: in order, by position, by key."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import overload

import numpy as np

from recpack.errors import RecordError
from recpack.files import Closing
from recpack.recordio import Record, decode_payload, join_parts, locate_record, parse_index
from recpack.sample import Int64


class LocalFile:
    """Positioned reads of one file, memory-mapped or by ``pread``."""

    def __init__(self, path: Path, *, mapped: bool) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._descriptor).st_size
        self._map: mmap.mmap | None = None
        if mapped and self.size:
            self._map = mmap.mmap(self._descriptor, 0, prot=mmap.PROT_READ)

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the file."""
        if self._map is not None:
            return self._map[offset : offset + length]
        pieces = []
        while length > 0 and (piece := os.pread(self._descriptor, length, offset)):
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        if self._descriptor >= 0:
            if self._map is not None:
                self._map.close()
            os.close(self._descriptor)
            self._descriptor = -1


class RecordReader(Closing):
    """The records of a ``.rec`` file.

    Iteration goes through the file in order and needs no index. ``reader[i]`` is the record at
    position ``i`` (negative counts from the end), ``reader[a:b]`` a list, ``reader.read_key(k)``
    the record with key ``k`` in the index. The index is the ``.idx`` beside the file, or
    ``index``; without one the file is walked once, header by header, and keys are record ids.

    ``mapped=False`` reads with ``pread`` instead of a memory map (for file systems where a map is
    slow, or files that another program may cut short).

    Raises RecordError, with the byte offset, where the file breaks its format.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        index: str | os.PathLike[str] | None = None,
        mapped: bool = True,
    ) -> None:
        self.path = Path(path)
        self._index_path = Path(index) if index else self.path.with_suffix(".idx")
        if index and not self._index_path.is_file():
            raise RecordError(f"{index}: no such index file")
        try:
            self._file = LocalFile(self.path, mapped=mapped)
        except OSError as error:
            raise RecordError(f"{self.path}: {error.strerror}") from error
        self._index: tuple[Int64, Int64] | None = None
        self._positions: dict[int, int] | None = None

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def __iter__(self) -> Iterator[Record]:
        offset = 0
        while offset < self._file.size:
            record, offset = self._record_at(offset)
            yield record

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, item: int) -> Record: ...
    @overload
    def __getitem__(self, item: slice) -> list[Record]: ...
    def __getitem__(self, item: int | slice) -> Record | list[Record]:
        if isinstance(item, slice):
            return [self._record_at(offset)[0] for offset in self.offsets[item].tolist()]
        return self._record_at(int(self.offsets[item]))[0]

    def read_key(self, key: int) -> Record:
        """The record with this key in the index; KeyError when there is none."""
        if self._positions is None:
            self._positions = {key: i for i, key in enumerate(self.keys.tolist())}
        return self[self._positions[key]]

    @property
    def keys(self) -> Int64:
        """The keys in the order of the index, int64, shape (records,)."""
        return self._load_index()[0]

    @property
    def offsets(self) -> Int64:
        """The records' byte offsets in the order of the index, int64, shape (records,)."""
        return self._load_index()[1]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    def _record_at(self, offset: int) -> tuple[Record, int]:
        try:
            parts = locate_record(self._file.read, offset, self._file.size)
            return decode_payload(join_parts(self._file.read, parts), offset), parts[-1].end
        except RecordError as error:
            raise RecordError(f"{self.path}: {error}", error.offset) from None

    def _load_index(self) -> tuple[Int64, Int64]:
        if self._index is None:
            if self._index_path.is_file():
                try:
                    text = self._index_path.read_text("ascii")
                    self._index = parse_index(text)
                except (RecordError, UnicodeDecodeError) as error:
                    raise RecordError(f"{self._index_path}: {error}") from None
            else:
                pairs = [(record.id, record.offset) for record in self]
                table = np.array(pairs, np.uint64).reshape(-1, 2).astype(np.int64)
                self._index = table[:, 0], table[:, 1]
        return self._index
