"""The images of one or several ``.rec`` files as one sequence, in any process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

import numpy as np

from recpack.columns import Int64
from recpack.formats.recordio import Record
from recpack.records.reader import RecordReader
from recpack.records.settings import ReaderSettings
from recpack.storage.paths import PathOrUrl

PathOrPaths = PathOrUrl | Sequence[PathOrUrl]

_TABLE = 40
"""Bytes of the frame of a table with two floats."""
_BATCH_BYTES, _AHEAD = 16 << 20, 2
"""Bytes of records that are read together, and such batches read in advance where threads read."""


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

    def __len__(self) -> int:
        return sum(self.counts)

    def __getitem__(self, position: int) -> Record:
        return self._reader[position if self._images is None else int(self._images[position])]

    def read_many(self, positions: Sequence[int]) -> list[Record]:
        """The records at these positions, in this order; on S3 many at once."""
        return self._reader.read_many(self._places(np.array(positions, np.int64)))

    def read_in_order(self, positions: Int64) -> Iterator[Record]:
        """The same, one after the other. Memory: 16 MiB, or 48 MiB where threads read in
        advance."""
        places = self._places(positions)
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
