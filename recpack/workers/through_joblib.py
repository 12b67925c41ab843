"""Work through joblib: its processes (loky), its threads, and clusters."""

from __future__ import annotations

import os
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from recpack.errors import ConfigError, RecpackError
from recpack.workers import fork
from recpack.workers.backends import backend_kind
from recpack.workers.settings import DASK, RAY
from recpack.workers.signals import block_interrupts

_INHERITED = ("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""What joblib's workers, which are used again by later runs, must have as it is now: credentials
above all."""

_POLL = 1.0
"""Seconds between two looks of a worker whether its coordinator is still there."""

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_through_joblib(
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
    with block_interrupts():
        results = pool(calls)
    try:
        yield None
        for result in results:  # noqa: UP028  (leaving early must reach us first)
            yield result
    except TerminatedWorkerError as error:
        raise RecpackError(fork.DIED) from error
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that tasks are cancelled, which is what we want
            results.close()


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
