"""Properties of the kinds of workers, and the number of workers."""

from __future__ import annotations

import sys
from typing import Any

from recpack.workers import fork
from recpack.workers.settings import DASK, FORK, RAY

_KINDS = ("loky", "threading", "multiprocessing", "sequential", DASK, RAY)


def renew_workers(backend: str | None) -> None:
    """Replace the forked workers, so that new ones have everything this process has now. What every
    worker would be sent, or make for itself, is then here once, before the fork."""
    if backend == FORK:
        fork.kill()


def backend_kind(backend: str | None) -> str:
    """The name of a backend. None means the one of ``joblib.parallel_config``, else ``loky``."""
    if backend is not None or "joblib" not in sys.modules:  # without joblib nothing is configured
        return backend or "loky"
    kind = type(_active_backend()[0]).__name__
    return next((name for name in _KINDS if name in kind.lower()), kind)


def _active_backend() -> tuple[Any, int | None]:
    """joblib's current backend, and its number of jobs if one is configured."""
    from joblib.parallel import get_active_backend

    backend, jobs = get_active_backend()
    return backend, jobs


def worker_count(jobs: int | None, tasks: int, backend: str | None = None) -> int:
    """The number of workers for this number of tasks. ``jobs`` None means all cores, those of the
    whole cluster if there is one."""
    if jobs is None and backend_kind(backend) in (DASK, RAY):
        jobs = _active_backend()[0].effective_n_jobs(-1)
    elif jobs is None and backend is None and "joblib" in sys.modules:
        jobs = _active_backend()[1]
    if jobs is None:
        jobs = fork.cores()
    elif jobs < 0:
        jobs = max(fork.cores() + 1 + jobs, 1)
    return max(min(jobs, tasks), 1)


def inherit(backend: str | None, workers: int) -> bool:
    """Whether workers that begin now have what this process has: they are forked from it, or are
    its threads, or itself."""
    kind = backend_kind(backend)
    return kind in (FORK, "threading", "sequential") or (workers == 1 and kind not in (DASK, RAY))


def in_own_processes(backend: str | None, workers: int) -> bool:
    """Whether all work of ``run`` is done in processes that do nothing else."""
    kind = backend_kind(backend)
    return kind == FORK or (workers > 1 and kind in ("loky", "multiprocessing"))


def outlast_tasks(backend: str | None) -> bool:
    """Whether the same workers exist from the first task to the end, all of them reachable."""
    return backend_kind(backend) in ("loky", FORK, "threading", "sequential")
