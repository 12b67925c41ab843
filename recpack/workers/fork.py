"""Workers that are copies of this process (``fork``). They exist at once, with all imports; new
processes take most of a second.

Only the console script uses them. In a library's process there can be other threads; threads do not
survive a fork, and their locks stay locked. The workers end with their coordinator, even when it is
killed.

All workers read their tasks from one pipe, so the next free worker takes the next task. A second
pipe holds one byte, the token: only the worker that has read it can read a task. Each worker sends
its results through a pipe of its own. The standard library's pool would work too, but it takes 30
ms to start, and its threads take time from the coordinator.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import pickle
import select
import signal
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from itertools import count, islice
from typing import Any, Generic, NoReturn, TypeVar
from weakref import WeakValueDictionary

from recpack.errors import RecpackError

Task = TypeVar("Task")
Result = TypeVar("Result")
Value = TypeVar("Value")

DIED = (
    "a worker process died (killed, or out of memory); try fewer --jobs or a smaller --segment-size"
)

_PR_SET_PDEATHSIG = 1
_F_SETPIPE_SZ = 1031
_PIPE = 1 << 20
_AHEAD = 16
"""Tasks in the pipe per worker, so that no worker waits for the coordinator."""
_SPARE = 8
"""Files that this process opens at once besides its pipes, at most."""
_HEAD = struct.Struct("<QQQ")
"""Before each task: its number, the size of the pickled function, the size of the pickled task.
Before each result: the task's number, 1 for an error else 0, the size of the pickled result."""

_QUOTA = "/sys/fs/cgroup/cpu.max"


class Shared(Generic[Value]):
    """A value that is not sent to workers, because those that are forked later inherit it."""

    def __init__(self, value: Value) -> None:
        self.value = value
        self._number = next(_numbers)
        _shared[self._number] = self

    def __reduce__(self) -> tuple[Any, ...]:
        return _inherited, (self._number,)


_numbers = count()
_shared: WeakValueDictionary[int, Shared[Any]] = WeakValueDictionary()


def _inherited(number: int) -> Shared[Any]:
    return _shared[number]


