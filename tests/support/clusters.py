"""Real clusters on this machine, as their commands start them."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.missing import missing

WORKERS = 2


def needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        missing(package, "pip install 'recpack[dask,ray,ssd]'")


@dataclass
class Dask:
    """A scheduler and workers, each a command of its own."""

    folder: Path
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, patience: int) -> None:
        self.folder.mkdir()
        environment = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{patience}s"}
        self.scheduler, line = self._begin(
            ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"],
            "Scheduler at:", environment,
        )  # fmt: skip
        self.address = line.split()[-1]
        for _ in range(WORKERS):
            self.add_worker()

    def add_worker(self, cwd: Path | None = None) -> None:
        environment = os.environ | {"PYTHONPATH": os.fspath(Path(__file__).parents[2])}
        worker, _ = self._begin(
            ["distributed.cli.dask_worker", self.address, "--no-nanny", "--nthreads", "1",
             "--local-directory", str(self.folder), "--death-timeout", "20"],
            "Registered to", environment, cwd,
        )  # fmt: skip
        self.workers.append(worker)

    def _begin(
        self, arguments: list[str], sign: str, environment: dict[str, str], cwd: Path | None = None
    ) -> tuple[subprocess.Popen[bytes], str]:
        """Start a command; its process, and the line of its log that says it is there."""
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments, "--no-dashboard"], stderr=file, cwd=cwd,
                env=environment,
            )  # fmt: skip
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and process.poll() is None:
            for line in log.read_text().splitlines():
                if sign in line:
                    return process, line
            time.sleep(0.05)
        process.kill()
        raise AssertionError(log.read_text())

    def stop(self) -> None:
        for process in [*self.workers, self.scheduler]:
            if process is not None:
                process.kill()
                process.wait()


@contextmanager
def dask_cluster(folder: Path, patience: int = 8) -> Iterator[Dask]:
    """``patience``: seconds until a worker that is silent is given up."""
    needs("distributed")
    cluster = Dask(folder)
    try:
        cluster.start(patience)
        yield cluster
    finally:
        cluster.stop()


@dataclass
class Ray:
    """A head with workers of its own. Others may run on this machine."""

    log: Path
    address: str = ""
    port: int = 0

    @contextmanager
    def running(self) -> Iterator[Ray]:
        needs("ray")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        with self.log.open("wb") as file:
            head = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
                 f"--num-cpus={WORKERS}", f"--port={self.port}", "--include-dashboard=false",
                 "--disable-usage-stats"],
                stdout=file, stderr=file, env=os.environ | {"RAY_AUTH_MODE": "disabled"},
            )  # fmt: skip
        try:
            give_up = time.monotonic() + 60
            while "Ray runtime started" not in self.log.read_text():
                assert time.monotonic() < give_up, self.log.read_text()
                assert head.poll() is None, self.log.read_text()
                time.sleep(0.05)
            yield self
        finally:
            head.terminate()  # and all that it started
            head.wait()

    def kill_an_actor(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "cmdline").read_bytes().startswith(b"ray::PoolActor"):
                    status = (process / "stat").read_text().rpartition(")")[2].split()
                    raylet = Path("/proc", status[1], "cmdline").read_bytes()
                    if f":{self.port}\0".encode() in raylet:
                        os.kill(int(process.name), signal.SIGKILL)
                        return
        raise AssertionError("no actor")
