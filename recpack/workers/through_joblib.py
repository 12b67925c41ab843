"""Runs tasks through joblib: its processes (loky), its threads, and clusters."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from recpack.errors import ConfigError, RecpackError
from recpack.workers import fork
from recpack.workers.backends import backend_kind
from recpack.workers.settings import DASK, RAY
from recpack.workers.signals import block_interrupts

_VARIABLES = ("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables whose current values joblib's workers need, mainly credentials. (Later runs use the
same workers again.)"""

_POLL = 1.0
"""Seconds between a worker's checks that its coordinator still exists."""

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_through_joblib(
    function: Callable[[Task], Result], tasks: Iterable[Task], jobs: int, backend: str | None
) -> Generator[Result | None, None, None]:
    """Yield None once the first tasks have started, then the results in order."""
    import joblib
    from joblib.externals.loky.backend import utils
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    kind = backend_kind(backend)
    on_cluster = kind in (DASK, RAY)
    settings: dict[str, object] = {
        # with one job joblib would run the tasks in this process
        "n_jobs": max(jobs, 2) if on_cluster else jobs,
        "backend": None if on_cluster else backend,
        "batch_size": 1,
        "max_nbytes": None,  # send a segment's description directly, not through a file
    }
    if kind == "loky":
        # joblib replaces workers that started with other arguments
        settings |= {"initializer": _start_worker, "initargs": (os.getpid(), _environment())}
        # loky warns in the thread that passes on results; where warnings are errors, that thread
        # would die and we would wait forever
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        if not shutil.which("pgrep"):
            utils._posix_recursive_kill = _kill_tree
    if on_cluster:
        # pickled, a description travels with its task: dask would store larger ones on one worker,
        # and they would be lost with it
        calls = (joblib.delayed(_call_pickled)(pickle.dumps((function, task))) for task in tasks)
    else:
        calls = (joblib.delayed(function)(task) for task in tasks)
    try:
        pool = joblib.Parallel(return_as="generator", **settings)
    except ValueError as error:
        if "return_as" not in str(error):
            raise ConfigError(f"backend: {error}") from error
        # some backends return all results at once
        yield None
        yield from joblib.Parallel(**settings)(calls)
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # if it started later, it would unblock the signal
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
            warnings.simplefilter("ignore")  # it warns that tasks are cancelled, as intended
            results.close()


def _kill_tree(pid: int) -> None:
    """As loky does where there is psutil or pgrep. Images of containers have neither; there loky's
    thread would die, and its workers would not."""
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has ended
            for child in thread.read_text().split():
                _kill_tree(int(child))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _call_pickled(call: bytes) -> Any:
    """Runs in a worker of a cluster. The pickle comes from its own coordinator."""
    function, task = pickle.loads(call)
    return function(task)


def _environment() -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value)
        for name, value in sorted(os.environ.items())
        if name.upper().startswith(_VARIABLES)
    )


def _start_worker(coordinator: int, environment: tuple[tuple[str, str], ...]) -> None:
    """Runs first in each worker. It ends the worker when the coordinator ends, even by a kill; else
    the worker would wait minutes for more tasks."""

    def watch() -> None:
        while os.getppid() == coordinator:
            time.sleep(_POLL)
        os._exit(1)

    from joblib.externals.loky import process_executor

    os.environ.update(environment)
    threading.Thread(target=watch, daemon=True).start()
    # with psutil, loky ends a worker that has grown by 300 MB, which a few segments reach; parts
    # that it still sends would be lost
    process_executor._USE_PSUTIL = False
