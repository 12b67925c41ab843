"""The images of one or several ``.rec`` files as one sequence, in any process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, pairwise

import numpy as np

from recpack.columns import Int64
from recpack.formats.insightface import identity_keys
from recpack.formats.recordio import Record
from recpack.records.reader import RecordReader
from recpack.records.settings import ReaderSettings
from recpack.storage.paths import PathOrUrl
from recpack.storage.regular import open_regular
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
        self._count = len(images)
        self._batch = max(_BATCH_BYTES * len(reader) // max(sum(self.sizes), 1), 1)
        self.name = reader.path
        self.mapped = settings.mapped and not is_s3(reader.path)
        """Whether a memory map has the records: each is best read when it is needed."""

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> Record:
        return self._reader[position if self._images is None else int(self._images[position])]

    def read_many(self, positions: Sequence[int]) -> Iterable[Record]:
        """The records at these positions, in this order; without a memory map 16 reads at once."""
        if self.mapped:
            return map(self.__getitem__, positions)
        return self._reader.read_many(self._places(np.array(positions, np.int64)))

    def read_in_order(self, positions: Int64) -> Iterator[Record]:
        """The same, read by threads in advance. Memory: 48 MiB."""
        places = self._places(positions)
        return chain.from_iterable(self._reader.batches(self._batch, places, ahead=_AHEAD))

    def read_mapped(self, positions: Int64, in_order: Int64, buffer_size: int) -> Iterator[Record]:
        """The same from memory maps. ``in_order`` are these positions in the order of the file,
        where none stands ``buffer_size`` places behind its own here; the system is told to read
        them in this order, 16 to 32 MiB in advance."""
        places, ordered = self._places(positions), self._places(in_order)
        for start in range(0, len(places), self._batch):
            ahead = start + self._batch + buffer_size
            self._advise(ordered[ahead if start else 0 : ahead + self._batch])
            yield from map(self._reader.__getitem__, places[start : start + self._batch].tolist())

    def _advise(self, places: Int64) -> None:
        """Tell the system that these records will be read, in runs of neighbours."""
        if not len(places) or not hasattr(os, "posix_fadvise"):  # macOS has none
            return
        offsets = self._reader.offsets
        for run in np.split(places, np.flatnonzero(np.diff(places) != 1) + 1):
            first, last = int(offsets[run[0]]), int(offsets[run[-1]])
            with suppress(OSError):  # whoever reads the record tells what is wrong
                descriptor = open_regular(self._reader.locate(int(run[0]))[0])
                try:
                    os.posix_fadvise(
                        descriptor, first, max(last - first, 1), os.POSIX_FADV_WILLNEED
                    )
                finally:
                    os.close(descriptor)

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
        keys = identity_keys(reader[first]) if first < stop else None
        if keys is not None:
            first, stop = first + 1, min(first + keys.start, stop)
        found.append(np.arange(first, stop))
    return np.concatenate(found)
