"""Settings: the workers."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from recpack.display import did_you_mean
from recpack.settings import Settings, option

FORK, DASK, RAY = "fork", "dask", "ray"
BACKENDS = (FORK, DASK, RAY, "loky", "threading", "multiprocessing", "sequential")
"""Those of joblib last; a program can register others with joblib."""


class Workers(Settings):
    """The number and kind of workers."""

    title = "workers"

    jobs: int | None = option(
        default=None, help="number of workers (default: all cores)", metavar="N", short="-j"
    )
    backend: str | None = option(
        default=None,
        help="kind of workers: fork, dask, ray, or any backend of joblib",
        metavar="NAME",
        words=BACKENDS,
    )

    def faults(self) -> Iterator[str]:
        if self.jobs is not None and self.jobs < 1:
            yield f"jobs: must be at least 1 (got {self.jobs})"
        joblib = sys.modules.get("joblib.parallel")
        known = {*BACKENDS, *(joblib.BACKENDS if joblib else ())}
        if isinstance(self.backend, str) and self.backend not in known:
            near = did_you_mean(self.backend, BACKENDS)
            yield f"backend: must be one of {', '.join(BACKENDS)} (got {self.backend!r}){near}"


class Cluster(Workers):
    """Workers that can be on other machines."""

    title = "workers"

    scheduler: str | None = option(
        default=None, help="the cluster's scheduler, with --backend dask", metavar="tcp://HOST:PORT"
    )
    address: str | None = option(
        default=None,
        help="the cluster's address (or auto), with --backend ray",
        metavar="HOST:PORT",
    )

    def faults(self) -> Iterator[str]:
        if self.scheduler is not None and self.backend != DASK:
            yield "scheduler: only dask has one; add backend=dask"
        if self.address is not None and self.backend != RAY:
            yield "address: only ray has one; add backend=ray"
