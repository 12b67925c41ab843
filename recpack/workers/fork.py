"""Workers that are copies of this process (``fork``): they are there at once, with all that is
imported, where new processes take most of a second.

Only for a process of our own, the console script: other threads, which a library may find around
it, do not survive a fork, and what they hold stays locked. The workers end with their coordinator,
even if that is killed.

All workers take their tasks from one pipe, so that the next task is done by whoever is free; a
byte in a second pipe goes round, and who holds it may read. Results come back on a pipe for each
worker. The standard library's pool would do, but starting it takes 30 ms, and its threads take
time from the coordinator.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import select
import signal
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any, NoReturn, TypeVar

from recpack.errors import RecpackError

Task = TypeVar("Task")
Result = TypeVar("Result")

DIED = (
    "a worker process died (killed, or out of memory); try fewer --jobs or a smaller --segment-size"
)

_PR_SET_PDEATHSIG = 1
_F_SETPIPE_SZ = 1031
_PIPE = 1 << 20
_AHEAD = 16
"""Tasks on their way for each worker, so that none waits for us."""
_HEAD = struct.Struct("<QQQ")
"""Before each task: its number, the bytes of the function, those of the task; before each result:
the task's number, 1 if it is an error, the bytes."""

_QUOTA = "/sys/fs/cgroup/cpu.max"


def cores() -> int:
    """The processor cores that this process may use: its affinity and its container's quota. (As
    ``joblib.cpu_count`` says, whose import takes longer than a small data set.)"""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    with suppress(OSError, ValueError), open(_QUOTA) as file:
        quota, period = map(int, file.read().split())  # "max" is no number
        count = min(count, -(-quota // period))
    return max(count, 1)


class Pool:
    """Workers that wait for tasks. They are forked here, where the caller holds what they inherit.

    Memory: what is on its way, ``_AHEAD`` tasks and results for each worker.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        tasks, self._tasks = _pipe()
        token_in, token_out = os.pipe()
        os.write(token_out, b"!")
        self._kept = [tasks, token_in, token_out]
        self.workers: dict[int, int] = {}
        """The result pipe of each worker, by its process."""
        coordinator = os.getpid()
        for _ in range(size):
            results_in, results_out = _pipe()
            process = os.fork()
            if not process:
                for other in (self._tasks, results_in, *self.workers.values()):
                    os.close(other)
                _work(coordinator, tasks, (token_in, token_out), results_out)
            os.close(results_out)
            self.workers[process] = results_in
        os.set_blocking(self._tasks, False)

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Generator[Result | None, None, None]:
        """None when the first tasks are under way, then the results in the order of the tasks,
        which are taken as they are needed. Raises what a worker raised, when it is its task's turn,
        and RecpackError where one died."""
        call = pickle.dumps(function)
        taken = wanted = 0
        ended: dict[int, tuple[bool, Any]] = {}
        buffers = {pipe: bytearray() for pipe in self.workers.values()}
        waiting: deque[memoryview] = deque()
        tasks = iter(tasks)
        poll = select.poll()
        for pipe in buffers:
            poll.register(pipe, select.POLLIN)
        while True:
            for task in islice(tasks, _AHEAD * self.size + wanted - taken):
                data = pickle.dumps(task)
                head = _HEAD.pack(taken, len(call), len(data)) + call
                waiting += (memoryview(head), memoryview(data))
                taken += 1
            self._send(waiting)
            if not wanted:
                yield None
            if wanted == taken:
                return
            while wanted not in ended:
                poll.register(self._tasks, select.POLLOUT if waiting else 0)
                for pipe, _ in poll.poll():
                    if pipe == self._tasks:
                        self._send(waiting)
                    elif data := os.read(pipe, _PIPE):
                        buffers[pipe] += data
                        ended |= _results(buffers[pipe])
                    else:
                        raise RecpackError(DIED)
            failed, result = ended.pop(wanted)
            wanted += 1
            if failed:
                raise result
            yield result

    def _send(self, waiting: deque[memoryview]) -> None:
        """As much as the pipe takes now."""
        with suppress(BlockingIOError):
            while waiting:
                sent = os.write(self._tasks, waiting[0])
                waiting[0] = waiting[0][sent:]
                if not waiting[0]:
                    waiting.popleft()

    def kill(self) -> None:
        """End all workers at once, also in the middle of their work; may be called twice."""
        for process in self.workers:
            os.kill(process, signal.SIGKILL)
        for process, pipe in self.workers.items():
            with suppress(ChildProcessError):
                os.waitpid(process, 0)
            os.close(pipe)
        for descriptor in (*self._kept, self._tasks) if self.workers else ():
            os.close(descriptor)
        self.workers = {}


_pools: dict[int, Pool] = {}


def pool(size: int) -> Pool:
    """The workers of this process: those of the last call, if they are as many."""
    if size not in _pools:
        kill()
        _pools[size] = Pool(size)
    return _pools[size]


def run(
    workers: Pool, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Generator[Result | None, None, None]:
    """None when the first tasks are under way, then results in their order; see
    ``workers.run``."""
    finished = False
    try:
        yield from workers.run(function, tasks)
        finished = True
    finally:
        if not finished:
            _discard(workers)


def kill() -> None:
    """End all workers at once, also in the middle of their work."""
    for workers in list(_pools.values()):
        _discard(workers)


def _discard(workers: Pool) -> None:
    if _pools.get(workers.size) is workers:
        del _pools[workers.size]
    workers.kill()


class _RemoteError(Exception):
    """The cause of an error that a worker raised: where it did."""


def _work(coordinator: int, tasks: int, token: tuple[int, int], results: int) -> NoReturn:
    """A worker's life; it ends when it is killed, or when the coordinator has gone."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        call = b""
        function: Callable[[Any], Any] = len
        while os.getppid() == coordinator and os.read(token[0], 1):
            try:
                number, size, length = _HEAD.unpack(_read(tasks, _HEAD.size))
                new, data = _read(tasks, size), _read(tasks, length)
            finally:
                os.write(token[1], b"!")
            failed = 0
            try:
                if new != call:
                    call, function = new, pickle.loads(new)
                answer = pickle.dumps(function(pickle.loads(data)))
            except BaseException as error:
                failed, answer = 1, _pickled(error)
            _write(results, _HEAD.pack(number, failed, len(answer)) + answer)
    finally:
        os._exit(1)


def _pickled(error: BaseException) -> bytes:
    import traceback

    text = traceback.format_exc()
    try:
        return pickle.dumps((error, text))
    except Exception:  # anything may be in an error
        return pickle.dumps((RecpackError(f"{type(error).__name__}: {error}"), text))


def _results(buffer: bytearray) -> dict[int, tuple[bool, Any]]:
    """The whole results in a buffer, by task, which are taken out of it: whether it is an error,
    and what it is."""
    found = {}
    while len(buffer) >= _HEAD.size:
        number, failed, length = _HEAD.unpack_from(buffer)
        stop = _HEAD.size + length
        if len(buffer) < stop:
            break
        with memoryview(buffer) as view:
            result = pickle.loads(view[_HEAD.size : stop])
        del buffer[:stop]
        if failed:
            result, text = result
            result.__cause__ = _RemoteError(text)
        found[number] = bool(failed), result
    return found


def _pipe() -> tuple[int, int]:
    import fcntl

    pipe = os.pipe()
    with suppress(OSError):  # a limit of the system's; a smaller one does too
        fcntl.fcntl(pipe[1], _F_SETPIPE_SZ, _PIPE)
    return pipe


def _read(pipe: int, length: int) -> bytes:
    parts = []
    while length:
        part = os.read(pipe, length)
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]
