"""``python -m benchmarks [scan] [s3] [--rounds N] [--json FILE]``: measure, print tables, keep the
numbers.

What is compared runs in turns, so that a noisy machine is noisy for all; each figure is a median
with its extremes. Data is made in memory (/dev/shm) where there is such a place.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks import Measured, s3, scan


@dataclass(frozen=True)
class Timing:
    """Seconds of the rounds of one piece of work, and the median of its CPU seconds."""

    name: str
    median: float
    low: float
    high: float
    cpu: float

    @classmethod
    def of(cls, name: str, rounds: list[Measured]) -> Timing:
        seconds = [measured.seconds for measured in rounds]
        cpu = statistics.median(measured.cpu for measured in rounds)
        return cls(name, statistics.median(seconds), min(seconds), max(seconds), cpu)


def measure(works: Mapping[str, Callable[[], Measured]], rounds: int) -> list[Timing]:
    """Run every work once a round, after one round that does not count."""
    measured: dict[str, list[Measured]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            taken = work()
            if number:
                measured[name].append(taken)
    return [Timing.of(name, values) for name, values in measured.items()]


def machine() -> dict[str, object]:
    """What the figures depend on, without naming the machine."""
    packages = ("recpack", "numpy", "lxml", "opencv-python-headless", "joblib", "boto3")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def print_table(title: str, timings: list[Timing]) -> None:
    base = timings[0]
    print(f"\n| {title} | median s | low to high | CPU s | × the first |")
    print("|---|---|---|---|---|")
    for timing in timings:
        print(
            f"| {timing.name} | {timing.median:.3f} | {timing.low:.3f} to {timing.high:.3f} "
            f"| {timing.cpu:.2f} | {timing.median / base.median:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="scan, s3 (default: both)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    found: dict[str, list[Timing]] = {}
    with ExitStack() as stack:
        tables: dict[str, Mapping[str, Callable[[], Measured]]] = {}
        if "scan" in args.suites or not args.suites:
            tables[f"{scan.IMAGES:,} annotations"] = scan.works()
        if "s3" in args.suites or not args.suites:
            memory = Path("/dev/shm")
            where = memory if memory.is_dir() else None
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=where))
            tables |= stack.enter_context(s3.works(Path(folder)))
        for title, works in tables.items():
            found[title] = measure(works, args.rounds)
            print_table(title, found[title])
    if args.json:
        results = {
            "machine": machine(),
            "rounds": args.rounds,
            "timings": {
                title: [asdict(timing) for timing in timings] for title, timings in found.items()
            },
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
