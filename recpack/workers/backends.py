"""What the kinds of workers are like, and how many there are."""

from __future__ import annotations

import sys
from typing import Any

from recpack.workers import fork
from recpack.workers.settings import DASK, FORK, RAY

_KINDS = ("loky", "threading", "multiprocessing", "sequential", DASK, RAY)


def renew(backend: str | None) -> None:
    """Workers that are forked from now on have what this process has by now: whatever a worker
    would make for itself, each of them at the same time, is best made here before."""
    if backend == FORK:
        fork.kill()


def backend_kind(backend: str | None) -> str:
    """The name of a backend; of the one that ``joblib.parallel_config`` says when None."""
    if backend is not None or "joblib" not in sys.modules:  # nothing was configured then
        return backend or "loky"
    kind = type(_active()[0]).__name__
    return next((name for name in _KINDS if name in kind.lower()), kind)


def _active() -> tuple[Any, int | None]:
    """joblib's backend, and its number of jobs if somebody said one."""
    from joblib.parallel import get_active_backend

    backend, jobs = get_active_backend()
    return backend, jobs


def worker_count(jobs: int | None, tasks: int, backend: str | None = None) -> int:
    """How many work at the same time on so many tasks; ``jobs`` None means all cores, of the whole
    cluster where the workers are one."""
    if jobs is None and backend_kind(backend) in (DASK, RAY):
        jobs = _active()[0].effective_n_jobs(-1)
    elif jobs is None and backend is None and "joblib" in sys.modules:
        jobs = _active()[1]
    if jobs is None:
        jobs = fork.cores()
    elif jobs < 0:
        jobs = max(fork.cores() + 1 + jobs, 1)
    return max(min(jobs, tasks), 1)


def in_own_processes(backend: str | None, workers: int) -> bool:
    """Whether ``run`` with so many workers keeps to processes that have nothing else to do."""
    kind = backend_kind(backend)
    return kind == FORK or (workers > 1 and kind in ("loky", "multiprocessing"))


def outlast_tasks(backend: str | None) -> bool:
    """Whether workers live on between tasks, all of them in reach until the end."""
    return backend_kind(backend) in ("loky", FORK, "threading", "sequential")
