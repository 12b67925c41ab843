"""Ordered work on many cores: one function for all kinds of workers."""

from __future__ import annotations

import sys
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
    """Results in the order of the ``count`` tasks, which begin in their order too and are made as
    they are needed. The first ones are under way when this returns.

    ``jobs`` None means all cores. One job, or one task, runs in this process, unless a cluster is
    to do it: a pool of processes costs more than it saves. ``backend`` is any joblib backend, when
    None the one that ``joblib.parallel_config`` says, else ``loky`` (processes), or ``fork``: see
    ``workers.fork``. Ctrl-C, or leaving the iteration early, stops the workers: close it then and
    there, since later runs use the same workers.
    """
    running: Generator[Any, None, None]
    count = worker_count(jobs, count, backend) if count > 1 else 1
    if count == 1 and backend_kind(backend) not in (DASK, RAY):
        return (function(task) for task in tasks)
    if backend == FORK:
        if sys.platform != "linux":
            raise ConfigError("backend: workers are forked on Linux only; take loky")
        with block_interrupts():
            pool = fork.pool(count)
        running = fork.run(pool, function, tasks)
    else:
        from recpack.workers.through_joblib import run_through_joblib  # joblib takes its time

        running = run_through_joblib(function, tasks, count, backend)
    next(running)
    return running
