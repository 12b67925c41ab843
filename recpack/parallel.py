"""Ordered work on many cores, through joblib's backends."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from recpack import forked
from recpack.errors import ConfigError, RecpackError

FORK, DASK, RAY = "fork", "dask", "ray"

_INHERITED = ("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""What joblib's workers, which are used again by later runs, must have as it is now: credentials
above all."""

_POLL = 1.0
"""Seconds between two looks of a worker whether its coordinator is still there."""

_KINDS = ("loky", "threading", "multiprocessing", "sequential", DASK, RAY)

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


def _unpacked(call: bytes) -> Any:
    """Runs in a worker elsewhere. What it unpickles comes from its own coordinator."""
    function, task = pickle.loads(call)
    return function(task)


def _inherited() -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value)
        for name, value in sorted(os.environ.items())
        if name.upper().startswith(_INHERITED)
    )


def _begin(coordinator: int, environment: tuple[tuple[str, str], ...]) -> None:
    """A worker's first act. It must not outlive its coordinator, even one that was killed, by the
    minutes that it would wait for more to do."""

    def watch() -> None:
        while os.getppid() == coordinator:
            time.sleep(_POLL)
        os._exit(1)

    from joblib.externals.loky import process_executor

    os.environ.update(environment)
    threading.Thread(target=watch, daemon=True).start()
    # where psutil is installed, loky ends a worker that has grown by 300 MB, which a few segments
    # are, and the parts that it is still sending would be lost with it
    process_executor._USE_PSUTIL = False


def renew(backend: str | None) -> None:
    """Workers that are forked from now on have what this process has by now: whatever a worker
    would make for itself, each of them at the same time, is best made here before."""
    if backend == FORK:
        forked.kill()


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


def workers(jobs: int | None, tasks: int, backend: str | None = None) -> int:
    """How many work at the same time on so many tasks; ``jobs`` None means all cores, of the whole
    cluster where the workers are one."""
    if jobs is None and backend_kind(backend) in (DASK, RAY):
        jobs = _active()[0].effective_n_jobs(-1)
    elif jobs is None and backend is None and "joblib" in sys.modules:
        jobs = _active()[1]
    if jobs is None:
        jobs = forked.cores()
    elif jobs < 0:
        jobs = max(forked.cores() + 1 + jobs, 1)
    return max(min(jobs, tasks), 1)


def in_own_processes(backend: str | None, workers: int) -> bool:
    """Whether ``run`` with so many workers keeps to processes that have nothing else to do."""
    kind = backend_kind(backend)
    return kind == FORK or (workers > 1 and kind in ("loky", "multiprocessing"))


def outlast_tasks(backend: str | None) -> bool:
    """Whether workers live on between tasks, all of them in reach until the end."""
    return backend_kind(backend) in ("loky", FORK, "threading", "sequential")


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
    ``recpack.forked``. Ctrl-C, or leaving the iteration early, stops the workers: close it then
    and there, since later runs use the same workers.
    """
    running: Generator[Any, None, None]
    count = workers(jobs, count, backend) if count > 1 else 1
    if count == 1 and backend_kind(backend) not in (DASK, RAY):
        return (function(task) for task in tasks)
    if backend == FORK:
        if sys.platform != "linux":
            raise ConfigError("backend: workers are forked on Linux only; take loky")
        with interrupts_for_us_alone():
            pool = forked.pool(count)
        running = forked.run(pool, function, tasks)
    else:
        running = _through_joblib(function, tasks, count, backend)
    next(running)
    return running


def _through_joblib(
    function: Callable[[Task], Result], tasks: Iterable[Task], jobs: int, backend: str | None
) -> Generator[Result | None, None, None]:
    """None when the first tasks are under way, then the results."""
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    kind = backend_kind(backend)
    elsewhere = kind in (DASK, RAY)
    settings: dict[str, object] = {
        # of one job joblib thinks that this process does it
        "n_jobs": max(jobs, 2) if elsewhere else jobs,
        "backend": None if elsewhere else backend,
        "batch_size": 1,
        "max_nbytes": None,  # a segment's description travels as it is, not through a file
    }
    if kind == "loky":
        # workers that began with other arguments are replaced
        settings |= {"initializer": _begin, "initargs": (os.getpid(), _inherited())}
        # loky says so from the thread that hands on results, which would die of it where warnings
        # are errors, and we would wait for ever
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
    if elsewhere:
        # a description goes with its task: left to itself, dask keeps larger ones at some worker,
        # and they are lost when that one dies
        calls = (joblib.delayed(_unpacked)(pickle.dumps((function, task))) for task in tasks)
    else:
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
    try:
        yield None
        for result in results:  # noqa: UP028  (leaving early must reach us first)
            yield result
    except TerminatedWorkerError as error:
        raise RecpackError(forked.DIED) from error
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that tasks are cancelled, which is what we want
            results.close()
