"""A finished ``.rec``, or a set of shards, found with what lies beside it: what a new one is made
of."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from recpack.columns import Int64
from recpack.errors import DataError, RecordError
from recpack.formats.manifest import Manifest
from recpack.formats.recordio import is_plausible
from recpack.records.reader import RecordReader
from recpack.records.record_tree import RecordTree
from recpack.storage.paths import PathOrUrl
from recpack.storage.s3.access import Access
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.ahead import READS
from recpack.storage.trees.archive import Archive, find_archive


@dataclass(frozen=True)
class RecordSource:
    """``path``: the ``.rec``, or the name of the set · ``files`` in order, and the ``paths`` that
    messages name them by · ``indexes``: the offsets of each file's records, ascending; None for all
    where one has no index that can be right."""

    path: str
    paths: Sequence[str]
    files: Sequence[Archive]
    manifest: Manifest | None
    indexes: Sequence[Int64] | None

    @property
    def tree(self) -> RecordTree:
        """Its images."""
        return RecordTree.of_files(self.files)


def open_source(path: PathOrUrl, access: Access) -> RecordSource:
    """Find a ``.rec``, or a set of shards. Raises RecordError for a file that can't be opened,
    DataError for one without a byte, and when the manifest belongs to another one."""
    with RecordReader(path, mapped=False, **vars(access.part(Access))) as reader:
        s3 = S3Client.of(access)
        try:
            with ThreadPoolExecutor(READS) as pool:
                files = list(pool.map(lambda one: find_archive(one, s3), reader.paths))
        except OSError as error:
            raise RecordError(f"{reader.path}: {error.strerror or error}") from error
        manifest = reader.manifest()
        indexes = _indexes(reader, [file.size for file in files])
        reader._demand_current()
    size = sum(file.size for file in files)
    said = manifest.rec.bytes if manifest is not None else None
    if said not in (None, size):
        raise DataError(
            f"{reader.path}: it has {size:,} bytes, its manifest says {said:,}; it is truncated or "
            "another file: pack again, or move the manifest away"
        )
    if not size:
        raise DataError(f"{reader.path}: it is empty; pack it again")
    return RecordSource(reader.path, reader.paths, files, manifest, indexes)


def _indexes(reader: RecordReader, sizes: Sequence[int]) -> Sequence[Int64] | None:
    try:
        found = reader.index()
    except RecordError:  # an index only says where to begin
        return None
    if found is None:
        return None
    parts = [np.sort(part) for part in np.split(found[1], reader.starts[1:-1])]
    right = all(is_plausible(part, size) for part, size in zip(parts, sizes, strict=True))
    return parts if right else None
