"""Samples for workers: those that are forked inherit them, others are sent their parts."""

from __future__ import annotations

from typing import NamedTuple

from recpack.data.samples import Samples
from recpack.workers.backends import inherit, renew_workers
from recpack.workers.fork import Shared


class Span(NamedTuple):
    """Samples ``start`` to ``stop`` of a table that the workers inherit."""

    table: Shared[Samples]
    start: int
    stop: int


class Table:
    """Samples that the workers get part by part. The workers must begin after it is made."""

    def __init__(self, samples: Samples, backend: str | None, workers: int) -> None:
        self._samples = Shared(samples)
        self._inherited = inherit(backend, workers)
        renew_workers(backend)

    def part(self, start: int, stop: int) -> Samples | Span:
        """What a worker needs to have samples ``start`` to ``stop``: see ``samples_of``."""
        if self._inherited:
            return Span(self._samples, start, stop)
        return self._samples.value.slice(start, stop).for_worker()


def samples_of(part: Samples | Span) -> Samples:
    """The samples of a part of a table; for a worker."""
    return part if isinstance(part, Samples) else part.table.value.slice(part.start, part.stop)
