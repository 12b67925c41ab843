"""Settings: the workers."""

from __future__ import annotations

from collections.abc import Iterator

from recpack.settings import Settings, option

FORK, DASK, RAY = "fork", "dask", "ray"


class Workers(Settings):
    """The number and kind of workers."""

    title = "workers"

    jobs: int | None = option(
        default=None, help="number of workers (default: all cores)", metavar="N"
    )
    backend: str | None = option(
        default=None,
        help="kind of workers: fork, dask, ray, or any backend of joblib",
        metavar="NAME",
    )

    def faults(self) -> Iterator[str]:
        if self.jobs is not None and self.jobs < 1:
            yield f"jobs: must be at least 1 (got {self.jobs})"


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
            yield "scheduler: only dask has one; add backend dask"
        if self.address is not None and self.backend != RAY:
            yield "address: only ray has one; add backend ray"
