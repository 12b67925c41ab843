"""The images of one or several ``.rec`` files as one sequence, in any process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise

import numpy as np

from recpack.columns import Int64
from recpack.formats.recordio import Record
from recpack.records.reader import RecordReader
from recpack.records.settings import ReaderSettings
from recpack.storage.paths import PathOrUrl
from recpack.storage.s3.location import is_s3

PathOrPaths = PathOrUrl | Sequence[PathOrUrl]

_TABLE = 40
"""Bytes of the frame of a table with two floats."""
_BATCH_BYTES, _AHEAD = 16 << 20, 2
"""Bytes of records that threads read together, and how many times as many they read in advance."""


class ImageRecords:
    """The records with an image, each at its position among them.

    ``counts`` and ``sizes``: images, and about how many bytes, of each file. It can be pickled, and
    used after a fork.
    """

    def __init__(self, paths: PathOrPaths, settings: ReaderSettings) -> None:
        self._reader = reader = RecordReader(paths, **vars(settings.part(ReaderSettings)))
        starts, offsets = reader.starts, reader.offsets
        files = [slice(*bounds) for bounds in pairwise(starts.tolist())]
        self.sizes = [int(offsets[file].max(initial=0)) for file in files]
        images = _images(reader)
        self._images = None if len(images) == len(reader) else images
        self.counts = np.diff(np.searchsorted(images, starts)).tolist()
        self._batch = max(_BATCH_BYTES * len(reader) // max(sum(self.sizes), 1), 1)
        # a record in a memory map is best read when it is needed
        self._at_once = is_s3(reader.path) or not settings.mapped

    def __len__(self) -> int:
        return sum(self.counts)

    def __getitem__(self, position: int) -> Record:
        return self._reader[position if self._images is None else int(self._images[position])]

    def read_many(self, positions: Sequence[int]) -> Iterable[Record]:
        """The records at these positions, in this order; without a memory map 16 reads at once."""
        if not self._at_once:
            return map(self.__getitem__, positions)
        return self._reader.read_many(self._places(np.array(positions, np.int64)))

    def read_in_order(self, positions: Int64) -> Iterator[Record]:
        """The same; without a memory map some are read in advance. Memory: 48 MiB."""
        places = self._places(positions)
        if not self._at_once:
            return map(self._reader.__getitem__, places.tolist())
        return chain.from_iterable(self._reader.batches(self._batch, places, ahead=_AHEAD))

    def path(self, position: int) -> str:
        """The file of an image."""
        return self._reader.locate(int(self._places(np.array([position]))[0]))[0]

    def _places(self, positions: Int64) -> Int64:
        return positions if self._images is None else self._images[positions]


def _images(reader: RecordReader) -> Int64:
    """The positions of the records with an image, int64, shape (images,). A file of faces begins
    with a table, and behind its images are tables again: the first says where."""
    if not len(reader) or (len(reader) > 1 and np.diff(reader.offsets[:2])[0] > _TABLE):
        return np.arange(len(reader))
    found = [np.arange(0)]
    for first, stop in pairwise(reader.starts.tolist()):
        if first < stop and (record := reader[first]).kind == "table":
            found.append(np.arange(first + 1, min(first + int(record.label[0]), stop)))
        else:
            found.append(np.arange(first, stop))
    return np.concatenate(found)
