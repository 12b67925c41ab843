"""A lost ``.idx``, made again from its ``.rec``."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from recpack.errors import DataError, SinkError
from recpack.outputs import write_text
from recpack.places import Place, companion
from recpack.progress import Progress
from recpack.reader import RecordReader
from recpack.recordio import format_index
from recpack.s3.access import Access
from recpack.sample import Int64


def rebuild_index(
    path: Place,
    *,
    overwrite: bool = False,
    endpoint_url: str | None = None,
    requester_pays: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[str, Int64]:
    """Walk a ``.rec`` and write its ``.idx``: where it is, and the keys, int64 (records,).

    Keys are the records' ids. Raises RecordError for a broken file, DataError for an empty one or
    ids that come twice (no reader takes the index then), SinkError when there is an index already.
    """
    place = companion(path, ".idx")
    with RecordReader(path, endpoint_url=endpoint_url, requester_pays=requester_pays) as records:
        if not overwrite and records.index() is not None:
            raise SinkError(f"{place} exists; replace it with --overwrite")
        keys: list[int] = []
        offsets: list[int] = []
        for record in records:
            keys.append(record.id)
            offsets.append(record.offset)
            if progress is not None and len(keys) % 1024 == 0:
                guess = round(len(keys) * records.size / max(record.offset, 1))
                progress(Progress("read", len(keys), guess, record.offset))
    if not keys:
        raise DataError(f"{os.fspath(path)}: there are no records, and no reader takes their index")
    table = np.array(keys, np.int64)
    unique, counts = np.unique(table, return_counts=True)
    if len(unique) < len(table):
        twice = unique[counts > 1][0]
        raise DataError(f"{os.fspath(path)}: id {twice} comes twice; pack it anew")
    lines = format_index(keys, offsets)
    write_text(place, lines, Access(endpoint_url, requester_pays))
    return place, table
