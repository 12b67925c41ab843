"""Measures programs side by side, and compares them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Measurement(NamedTuple):
    """Seconds of one run, and its CPU seconds in this process and its children."""

    seconds: float
    cpu: float


Work = Callable[[], Measurement]


@dataclass(frozen=True)
class Timing:
    """Seconds of one work over all rounds, and the median of its CPU seconds."""

    name: str
    median: float
    low: float
    high: float
    cpu: float

    @classmethod
    def of(cls, name: str, rounds: Sequence[Measurement]) -> Timing:
        seconds = [run.seconds for run in rounds]
        cpu = statistics.median(run.cpu for run in rounds)
        return cls(name, statistics.median(seconds), min(seconds), max(seconds), cpu)


Found = Mapping[str, Timing]


@dataclass(frozen=True)
class Claim:
    """A ratio of medians, (``slow`` - ``less``) / (``fast`` - ``fast_less``) * ``factor``, each of
    them a sum of works. It should be from ``least`` to ``most``."""

    text: str
    slow: Sequence[str]
    fast: Sequence[str]
    least: float | None = None
    most: float | None = None
    less: Sequence[str] = ()
    fast_less: Sequence[str] = ()
    factor: float = 1.0

    def ratio(self, found: Found) -> float | None:
        """The ratio; None when a work was not measured."""
        if not {*self.slow, *self.fast, *self.less, *self.fast_less} <= found.keys():
            return None
        slow, less, fast, fast_less = (
            sum(found[name].median for name in names)
            for names in (self.slow, self.less, self.fast, self.fast_less)
        )
        return (slow - less) / (fast - fast_less) * self.factor

    def holds(self, ratio: float) -> bool | None:
        """Whether the ratio is within the bounds; None without bounds."""
        if self.least is None and self.most is None:
            return None
        return (self.least or 0.0) <= ratio <= (self.most or float("inf"))


@dataclass(frozen=True)
class Table:
    """Works to compare; ratios are relative to the first one. ``counts`` tells how many things a
    work handles, for a column of things a second."""

    title: str
    works: Mapping[str, Work]
    claims: Sequence[Claim] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)


def measure(works: Mapping[str, Work], rounds: int) -> list[Timing]:
    """Run every work once per round, in turns. One round before does not count."""
    runs: dict[str, list[Measurement]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            run = work()
            if number:
                runs[name].append(run)
    return [Timing.of(name, values) for name, values in runs.items()]


def function_work(function: Callable[[], None]) -> Work:
    """A function as work in this process."""

    def work() -> Measurement:
        cpu, start = time.process_time(), time.perf_counter()
        function()
        return Measurement(time.perf_counter() - start, time.process_time() - cpu)

    return work


def commands(*lines: Sequence[object], fresh: Sequence[Path] = ()) -> Work:
    """Processes one after the other, with their start. ``fresh`` are outputs that are removed
    before the clock starts, so that freeing an old file is not measured."""

    def work() -> Measurement:
        for path in fresh:
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
        os.sync()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        for command in lines:
            run = subprocess.run(
                list(map(str, command)), check=False,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
            if run.returncode:
                raise RuntimeError(f"{command[:4]} …: {run.stderr.decode()[-2000:]}")
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Measurement(seconds, cpu)

    return work


def reporting_command(*command: object) -> Work:
    """A process that prints its own seconds and CPU seconds as JSON."""

    def work() -> Measurement:
        run = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        return Measurement(*json.loads(run.stdout))

    return work
