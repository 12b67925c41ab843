"""A run in a process of its own, a copy of this one: thousands of them cost little, and each may be
killed."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import secrets
import signal
import sys
import tempfile
import threading
from concurrent.futures import Future
from random import Random
from typing import NamedTuple

import recpack
from recpack.sinks.s3 import S3Sink
from recpack.storage.s3 import client, objects, retry
from tests.faults.store import Action, Fault, Store
from tests.support.s3server import Harm, Request

PART = 64 << 10
_STEP = 100.0
"""Seconds of patience that a failed request costs."""
_LONGEST = 60


class Outcome(NamedTuple):
    """``code`` is negative for the signal that ended the run."""

    code: int
    output: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class NoFault:
    def __init__(self) -> None:
        self.victim: Future[int] = Future()

    def __call__(self, request: Request) -> Harm:
        del request
        return None


class _Clock:
    """Patience is counted in requests, so that nobody waits, and a seed has one outcome."""

    def __init__(self) -> None:
        self._local = threading.local()

    def monotonic(self) -> float:
        now = self._local.now = getattr(self._local, "now", 0.0) + _STEP
        return float(now)

    def sleep(self, seconds: float) -> None:
        del seconds


def prepare(action: Action, store: Store) -> None:
    """Import and cache here what each run would import and cache, by a first run; runs inherit its
    clients, but not their connections."""
    for module in pkgutil.walk_packages(recpack.__path__, "recpack."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    before = store.state
    action(store.url)
    for one in client._clients.values():
        one.close()
    store.settle()
    store.restore(before)
    gc.freeze()  # else each collection of a run copies all memory


def run(action: Action, store: Store, fault: Fault | None = None, *, chunk: int = 0) -> Outcome:
    """Run it to its end, and until the store has done all that it was asked for. ``chunk``: longer
    companions become multipart uploads."""
    fault = fault or NoFault()
    random = Random(repr(store.state.key()))
    store.fault = fault
    store.requests.clear()
    store.calls.clear()
    with tempfile.TemporaryFile() as output:
        process = os.fork()
        if not process:
            _child(action, store.url, output.fileno(), chunk, random)
        fault.victim.set_result(process)
        _, status = os.waitpid(process, 0)
        store.fault = lambda _: None
        store.settle()
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Outcome(os.waitstatus_to_exitcode(status), text)


def _child(action: Action, url: str, output: int, chunk: int, random: Random) -> None:
    code = 70
    try:
        gc.disable()
        signal.alarm(_LONGEST)  # whatever hangs ends by this signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        sys.stdout = sys.stderr = os.fdopen(output, "w", closefd=False)
        # a name that nobody can guess, but the same whenever a run begins from this state
        vars(secrets).update(token_hex=lambda n: random.randbytes(n).hex())
        vars(retry).update(time=_Clock(), _LONGEST_PAUSE=0.001)
        S3Sink.min_segment = PART
        objects.CHUNK = chunk or objects.CHUNK
        code = action(url)
    except KeyboardInterrupt:  # of an action that is no command, or after its end
        code = 130
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(code)
