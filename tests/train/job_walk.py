"""A random walk: commands that start, stop and follow jobs and tunings, with faults and
interruptions at every call. ``python -m tests.train.job_walk 10000`` runs more than the tests do.

After each run: no object is gone or another one, no job is told to stop but the one that was named,
and what is new is named in the output.
"""

from __future__ import annotations

import io
import random
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field

import pytest

from tests.support.aws import BROKEN, DENIED, EXPIRED, THROTTLED, Aws, Fault
from tests.support.hosts import connect
from tests.support.jobs import DATA
from train.cli import main
from train.job import Job
from train.tuning import Tuning

NAMES = ("voc-1", "voc-2", "voc-3", "tune-1", "tune-2")
_LONG = 30
"""Calls of a long run; most faults lie in them."""


@dataclass
class JobWalk:
    """Runs of one seed, one after the other on the same account; ``objects`` are the data."""

    seed: int
    monkeypatch: pytest.MonkeyPatch
    objects: Mapping[str, bytes]
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.aws = Aws(objects=dict(self.objects))

    def run(self, times: int) -> None:
        for _ in range(times):
            words = self._command()
            connect(self.monkeypatch, self.aws, self.random.choice((1, 1, 3)))
            self.aws.polls = self.random.choice((0, 1, 2, 5))
            self.aws.hidden = self.random.choice((0, 0, 2))
            self.aws.end = self.random.choice(("Completed", "Completed", "Failed", "Stopped"))
            objects, jobs = dict(self.aws.objects), self._jobs()
            self._plan_faults()
            output = io.StringIO()
            with redirect_stdout(output), redirect_stderr(output):
                code = main(words)
            self.aws.plan = lambda *_: None
            self.counts[f"{words[0]} {code}"] += 1
            self._judge(words, f"{code}\n{output.getvalue()}", objects, jobs)
            for job in self.aws.jobs.values():
                place = job["model"].removeprefix("s3://")
                self.aws.objects.setdefault(place, b"model")
            if self.random.random() < 0.1:  # jobs can be deleted, their records stay
                self.aws.jobs.pop(self.random.choice(NAMES), None)

    def _command(self) -> list[str]:
        draw = self.random
        name = draw.choice(NAMES)
        kind = draw.choice(("fit", "fit", "fit", "tune", "tune", "stop", "status", "logs"))
        waits = ["--wait"] if draw.random() < 0.5 else []
        if kind in ("fit", "tune"):
            named = ["--job-name", name] if draw.random() < 0.7 else []
            before = draw.choice([*self.aws.jobs, "none"])
            model = ["--model", before] if draw.random() < 0.3 else []
            ranges = ["--range", "learning_rate=0.001..0.1"] if kind == "tune" else []
            return [kind, *DATA, *named, *model, *ranges, *waits]
        name = draw.choice([*self.aws.jobs, *self.aws.tunings, name])
        return [kind, name, *({"status": waits, "logs": ["--follow"]}.get(kind, []))]

    def _plan_faults(self) -> None:
        draw = self.random
        start = len(self.aws.calls)
        at = {start + draw.randrange(_LONG) for _ in range(draw.choice((0, 1, 1, 2, 5)))}
        forever = start + draw.randrange(_LONG) if draw.random() < 0.15 else None
        error = draw.choice((EXPIRED, DENIED))
        nap = draw.randrange(6) if draw.random() < 0.2 else None
        naps = 0

        def plan(_: str, number: int) -> Fault | None:
            if forever is not None and number >= forever:
                return Fault(error)
            if number not in at:
                return None
            if draw.random() < 0.3:
                raise KeyboardInterrupt
            if draw.random() < 0.3:
                return Fault(draw.choice((EXPIRED, DENIED)))
            return Fault(draw.choice((THROTTLED, BROKEN, None)), draw.choice(("before", "after")))

        def sleep(_: float) -> None:
            nonlocal naps
            naps += 1
            if naps - 1 == nap:
                raise KeyboardInterrupt

        self.aws.plan = plan
        self.monkeypatch.setattr("time.sleep", sleep)
        for function in (Job.wait, Tuning.wait):
            self.monkeypatch.setitem(function.__kwdefaults__, "sleep", sleep)

    def _jobs(self) -> dict[str, bool]:
        """Names, and whether somebody told them to stop."""
        states = {name: one["TrainingJobStatus"] for name, one in self.aws.jobs.items()}
        for name, one in self.aws.tunings.items():
            states[name] = one["HyperParameterTuningJobStatus"]
        return {name: state == "Stopping" for name, state in states.items()}

    def _judge(
        self, words: list[str], text: str, objects: dict[str, bytes], jobs: dict[str, bool]
    ) -> None:
        told = f"seed {self.seed}: {' '.join(words)} -> {text}"
        now = self._jobs()
        assert objects.items() <= self.aws.objects.items(), told
        assert jobs.keys() <= now.keys(), told
        for name in now.keys() - jobs.keys():
            tuning = next((one for one in self.aws.tunings if name.startswith(one + "-")), name)
            assert name in text or tuning != name, f"{name} is not named\n{told}"
        stopped = {name for name, stopping in now.items() if stopping and not jobs.get(name)}
        assert stopped <= ({words[1]} if words[0] == "stop" else set()), told
        for key in self.aws.objects.keys() - objects.keys():
            job = key.split("/")[-2]
            assert job in now or f"s3://{key}" in text, f"{key} is not named\n{told}"
        assert "Traceback" not in text, told


if __name__ == "__main__":
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from tests.support.devkits import make_voc
    from tests.support.jobs import packed_objects

    with TemporaryDirectory() as folder:
        made = packed_objects(make_voc(Path(folder) / "VOCdevkit", {"2007": 70, "2012": 50}))
    data = {f"bucket/{key}": blob.data for key, blob in made.items()}
    counts: Counter[str] = Counter()
    for seed in range(int(sys.argv[1]) // 20):
        with pytest.MonkeyPatch.context() as patch:
            walk = JobWalk(seed, patch, data)
            walk.run(20)
            counts += walk.counts
    print(f"{counts.total()} runs: {dict(counts)}")
