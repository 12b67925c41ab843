"""One object packed by a dask cluster on this machine, and the coordinator's own CPU time."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.data import first_images
from benchmarks.measure import Claim, Table, Work, beside, commands
from benchmarks.s3 import CREDENTIALS, store
from benchmarks.setting import Setting, recpack

WORKERS = (1, 2, 3)
_SCHEDULER = "scheduler CPU s"


def tables(setting: Setting) -> Iterator[Table]:
    """One table: ``convert`` into S3 by 1, 2 and 3 workers; none without dask."""
    yield from by_dask(setting, setting.devkit(setting.images), WORKERS)


def by_dask(setting: Setting, devkit: Path, workers: Sequence[int]) -> Iterator[Table]:
    """One table: ``setting.images`` into S3 by so many workers of one thread; none without dask."""
    if importlib.util.find_spec("distributed") is None:
        return
    ten = first_images(devkit, setting.memory / "cluster10", 10)
    os.environ |= CREDENTIALS
    with ExitStack() as stack:
        url = stack.enter_context(store())
        into = ["s3://bucket/p/train.rec", "--endpoint-url", url, "--overwrite", "--quiet"]
        works: dict[str, Work] = {"no cluster": commands(recpack("convert", devkit, *into))}
        for count in workers:
            address, scheduler = stack.enter_context(cluster(count))
            there = ["--backend", "dask", "--scheduler", address]
            for name, root in (("", devkit), (", 10 images", ten)):
                work = commands(recpack("convert", root, *into, *there))
                works[f"{count} dask workers{name}"] = beside(work, _SCHEDULER, scheduler)
        last = f"{workers[-1]} dask workers"
        claims = [
            Claim(f"{workers[0]} against {count} workers",
                  [f"{workers[0]} dask workers"], [f"{count} dask workers"])
            for count in workers[1:]
        ] + [
            Claim(f"CPU of the {name}, {workers[-1]} workers, less its start, an image", [last], [],
                  less=[f"{last}, 10 images"], figure=figure, unit="µs",
                  factor=1e6 / (setting.images - 10))
            for name, figure in (("coordinator", "CPU s"), ("scheduler", _SCHEDULER))
        ]  # fmt: skip
        title = f"{setting.images:,} images into S3 by a dask cluster (CPU: the coordinator's own)"
        yield Table(title, works, claims)


@contextmanager
def cluster(workers: int) -> Iterator[tuple[str, int]]:
    """Start a scheduler with so many worker processes; yields its address and its process."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        log = Path(folder, "scheduler.log")
        scheduler = _start(stack, log, "dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        address = _wait_for(log, "Scheduler at:").split()[-1]
        for number in range(workers):
            log = Path(folder, f"worker{number}.log")
            _start(
                stack, log, "dask_worker", address, "--no-nanny", "--nthreads", "1",
                "--local-directory", folder,
            )  # fmt: skip
            _wait_for(log, "Registered to")
        yield address, scheduler


def _start(stack: ExitStack, log: Path, command: str, *arguments: str) -> int:
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{command}", *arguments, "--no-dashboard"],
            stderr=file,
        )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process.pid


def _wait_for(log: Path, text: str) -> str:
    """Wait for the log line that says that a process is ready."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        for line in log.read_text().splitlines():
            if text in line:
                return line
        time.sleep(0.05)
    raise RuntimeError(log.read_text())
