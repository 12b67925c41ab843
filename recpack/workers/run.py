"""Runs tasks on many cores, in order: one function for all kinds of workers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from recpack.errors import ConfigError
from recpack.workers import fork
from recpack.workers.backends import backend_kind, worker_count
from recpack.workers.settings import DASK, FORK, RAY
from recpack.workers.signals import block_interrupts

Task = TypeVar("Task")
Result = TypeVar("Result")


def run(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    count: int,
    *,
    jobs: int | None,
    backend: str | None = None,
) -> Generator[Result, None, None]:
    """Yield the results of ``count`` tasks in order. Tasks also start in order, and are taken from
    the iterable when they are needed. The first tasks have started when this returns.

    ``jobs`` None means all cores. One job, or one task, runs in this process, except on a cluster:
    a pool of processes would cost more than it saves. ``backend`` is ``fork`` (see
    ``workers.fork``) or any joblib backend; None means the one of ``joblib.parallel_config``, else
    ``loky`` (processes). Where the system lets no process be forked, a warning says so, and this
    process does all. Ctrl-C, or closing the generator early, stops the workers. Close it at
    once, because later runs use the same workers.
    """
    results: Generator[Any, None, None]
    count = worker_count(jobs, count, backend) if count > 1 else 1
    if count == 1 and backend_kind(backend) not in (DASK, RAY):
        return (function(task) for task in tasks)
    if backend == FORK:
        if sys.platform != "linux":
            raise ConfigError("backend: fork works on Linux only; use loky")
        try:
            with block_interrupts():
                pool = fork.pool(count)
        except OSError as error:
            warnings.warn(
                f"no worker can start, so one process does all ({error.strerror})", stacklevel=1
            )
            return (function(task) for task in tasks)
        results = fork.run(pool, function, tasks)
    else:
        from recpack.workers.through_joblib import run_through_joblib  # joblib is slow to import

        results = run_through_joblib(function, tasks, count, backend)
    next(results)
    return results
