"""Find images with equal bytes: compare sizes first, then digests where sizes are equal."""

from __future__ import annotations

import hashlib
from contextlib import closing
from itertools import chain

import numpy as np

from recpack.columns import Int64
from recpack.data.samples import Samples
from recpack.storage.trees.base import Tree
from recpack.workers.run import run

_TASK = 256
_BLOCK = 1 << 20


def duplicate_groups(
    samples: Samples, *, jobs: int | None = None, backend: str | None = None
) -> Int64:
    """A group number for each sample as stored, int64 (n,): equal for images with equal bytes,
    different for all others. Reads only files that share their size with another.

    An image that can't be read any more is a group of its own.
    """
    _, inverse, counts = np.unique(samples.image_bytes, return_inverse=True, return_counts=True)
    candidates = np.flatnonzero(counts[inverse] > 1)
    chunks = (
        [samples.paths[i] for i in candidates[start : start + _TASK].tolist()]
        for start in range(0, len(candidates), _TASK)
    )
    tasks = ((samples.root.only(paths), paths) for paths in chunks)
    digests = run(
        _digests,
        tasks,
        -(-len(candidates) // _TASK),
        jobs=jobs,
        backend=backend,
    )
    groups = np.arange(len(samples))
    first: dict[bytes, int] = {}
    with closing(digests):
        for row, digest in zip(candidates.tolist(), chain.from_iterable(digests), strict=True):
            if digest:
                groups[row] = first.setdefault(digest, row)
    return groups


def _digests(task: tuple[Tree, list[str]]) -> list[bytes]:
    """128 bits of each file; empty for one that can't be read."""
    root, paths = task
    digests = []
    with root.folder(".", proven=True) as folder:
        for opener in filter(None, folder.in_order(paths)):
            digest = hashlib.blake2b(digest_size=16)
            try:
                with opener() as file:
                    for start in range(0, file.size, _BLOCK):
                        digest.update(file.read(start, _BLOCK))
                digests.append(digest.digest())
            except OSError:
                digests.append(b"")
    return digests
