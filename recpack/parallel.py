"""Ordered work on many cores, through joblib's backends."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from recpack import forked
from recpack.errors import ConfigError, RecpackError

FORK = "fork"

_IDLE_SECONDS = 10
"""Idle processes end after this time, also those whose coordinator was killed."""

_INHERITED = ("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_environment: dict[str, str] | None = None
"""Of these variables what the processes that wait for work were started with."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def interrupts_for_us_alone() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal's group; the workers started here, and the
    threads that may start more, are deaf to it, and the coordinator stops them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_outdated_workers() -> None:
    """Processes that are used again keep the credentials that they were started with."""
    global _environment
    now = {name: value for name, value in os.environ.items() if name.upper().startswith(_INHERITED)}
    before, _environment = _environment, now
    if before not in (None, now):
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


def renew(backend: str | None) -> None:
    """Workers that are forked from now on have what this process has by now: whatever a worker
    would make for itself, each of them at the same time, is best made here before."""
    if backend == FORK:
        forked.kill()


def workers(jobs: int | None, tasks: int) -> int:
    """How many work at the same time on so many tasks; ``jobs`` None means all cores."""
    if jobs is None:
        jobs = forked.cores()
    return max(min(jobs, tasks), 1)


def in_own_processes(backend: str | None, workers: int) -> bool:
    """Whether ``run`` with so many workers keeps to processes that have nothing else to do."""
    return backend == FORK or (workers > 1 and backend in (None, "loky", "multiprocessing"))


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

    ``jobs`` None means all cores. One job, or one task, runs in this process: a pool of processes
    costs more than it saves. ``backend`` is any joblib backend, ``loky`` (processes) when None, or
    ``fork``: see ``recpack.forked``. Leaving the iteration early, or Ctrl-C, stops the workers.
    """
    running: Generator[Any, None, None]
    if count < 2 or jobs == 1:
        return (function(task) for task in tasks)
    if backend == FORK:
        if sys.platform != "linux":
            raise ConfigError("backend: workers are forked on Linux only; take loky")
        with interrupts_for_us_alone():
            pool = forked.pool(workers(jobs, count))
        running = forked.run(pool, function, tasks)
    else:
        running = _through_joblib(function, tasks, workers(jobs, count), backend)
    next(running)
    return running


def _through_joblib(
    function: Callable[[Task], Result], tasks: Iterable[Task], jobs: int, backend: str | None
) -> Generator[Result | None, None, None]:
    """None when the first tasks are under way, then the results."""
    import joblib
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    settings: dict[str, object] = {
        "n_jobs": jobs,
        "backend": backend,
        "batch_size": 1,
        "max_nbytes": None,  # a segment's description travels as it is, not through a file
    }
    if backend in (None, "loky"):
        settings["idle_worker_timeout"] = _IDLE_SECONDS
        _end_outdated_workers()
    calls = (joblib.delayed(function)(task) for task in tasks)
    try:
        pool = joblib.Parallel(return_as="generator", **settings)
    except ValueError as error:
        if "return_as" not in str(error):
            raise ConfigError(f"backend: {error}") from error
        # some backends give their results all at once
        yield None
        yield from joblib.Parallel(**settings)(calls)
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # started later, it would leave the mask open
    with interrupts_for_us_alone():
        results = pool(calls)
    finished = False
    try:
        yield None
        for result in results:  # noqa: UP028  (leaving early must reach us first)
            yield result
        finished = True
    except TerminatedWorkerError as error:
        raise RecpackError(forked.DIED) from error
    finally:
        if not finished:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that tasks are cancelled, which is what we want
                results.close()
            if backend in (None, "loky"):
                get_reusable_executor().shutdown(wait=True, kill_workers=True)
