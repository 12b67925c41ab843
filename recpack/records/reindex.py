"""``recpack index``: rebuild a missing ``.idx`` from its ``.rec``."""

from __future__ import annotations

import os
from array import array
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recpack.columns import Int64, repeats
from recpack.display import brief
from recpack.errors import DataError, SinkError
from recpack.formats.recordio import format_index
from recpack.progress import Progress
from recpack.records.reader import RecordReader
from recpack.records.settings import ReplaceSettings
from recpack.settings import takes
from recpack.sinks.set_journal import settle_set
from recpack.storage.journal import settled
from recpack.storage.paths import PathOrUrl, companion, write_text
from recpack.storage.s3.access import Access
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3, parse_location


class Reindexed(NamedTuple):
    """The path of the index, and its ``keys``, int64 (records,)."""

    path: str
    keys: Int64

    def __repr__(self) -> str:
        return brief(self, path=self.path, keys=len(self.keys))


@takes(ReplaceSettings)
def reindex(path: PathOrUrl, settings: ReplaceSettings) -> Reindexed:
    """Read a ``.rec`` and write its ``.idx``.

    Keys are the records' ids, as im2rec writes them, or 0, 1, 2, … when an id occurs twice or is
    2**63 or more: readers need keys that differ, and do not compare them with ids. Raises
    RecordError for a broken file, DataError for an empty one, SinkError when an index exists. Of a
    set of shards, by its name, it writes the index of each, and returns the name of the set and all
    keys, each plus the number of records in the shards before.
    """
    if not is_s3(path):
        with settled(Path(path)):
            settle_set(Path(os.path.abspath(path)))
    with RecordReader(path, mapped=False, **vars(settings.part(Access))) as records:
        shards = records.paths
    if shards == (os.fspath(path),):
        return _reindex(path, settings)
    keys = [_reindex(one, settings)[1] for one in shards]
    firsts = np.cumsum([0, *map(len, keys)])[:-1]
    every = [first + one for first, one in zip(firsts, keys, strict=True)]
    return Reindexed(os.fspath(path), np.concatenate(every))


def _reindex(path: PathOrUrl, settings: ReplaceSettings) -> Reindexed:
    index = companion(path, ".idx")
    if is_s3(path):
        from recpack.storage.s3.pending import roll_forward

        roll_forward(S3Client.of(settings), parse_location(path))
    with (
        nullcontext() if is_s3(path) else settled(Path(path)),
        RecordReader(path, mapped=False, **vars(settings.part(Access))) as records,
    ):
        if not settings.overwrite and records.index() is not None:
            raise SinkError(f"{index} exists; replace it with --overwrite")
        keys, offsets = array("Q"), array("q")
        for record in records:
            keys.append(record.id)
            offsets.append(record.offset)
            if settings.watch is not None and len(keys) % 1024 == 0:
                guess = round(len(keys) * records.size / max(record.offset, 1))
                settings.watch(Progress("read", len(keys), guess, record.offset))
        if not keys:
            raise DataError(f"{os.fspath(path)}: no records, and no reader accepts an empty index")
        table = np.asarray(keys).view(np.int64)
        if table.min() < 0 or repeats(table):
            table = np.arange(len(table))
        lines = format_index(table.data, offsets)
        write_text(index, lines, S3Client.of(settings))
    return Reindexed(index, table)
