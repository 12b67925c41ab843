"""Workers that are copies of this process (``fork``): they are there at once, with all that is
imported, where new processes take most of a second.

Only for a process of our own, the console script: other threads, which a library may find around
it, do not survive a fork, and what they hold stays locked. The workers end with their coordinator,
even if that is killed.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

from recpack.errors import RecpackError

Task = TypeVar("Task")
Result = TypeVar("Result")

DIED = (
    "a worker process died (killed, or out of memory); try fewer --jobs or a smaller --segment-size"
)

_PR_SET_PDEATHSIG = 1
_AHEAD = 16
"""Tasks submitted for each worker, so that none waits for us."""

_QUOTA = Path("/sys/fs/cgroup/cpu.max")

_pools: dict[int, ProcessPoolExecutor] = {}


def cores() -> int:
    """The processor cores that this process may use: its affinity and its container's quota. (As
    ``joblib.cpu_count`` says, whose import takes longer than a small data set.)"""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = map(int, _QUOTA.read_text().split())  # "max" is no number
        count = min(count, -(-quota // period))
    return max(count, 1)


def pool(size: int) -> ProcessPoolExecutor:
    """The workers of this process: those of the last call, if they are as many."""
    if size not in _pools:
        for other in list(_pools):
            _pools.pop(other).shutdown()
        context = multiprocessing.get_context("fork")
        _pools[size] = ProcessPoolExecutor(size, context, _begin, (os.getpid(),))
        # all are forked by the first task, here, where the caller holds what they inherit
        _pools[size].submit(os.getpid).result()
    return _pools[size]


def run(
    executor: ProcessPoolExecutor, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Generator[Result | None, None, None]:
    """None when the first tasks are under way, then results in their order; see
    ``parallel.run``."""
    window = _AHEAD * next(size for size, pool in _pools.items() if pool is executor)
    waiting: deque[Future[Result]] = deque()
    finished = False
    try:
        tasks = iter(tasks)
        waiting.extend(executor.submit(function, task) for task in islice(tasks, window))
        yield None
        for task in tasks:
            yield waiting.popleft().result()
            waiting.append(executor.submit(function, task))
        while waiting:
            yield waiting.popleft().result()
        finished = True
    except BrokenProcessPool as error:
        raise RecpackError(DIED) from error
    finally:
        if not finished:
            _kill(executor)


def kill() -> None:
    """End all workers at once, also in the middle of their work."""
    for executor in list(_pools.values()):
        _kill(executor)


def _kill(executor: ProcessPoolExecutor) -> None:
    for size in [size for size, pool in _pools.items() if pool is executor]:
        del _pools[size]
    for process in list((executor._processes or {}).values()):
        process.kill()
    executor.shutdown(cancel_futures=True)


def _begin(coordinator: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != coordinator:  # it ended before we could ask to be told
        os._exit(1)
