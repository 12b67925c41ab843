"""Ordered work on many cores, through joblib's backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from recpack.errors import ConfigError, RecpackError

Task = TypeVar("Task")
Result = TypeVar("Result")


def run(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    jobs: int | None,
    backend: str | None = None,
) -> Iterator[Result]:
    """Results in the order of the tasks; tasks begin in their order too.

    ``jobs`` None means all cores. One job, or one task, runs in this process: a pool of processes
    costs more than it saves. ``backend`` is any joblib backend, ``loky`` (processes) when None.
    Leaving the iteration early, or Ctrl-C, stops the workers.
    """
    if len(tasks) < 2 or jobs == 1:
        yield from map(function, tasks)
        return
    import joblib
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        workers = joblib.Parallel(
            n_jobs=min(jobs or joblib.cpu_count(), len(tasks)),
            backend=backend,
            return_as="generator",
            batch_size=1,
            max_nbytes=None,  # a segment's description travels as it is, not through a file
        )
    except ValueError as error:
        raise ConfigError(f"backend: {error}") from error
    results = workers(joblib.delayed(function)(task) for task in tasks)
    finished = False
    try:
        yield from results
        finished = True
    except TerminatedWorkerError as error:
        raise RecpackError(
            "a worker process died (killed, or out of memory); try fewer --jobs or a smaller "
            "--segment-size"
        ) from error
    finally:
        if not finished:
            results.close()
            if backend in (None, "loky"):
                get_reusable_executor().shutdown(wait=True, kill_workers=True)
