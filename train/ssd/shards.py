"""The files of a data set, which any process opens when it reads their records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import recpack

from ..errors import TrainError

_OPEN = 64
"""Files that a process keeps open."""


class Place(NamedTuple):
    """Where a record begins: the number of its file, and the byte."""

    file: int
    offset: int


def open_rec(rec: str | Sequence[Path], endpoint_url: str | None) -> recpack.RecordReader:
    """Not mapped: a file that is cut short would end the process that reads its map."""
    return recpack.RecordReader(rec, mapped=False, endpoint_url=endpoint_url)


class Shards:
    """One file or several, in order, and what tells each from another of its name."""

    def __init__(
        self, paths: Sequence[str], identities: Sequence[object], endpoint_url: str | None
    ) -> None:
        self.paths = paths
        self._identities, self._endpoint_url = identities, endpoint_url
        self._readers: dict[int, recpack.RecordReader] = {}

    def read(self, place: Place) -> recpack.Record:
        """The record that begins there. Raises TrainError where another file has come in the place
        of the one that was meant."""
        number, path = place.file, self.paths[place.file]
        reader = self._readers.pop(number, None)
        if reader is None:
            reader = open_rec(path, self._endpoint_url)
            if reader.identity != self._identities[number]:
                reader.close()
                raise TrainError(f"{path}: another file has just replaced it; train again")
            if len(self._readers) == _OPEN:  # the one that was not used for the longest time
                self._readers.pop(next(iter(self._readers))).close()
        self._readers[number] = reader
        return reader.read_offset(place.offset)

    def close(self) -> None:
        """Close them; they are opened again where they are needed."""
        while self._readers:
            self._readers.popitem()[1].close()
