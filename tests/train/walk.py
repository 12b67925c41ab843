"""A random walk: commands that make, replace and delete, against the stand-in of AWS, with faults
and interruptions at every call. ``python -m tests.train.walk 10000`` runs more than the tests do;
a second number is the first seed.

After each run: nothing is gone that the run did not make (``delete`` and ``--update``: but for the
endpoint that was named, and its own parts), and what is new is named in the output.
"""

from __future__ import annotations

import io
import random
import re
import sys
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field

import pytest

from tests.support.aws import BROKEN, DENIED, EXPIRED, ROLE, THROTTLED, Aws, Fault
from tests.support.hosts import connect, model, rest, trained
from train.cli import main
from train.names import is_of

ENDPOINTS = (
    "prod",
    "prod-2",
    "people--counter",
    "a-name-that-is-much-too-long-to-be-repeated-in-it",
)
PASSING = (THROTTLED, BROKEN, None)
ANSWER = b'{"prediction": [[1, 0.9, 0, 0, 1, 1]]}'
_LONG = 25
"""Calls of a long run; most faults lie in them."""


@dataclass
class Walk:
    """Runs of one seed, one after the other on the same account."""

    seed: int
    monkeypatch: pytest.MonkeyPatch
    counts: Counter[str] = field(default_factory=Counter)
    foreign: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.aws = trained()
        self.aws.answers = [ANSWER]
        self.aws.objects |= {f"hosting/images/{n}.jpg": _IMAGE for n in range(2)}
        self._others()

    def _others(self) -> None:
        """What other people have."""
        self.aws.models["prod-model"] = {"ModelName": "prod-model", "CreationTime": 1.0,
                                         "PrimaryContainer": {}}  # fmt: skip
        self.aws.configs["theirs"] = {
            "EndpointConfigName": "theirs", "CreationTime": 1.0,
            "ProductionVariants": [{"ModelName": "prod-model", "VariantName": "v"}],
        }  # fmt: skip
        self._theirs = {
            "EndpointName": "theirs", "EndpointConfigName": "theirs", "CreationTime": 1.0,
            "EndpointStatus": "InService",
        }  # fmt: skip
        self.aws.endpoints["theirs"] = dict(self._theirs)

    def run(self, times: int) -> None:
        for _ in range(times):
            self.aws.settle()
            words = self._command()
            connect(self.monkeypatch, self.aws, self.random.choice((1, 1, 3)))
            self.aws.polls = self.random.choice((0, 1, 2, 5))
            self.aws.hidden = self.random.choice((0, 0, 0, 1, 2))
            self.aws.reason = "no room" if self.random.random() < 0.15 else ""
            self.aws.end = "Failed" if self.aws.reason else "Completed"
            self.foreign.clear()
            naps = self._faults()
            before = everything(self.aws)
            code, text = self._typed(words, naps)
            self.aws.plan = lambda *_: None
            self.counts[f"{words[0]} {code}"] += 1
            self._judge(words, code, text, before)
            self._follow(text, everything(self.aws) - before - self.foreign)

    def _command(self) -> list[str]:
        draw = self.random
        name = draw.choice(ENDPOINTS)
        kind = draw.choice(("deploy", "deploy", "deploy", "update", "update", "delete", "transform",
                            "results"))  # fmt: skip
        job = draw.choice(("voc-1", "voc-2"))
        waits = ["--no-wait"] if draw.random() < 0.2 else []
        if kind in ("deploy", "update"):
            words = ["deploy", model(job), "--role", ROLE, *waits]
            words += ["--endpoint-name", name] if kind == "update" or draw.random() < 0.8 else []
            words += ["--update"] if kind == "update" else []
            return words
        if kind == "delete":
            mine = [*self.aws.configs, *self.aws.models]
            return ["delete", draw.choice([*self.aws.endpoints, *ENDPOINTS, *mine])]
        if kind == "transform":
            places = ["s3://hosting/images/", "s3://hosting/found/"]
            return ["transform", model(job), *places, "--role", ROLE, *waits]
        return ["results", draw.choice([*self.aws.transforms, "none"]), "--classes", "cat,dog,cow"]

    def _faults(self) -> set[int]:
        """Plans faults of calls; returns the naps in which the run is interrupted."""
        draw = self.random
        start = len(self.aws.calls)
        at = {start + draw.randrange(_LONG) for _ in range(draw.choice((0, 1, 1, 2, 5)))}
        if draw.random() < 0.2:  # several, one after the other
            first = start + draw.randrange(_LONG)
            at |= set(range(first, first + 4))
        forever = start + draw.randrange(_LONG) if draw.random() < 0.15 else None
        error = draw.choice((EXPIRED, DENIED))

        def plan(operation: str, number: int) -> Fault | None:
            if operation == "CreateEndpoint" and draw.random() < 0.1:
                self._another(self.aws.calls[number][1]["EndpointName"])
            if forever is not None and number >= forever:
                return Fault(error)
            if number not in at:
                return None
            if draw.random() < 0.3:
                raise KeyboardInterrupt
            if draw.random() < 0.3:
                return Fault(draw.choice((EXPIRED, DENIED)))
            return Fault(draw.choice(PASSING), draw.choice(("before", "after")))

        self.aws.plan = plan
        return {draw.randrange(6)} if draw.random() < 0.2 else set()

    def _another(self, name: str) -> None:
        """Another person takes the name of an endpoint just before this run does."""
        if name not in self.aws.endpoints:
            self.aws.endpoints[name] = self._theirs | {"EndpointName": name}
            self.foreign.add(f"endpoint {name}")

    def _typed(self, words: list[str], interrupted: set[int]) -> tuple[int, str]:
        naps = 0

        def sleep(_: float) -> None:
            nonlocal naps
            naps += 1
            if naps - 1 in interrupted:
                raise KeyboardInterrupt

        rest(self.monkeypatch, sleep)
        output = io.StringIO()
        with redirect_stdout(output), redirect_stderr(output):
            code = main(words)
        return code, output.getvalue()

    def _judge(self, words: list[str], code: int, text: str, before: set[str]) -> None:
        after = everything(self.aws)
        told = f"seed {self.seed}: {' '.join(words)} -> {code}\n{text}"
        owner = words[1] if words[0] == "delete" else ""
        if "--update" in words:
            owner = words[words.index("--endpoint-name") + 1]
        may_go = set()
        if words[0] in ("delete", "results") or owner:
            name = owner or words[1]
            may_go = {
                one for one in before if one.split()[1] == name or is_of(one.split()[1], name)
            }
        if "--update" in words:
            may_go.discard(f"endpoint {owner}")
        assert before - after <= may_go, told
        assert self.foreign <= after, told
        for one in self.aws.endpoints.values():
            # what serves is never without its parts, unless it is being deleted
            if one["EndpointStatus"] != "Deleting":
                assert f"config {one['EndpointConfigName']}" in after, told
        for made in after - before - self.foreign:
            kind, name = made.split()
            users = [user for user, one in self.aws.endpoints.items()
                     if name in (one["EndpointConfigName"], one.get("next"))]  # fmt: skip
            known = name in text or any(user in text for user in users if kind != "endpoint")
            assert known, f"{made} is not named\n{told}"
        models = [name for name in self.aws.models if f"model {name}" not in before]
        if words[0] == "transform" and models:
            assert code or "--no-wait" in words, told
            assert "recpack-train results" in text or "recpack-train delete" in text, told
        assert "Traceback" not in text, told

    def _follow(self, text: str, made: set[str]) -> None:
        """What is left is gone after the commands that are shown for it."""
        self.aws.settle()
        self.aws.reason, self.aws.end = "", "Completed"
        for line in text.splitlines():
            _, _, shown = line.partition("delete it with: ")
            commands, told = shown.split(" and ") if shown else [], ""
            while commands:
                code, told = self._typed(commands.pop().split()[1:], set())
                self.counts[f"remedy {code}"] += 1
                commands += re.findall("delete both with: (.*)", told)
            left = {one for one in made & everything(self.aws) if one.split()[1] in line}
            assert not shown or not {one for one in left if "batch" not in one}, f"{text}\n{told}"


def everything(aws: Aws) -> set[str]:
    """Kinds and names of what is there; what is being deleted is gone."""
    kinds = {"model": aws.models, "config": aws.configs, "endpoint": aws.endpoints,
             "batch": aws.transforms}  # fmt: skip
    return {
        f"{kind} {name}" for kind, found in kinds.items() for name, one in found.items()
        if one.get("EndpointStatus") != "Deleting"
    }  # fmt: skip


def _jpeg() -> bytes:
    import cv2
    import numpy as np

    return cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[1].tobytes()


_IMAGE = _jpeg()


if __name__ == "__main__":
    counts: Counter[str] = Counter()
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for seed in range(first, first + int(sys.argv[1]) // 20):
        with pytest.MonkeyPatch.context() as patch:
            walk = Walk(seed, patch)
            walk.run(20)
            counts += walk.counts
    print(f"{counts.total()} runs: {dict(counts)}")
