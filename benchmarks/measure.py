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
from types import MappingProxyType
from typing import NamedTuple


class Measurement(NamedTuple):
    """Seconds of one run, its CPU seconds in this process and its children, and other figures that
    it reports, by name."""

    seconds: float
    cpu: float
    more: Mapping[str, float] = MappingProxyType({})


Work = Callable[[], Measurement]


@dataclass(frozen=True)
class Timing:
    """Seconds of one work over all rounds, and the medians of its CPU seconds and of what else it
    reports."""

    name: str
    median: float
    low: float
    high: float
    cpu: float
    more: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, rounds: Sequence[Measurement]) -> Timing:
        seconds = [run.seconds for run in rounds]
        cpu = statistics.median(run.cpu for run in rounds)
        more = {key: statistics.median(run.more[key] for run in rounds) for key in rounds[0].more}
        return cls(name, statistics.median(seconds), min(seconds), max(seconds), cpu, more)

    @property
    def figures(self) -> Mapping[str, float]:
        """All medians by name."""
        return {"seconds": self.median, "CPU s": self.cpu, **self.more}


Found = Mapping[str, Timing]


@dataclass(frozen=True)
class Claim:
    """A ratio of medians, (``slow`` - ``less``) / (``fast`` - ``fast_less``) * ``factor``, each of
    them a sum of works; with nothing in ``fast`` no ratio, but so many of ``unit``. It should be
    from ``least`` to ``most``. ``figure`` says which of the works' figures."""

    text: str
    slow: Sequence[str]
    fast: Sequence[str]
    least: float | None = None
    most: float | None = None
    less: Sequence[str] = ()
    fast_less: Sequence[str] = ()
    factor: float = 1.0
    figure: str = "seconds"
    unit: str = "×"

    def ratio(self, found: Found) -> float | None:
        """The ratio; None when a work was not measured, or does not report the figure."""
        figures = {name: timing.figures.get(self.figure) for name, timing in found.items()}
        values = {name: value for name, value in figures.items() if value is not None}
        if not {*self.slow, *self.fast, *self.less, *self.fast_less} <= values.keys():
            return None
        slow, less, fast, fast_less = (
            sum(values[name] for name in names)
            for names in (self.slow, self.less, self.fast, self.fast_less)
        )
        return (slow - less) / (fast - fast_less if self.fast else 1) * self.factor

    def holds(self, ratio: float) -> bool | None:
        """Whether the ratio is within the bounds; None without bounds."""
        if self.least is None and self.most is None:
            return None
        return (self.least or 0.0) <= ratio <= (self.most or float("inf"))


@dataclass(frozen=True)
class Table:
    """Works to compare; ratios are relative to the first one. ``counts`` tells how many things a
    work handles, for a column of things a second. ``curves`` are drawn instead of bars: each one's
    works by their number of jobs. Long works have ``most_rounds``, without the one before."""

    title: str
    works: Mapping[str, Work]
    claims: Sequence[Claim] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    curves: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    most_rounds: int | None = None


def measure(works: Mapping[str, Work], rounds: int, most: int | None = None) -> list[Timing]:
    """Run every work once per round, in turns. One round before does not count; there is none when
    the rounds are ``most`` at most."""
    runs: dict[str, list[Measurement]] = {name: [] for name in works}
    before = 1 if most is None else 0
    for number in range(min(rounds, most or rounds) + before):
        for name, work in works.items():
            run = work()
            if number >= before:
                runs[name].append(run)
    return [Timing.of(name, values) for name, values in runs.items()]


def function_work(function: Callable[[], None]) -> Work:
    """A function as work in this process."""

    def work() -> Measurement:
        cpu, start = time.process_time(), time.perf_counter()
        function()
        return Measurement(time.perf_counter() - start, time.process_time() - cpu)

    return work


def commands(*lines: Sequence[object], fresh: Sequence[Path] = (), reports: bool = False) -> Work:
    """Processes one after the other, with their start. ``fresh`` are outputs that are removed
    before the clock starts, so that freeing an old file is not measured. With ``reports`` the last
    line that they print is JSON, figures by name; the variable ``STARTED`` is then the clock at
    their start."""

    def work() -> Measurement:
        for path in fresh:
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
        os.sync()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        environment = os.environ | {"STARTED": str(time.monotonic())}
        for command in lines:
            run = subprocess.run(
                list(map(str, command)), check=False, env=environment,
                stdout=subprocess.PIPE if reports else subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
            if run.returncode:
                raise RuntimeError(f"{command[:4]} …: {run.stderr.decode()[-2000:]}")
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        more = json.loads(run.stdout.splitlines()[-1]) if reports else {}
        return Measurement(seconds, cpu, more)

    return work


def beside(work: Work, name: str, process: int) -> Work:
    """The same work, and as the figure ``name`` the CPU seconds of another process meanwhile."""
    stat = Path(f"/proc/{process}/stat")

    def cpu() -> float:
        times = stat.read_text().rpartition(")")[2].split()[11:13]  # of user and system
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

    def both() -> Measurement:
        before = cpu()
        run = work()
        return run._replace(more={**run.more, name: cpu() - before})

    return both


def reporting_command(*command: object) -> Work:
    """A process that prints its own seconds and CPU seconds as JSON."""

    def work() -> Measurement:
        run = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        return Measurement(*json.loads(run.stdout))

    return work