def cores() -> int:
    """The processor cores that this process can use, from its affinity and its container's quota.
    (The same as ``joblib.cpu_count``, whose import takes longer than a small data set.)"""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    with suppress(OSError, ValueError), open(_QUOTA) as file:
        quota, period = map(int, file.read().split())  # "max" raises ValueError: no quota
        count = min(count, -(-quota // period))
    return max(count, 1)


class Pool:
    """Workers that wait for tasks. The constructor forks them; they inherit this process's state.
    There are fewer than ``size`` where the system allows no more; OSError when it allows none.

    Memory: ``_AHEAD`` tasks and results per worker.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.workers: dict[int, int] = {}
        """Process id → the worker's result pipe."""
        self._ends: list[int] = []
        try:
            self._fork(size)
            for spare in [os.dup(self._tasks) for _ in range(_SPARE)]:
                os.close(spare)
        except OSError as error:
            if not self.workers or error.errno == errno.EMFILE:
                self.kill()
                raise
        os.set_blocking(self._tasks, False)

    def _fork(self, size: int) -> None:
        tasks, self._tasks = self._pipe()
        token_in, token_out = self._pipe()
        os.write(token_out, b"!")
        coordinator = os.getpid()
        for _ in range(size):
            results_in, results_out = _pipe()
            try:
                process = os.fork()
            except OSError:
                os.close(results_in)
                os.close(results_out)
                raise
            if not process:
                for other in (self._tasks, results_in, *self.workers.values()):
                    os.close(other)
                _work(coordinator, tasks, (token_in, token_out), results_out)
            os.close(results_out)
            self.workers[process] = results_in

    def _pipe(self) -> tuple[int, int]:
        ends = _pipe()
        self._ends += ends
        return ends

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Generator[Result | None, None, None]:
        """Yield None once the first tasks are sent, then the results in the order of the tasks.
        Tasks are taken from the iterable when they are needed. Raises a task's error when its
        result is due, and RecpackError when a worker died."""
        call = pickle.dumps(function)
        sent = due = 0
        finished: dict[int, tuple[bool, Any]] = {}
        buffers = {pipe: bytearray() for pipe in self.workers.values()}
        waiting: deque[memoryview] = deque()
        room = memoryview(bytearray(_PIPE))  # new memory for each read would be slow
        tasks = iter(tasks)
        poll = select.poll()
        for pipe in buffers:
            poll.register(pipe, select.POLLIN)
        while True:
            for task in islice(tasks, _AHEAD * self.size + due - sent):
                data = pickle.dumps(task)
                head = _HEAD.pack(sent, len(call), len(data)) + call
                waiting += (memoryview(head), memoryview(data))
                sent += 1
                self._send(waiting)  # at once: the next task can take a while to make
            if not due:
                yield None
            if due == sent:
                return
            while due not in finished:
                poll.register(self._tasks, select.POLLOUT if waiting else 0)
                for pipe, _ in poll.poll():
                    if pipe == self._tasks:
                        self._send(waiting)
                    elif length := os.readv(pipe, [room]):
                        buffers[pipe] += room[:length]
                        finished |= _take_results(buffers[pipe])
                    else:
                        raise RecpackError(DIED)
            failed, result = finished.pop(due)
            due += 1
            if failed:
                raise result
            yield result

    def _send(self, waiting: deque[memoryview]) -> None:
        """Write as much as the pipe accepts now."""
        with suppress(BlockingIOError):
            while waiting:
                written = os.write(self._tasks, waiting[0])
                waiting[0] = waiting[0][written:]
                if not waiting[0]:
                    waiting.popleft()

    def kill(self) -> None:
        """Kill all workers at once, even during a task; can be called twice."""
        for process in self.workers:
            with suppress(ProcessLookupError):  # gone already, where SIGCHLD is ignored
                os.kill(process, signal.SIGKILL)
        for process, pipe in self.workers.items():
            with suppress(ChildProcessError):
                os.waitpid(process, 0)
            os.close(pipe)
        for descriptor in self._ends:
            os.close(descriptor)
        self.workers, self._ends = {}, []


_pools: dict[int, Pool] = {}


def pool(size: int) -> Pool:
    """This process's workers. Those of the last call are used again when the number is the same."""
    if size not in _pools:
        kill()
        _pools[size] = Pool(size)
    return _pools[size]


def run(
    workers: Pool, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Generator[Result | None, None, None]:
    """See ``Pool.run``. Kills the workers when the iteration fails or is left early."""
    finished = False
    try:
        yield from workers.run(function, tasks)
        finished = True
    finally:
        if not finished:
            _discard(workers)


def kill() -> None:
    """Kill all workers at once, even during a task."""
    for workers in list(_pools.values()):
        _discard(workers)


def _discard(workers: Pool) -> None:
    if _pools.get(workers.size) is workers:
        del _pools[workers.size]
    workers.kill()


class _RemoteError(Exception):
    """The cause of a worker's error: its traceback as text."""


def _work(coordinator: int, tasks: int, token: tuple[int, int], results: int) -> NoReturn:
    """Do tasks until this worker is killed or the coordinator is gone."""
    try:
        gc.freeze()  # else looking for garbage copies the memory that was inherited
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
                failed, answer = 1, _pickle_error(error)
            _write(results, _HEAD.pack(number, failed, len(answer)) + answer)
    finally:
        os._exit(1)


def _pickle_error(error: BaseException) -> bytes:
    import traceback

    text = traceback.format_exc()
    try:
        return pickle.dumps((error, text))
    except Exception:  # an error can hold anything, also what can't be pickled
        return pickle.dumps((RecpackError(f"{type(error).__name__}: {error}"), text))


def _take_results(buffer: bytearray) -> dict[int, tuple[bool, Any]]:
    """Remove all complete results from a buffer: task number → (whether it is an error, value)."""
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
    with suppress(OSError):  # above a system limit; a smaller pipe works too
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
