"""A store that fails at the nth request of a run, or by a seed at many; and what lies in it."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

from tests.support.s3server import Blob, Harm, Pending, Request, S3Server


class State(NamedTuple):
    """All that lies in a store."""

    objects: dict[str, Blob]
    uploads: dict[str, Pending]
    begun: int

    def key(self) -> object:
        """Equal for equal states."""
        return (
            tuple(sorted((key, blob.etag) for key, blob in self.objects.items())),
            tuple(
                (id_, upload.key, *(f"{n}{blob.etag}" for n, blob in sorted(upload.parts.items())))
                for id_, upload in sorted(self.uploads.items())
            ),
        )

    def bytes(self) -> dict[str, bytes]:
        return {key: blob.data for key, blob in self.objects.items()}


class Store(S3Server):
    """It can be put back; parts may be of any size, so that a small ``.rec`` has some."""

    def __init__(self) -> None:
        super().__init__()
        self.min_part = 0

    @property
    def state(self) -> State:
        return State(dict(self.objects), deepcopy(self.uploads), self._made)

    def restore(self, state: State) -> None:
        self.objects, self.uploads = dict(state.objects), deepcopy(state.uploads)
        self._made = state.begun


class Fault(Protocol):
    """``victim``: the id of the process whose requests these are."""

    victim: Future[int]

    def __call__(self, request: Request) -> Harm: ...


TURNS = (
    "refused", "refused after", "denied", "failed", "failed after", "lost", "half", "cut",
    "cut after", "error in 200", "error in 200 after", "killed", "killed after", "interrupted",
    "terminated after",
)  # fmt: skip
"""What happens at the nth request. ``after``: after the store did it; ``lost``, ``half``: it did,
and its answer is lost, or breaks off; ``denied``, ``cut``: this request and all that follow."""

_ONCE = {"refused": "403", "refused after": "+403", "failed": "500", "failed after": "+500",
         "lost": "lost", "half": "half", "error in 200": "200",
         "error in 200 after": "+200"}  # fmt: skip
_SIGNALS = {"killed": signal.SIGKILL, "interrupted": signal.SIGINT, "terminated": signal.SIGTERM}


@dataclass
class InTurn:
    """One fault, at a run's request ``number``, from 1."""

    kind: str
    number: int
    met: Request | None = None
    victim: Future[int] = field(default_factory=Future)
    _seen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __str__(self) -> str:
        met = f" ({self.met.name} {self.met.key})" if self.met else ""
        return f"{self.kind}, request {self.number}{met}"

    def __call__(self, request: Request) -> Harm:
        with self._lock:
            self._seen += 1
            seen = self._seen
        if seen < self.number:
            return None
        kind, after, _ = self.kind.partition(" after")
        if seen > self.number:
            return {"denied": "403", "cut": "reset"}.get(kind)
        self.met = request
        if kind.startswith("error") and not request.name.startswith("complete"):
            return None  # S3 does so only after it has kept the client waiting
        if kind in _SIGNALS:
            return self._signal(_SIGNALS[kind], after=bool(after))
        if kind in ("denied", "cut"):
            return "lost" if after else {"denied": "403", "cut": "reset"}[kind]
        return _ONCE[self.kind]

    def _signal(self, number: signal.Signals, *, after: bool) -> Harm:
        def send() -> None:
            os.kill(self.victim.result(), number)

        if after:
            return send
        send()
        return "reset" if number == signal.SIGKILL else 0.005


_ANY = ("reset", "lost", "503", "500", "RequestTimeout", "+500", "+503", "half", "delay", "+")
_ALSO = {
    "upload_part": ("damage", "damage"),
    "put_object": ("damage", "damage"),
    "complete_multipart_upload": ("200", "+200"),
}
_NOT = {"create_multipart_upload": ("+",)}
"""Nobody between the client and the store may repeat a POST; only the client does."""


@dataclass
class BySeed:
    """A request meets a harm with a probability that the seed gives. It depends on the request and
    on how often it came before, so threads may send theirs in any order."""

    seed: int
    met: Counter[str] = field(default_factory=Counter)
    victim: Future[int] = field(default_factory=Future)
    _times: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __str__(self) -> str:
        return f"seed {self.seed}"

    @property
    def rate(self) -> float:
        return Random(f"rate {self.seed}").uniform(0.02, 0.7)

    def __call__(self, request: Request) -> Harm:
        same = f"{request.name} {request.key} {request.number} {request.headers.get('range')}"
        with self._lock:
            self._times[same] += 1
            times = self._times[same]
        random = Random(f"{self.seed} {same} {times}")
        if random.random() > self.rate:
            return None
        left_out = _NOT.get(request.name, ())
        kinds = [one for one in (*_ANY, *_ALSO.get(request.name, ())) if one not in left_out]
        harm = random.choice(kinds)
        with self._lock:
            self.met[harm] += 1
        return random.uniform(0, 0.01) if harm == "delay" else harm


Action = Callable[[str], int]
"""What runs in a process of its own; it gets the store's URL, and returns an exit code."""
