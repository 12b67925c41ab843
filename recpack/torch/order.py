"""Which samples a reader gets in an epoch, and in which order. No files are opened here.

The samples of an epoch stand in one sequence: the files in order or, shuffled, blocks of them in an
order drawn from (seed, epoch). Each rank has a range of this sequence, each of its workers a range
of that, so all have each sample once, whatever the numbers of files, ranks and workers. A worker
reads its range in order, through a buffer that mixes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from recpack.columns import Int64

_BLOCK_BYTES = 16 << 20
"""Bytes of a block: so many are read as fast in any place as in order."""


class Share(NamedTuple):
    """A reader among all: ``worker`` of the ``workers`` of ``rank``."""

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    workers: int = 1


def split(count: int, parts: int, part: int) -> range:
    """The ``part``-th of so many ranges of 0 to ``count``, as long as the others or one longer; the
    longer ones come first."""
    each, more = divmod(count, parts)
    start = part * each + min(part, more)
    return range(start, start + each + (part < more))


def range_of_rank(count: int, share: Share, tail: Literal["keep", "drop", "pad"]) -> range:
    """The range of a rank in the sequence of ``count`` samples; behind its end it begins again."""
    if tail == "keep":
        return split(count, share.world_size, share.rank)
    each = count // share.world_size if tail == "drop" else -(-count // share.world_size)
    return range(share.rank * each, (share.rank + 1) * each)


def range_of_worker(count: int, share: Share, tail: Literal["keep", "drop", "pad"]) -> range:
    """The range of a worker within that of its rank."""
    ours = range_of_rank(count, share, tail)
    part = split(len(ours), share.workers, share.worker)
    return ours[part.start : part.stop]


class Blocks:
    """The sequence of an epoch, as blocks of samples that lie in a file one behind the other.

    ``counts`` and ``sizes``: samples and bytes of each file.
    """

    def __init__(
        self, counts: Sequence[int], sizes: Sequence[int], seed: int, epoch: int, *, shuffle: bool
    ) -> None:
        starts, stops, first = [0], [0], 0
        for count, size in zip(counts, sizes, strict=True):
            parts = min(max(-(-size // _BLOCK_BYTES), 1) if shuffle else 1, count)
            for part in range(parts):
                block = split(count, parts, part)
                starts.append(first + block.start)
                stops.append(first + block.stop)
            first += count
        order = np.arange(1, len(starts))
        if shuffle:
            np.random.RandomState([seed, epoch]).shuffle(order)
        self._stops = np.array(stops)[order]
        self._ends = np.cumsum(self._stops - np.array(starts)[order])

    def __getitem__(self, part: range) -> Int64:
        """The positions of these samples, int64, shape (samples,)."""
        count = int(self._ends[-1]) if len(self._ends) else 0
        found = [np.zeros(0, np.int64)]
        at = part.start
        while at < part.stop:
            number = int(np.searchsorted(self._ends, at % count, "right"))
            # the block ends as far behind this sample as its end in the sequence
            start = int(self._stops[number] - self._ends[number]) + at % count
            stop = min(int(self._stops[number]), start + part.stop - at)
            found.append(np.arange(start, stop))
            at += stop - start
        return np.concatenate(found)


def mix(count: int, buffer_size: int, key: Sequence[int]) -> Int64:
    """The order in which a buffer gives out ``count`` samples that come in order: a random one of
    those in it, whose place the next that comes takes. int64, shape (count,); no sample is given
    out more than ``buffer_size - 1`` places early. ``key`` are the numbers it depends on."""
    random = np.random.RandomState(list(key))
    slots = list(range(min(buffer_size, count)))
    order = []
    places = random.randint(0, max(len(slots), 1), count - len(slots)).tolist()
    for new, place in enumerate(places, len(slots)):
        order.append(slots[place])
        slots[place] = new
    random.shuffle(slots)
    return np.array(order + slots, np.int64)
