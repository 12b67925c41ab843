"""``python -m benchmarks [--rounds N] [--json FILE]``: measure, print a table, keep the numbers.

What is compared runs in turns in one process, so that a noisy machine is noisy for both; each
figure is a median with its extremes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks import scan


@dataclass(frozen=True)
class Timing:
    """Seconds of the rounds of one piece of work."""

    name: str
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, name: str, seconds: list[float]) -> Timing:
        return cls(name, statistics.median(seconds), min(seconds), max(seconds))


def measure(works: dict[str, Callable[[], float]], rounds: int) -> list[Timing]:
    """Run every work once a round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            taken = work()
            if number:
                seconds[name].append(taken)
    return [Timing.of(name, values) for name, values in seconds.items()]


def machine() -> dict[str, object]:
    """What the figures depend on, without naming the machine."""
    packages = ("recpack", "numpy", "lxml", "opencv-python-headless", "joblib")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    timings = measure(scan.works(), args.rounds)
    base = timings[0]
    print(f"| work ({scan.IMAGES:,} annotations) | median s | low to high | ratio |")
    print("|---|---|---|---|")
    for timing in timings:
        ratio = timing.median / base.median
        print(
            f"| {timing.name} | {timing.median:.3f} | {timing.low:.3f} to {timing.high:.3f} "
            f"| {ratio:.2f} |"
        )
    if args.json:
        results = {
            "machine": machine(),
            "rounds": args.rounds,
            "images": scan.IMAGES,
            "timings": [asdict(timing) for timing in timings],
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
