"""One object packed by a dask cluster on this machine, and the coordinator's own CPU time."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.measure import Claim, Table, Work, commands
from benchmarks.s3 import CREDENTIALS, store
from benchmarks.setting import Setting, recpack

WORKERS = (1, 2, 3)


def tables(setting: Setting) -> Iterator[Table]:
    """One table: ``convert`` into S3 by 1, 2 and 3 workers of one thread; none without dask."""
    if importlib.util.find_spec("distributed") is None:
        return
    devkit = setting.devkit(setting.images)
    os.environ |= CREDENTIALS
    with ExitStack() as stack:
        url = stack.enter_context(store())
        into = ["s3://bucket/p/train.rec", "--endpoint-url", url, "--overwrite", "--quiet"]
        works: dict[str, Work] = {"no cluster": commands(recpack("convert", devkit, *into))}
        for count in WORKERS:
            address = stack.enter_context(cluster(count))
            by_dask = ["--backend", "dask", "--scheduler", address]
            works[f"{count} dask workers"] = commands(recpack("convert", devkit, *into, *by_dask))
        claims = [
            Claim(f"one worker against {count}", ["1 dask workers"], [f"{count} dask workers"])
            for count in WORKERS[1:]
        ]
        title = f"{setting.images:,} images into S3 by a dask cluster (CPU: the coordinator's own)"
        yield Table(title, works, claims)


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """Start a scheduler with so many worker processes; yields its address."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        log = Path(folder, "scheduler.log")
        _start(stack, log, "dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        address = _wait_for(log, "Scheduler at:").split()[-1]
        for number in range(workers):
            log = Path(folder, f"worker{number}.log")
            _start(
                stack, log, "dask_worker", address, "--no-nanny", "--nthreads", "1",
                "--local-directory", folder,
            )  # fmt: skip
            _wait_for(log, "Registered to")
        yield address


def _start(stack: ExitStack, log: Path, command: str, *arguments: str) -> None:
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{command}", *arguments, "--no-dashboard"],
            stderr=file,
        )
    stack.callback(process.wait)
    stack.callback(process.kill)


def _wait_for(log: Path, text: str) -> str:
    """Wait for the log line that says that a process is ready."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        for line in log.read_text().splitlines():
            if text in line:
                return line
        time.sleep(0.05)
    raise RuntimeError(log.read_text())
