"""The process of a training job on this machine: ``python -m train.ssd.local JOBFOLDER``.

``train.local`` starts it, with the job's lock. It tells how it goes by the files of the folder, and
ends after the batch when it gets a SIGTERM. To train on several GPUs it starts ``torchrun``, whose
processes run this module too.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib

from .. import local as launcher
from ..errors import TrainError
from ..files import replace
from ..hyperparameters import Hyperparameters
from ..job import RUNNING
from ..local import hold, read_description, source_of, write_description
from ..logs import parse_metric
from ..spec import TORCHVISION
from .contract import LONGEST_REASON

_UNFINISHED = re.compile(r"\.[0-9a-f]{16}$")
"""What ``files.replace`` leaves when it is killed."""

Say = Callable[[str], None]
Stopped = Callable[[], bool]
Train = Callable[[Path, Mapping[str, Any], Say, Stopped], None]
"""Trains as a job's description says, and writes its model."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job of a folder. ``arguments``: the folder, then the lock's descriptor, or ``-`` in
    one of several processes. Returns the exit code."""
    # threads that wait let others work: on a busy machine a step would take ten times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = [*(sys.argv[1:] if arguments is None else arguments), ""]
    folder, lock = Path(words[0]), words[1]
    if lock == "-":
        return run_part(folder, train)
    if lock:
        return run(folder, train, int(lock))
    with hold(folder) as held, open(folder / "log.txt", "ab") as log:  # it was started by hand
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        (folder / "stop").unlink(missing_ok=True)
        return run(folder, train, held)


def run(folder: Path, train: Train, lock: int) -> int:
    """The job from its start to its end."""
    os.pwrite(lock, f"{socket.gethostname()} {os.getpid()}".encode(), 0)
    for path in folder.rglob("*"):
        if _UNFINISHED.search(path.name):
            path.unlink()
    stop = folder / "stop"

    def end(*_: object) -> None:
        stop.touch()
        signal.alarm(launcher.PATIENCE_OF_STOP)  # whatever it does then, this ends it

    signal.signal(signal.SIGTERM, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        description = read_description(folder)
        processes = _processes(description)
        _change(folder, TrainingJobStatus="InProgress", SecondaryStatus="Training")
        if processes > 1:
            _run_parts(folder, processes, lock)
        else:
            _train(folder, train)
    except BaseException as error:
        if not isinstance(error, ChildProcessError):
            _print(error)
        _change(
            folder, TrainingJobStatus="Failed", SecondaryStatus="Failed",
            FailureReason=_reason(error),
        )  # fmt: skip
        return 1
    return 0


def run_part(folder: Path, train: Train) -> int:
    """One of several processes that train together; the first of them writes and reports."""
    threading.Thread(target=_follow, args=[os.getppid()], daemon=True).start()
    try:
        _train(folder, train)
    except BaseException as error:
        _print(error)
        # the others fail because of the first that did
        with suppress(FileExistsError), open(folder / "failure", "x") as file:
            file.write(_reason(error))
        return 1
    return 0


def _follow(parent: int) -> None:
    """End this process when torchrun, which has given it a session of its own, is dead."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def _train(folder: Path, train: Train) -> None:
    """Train, and write down that it has ended."""
    first = int(os.environ.get("RANK", 0)) == 0
    metrics = Metrics(folder / "metrics.json")
    noticed = False

    def say(line: str) -> None:
        if first:
            print(line, flush=True)
            metrics.add(line)

    def stopped() -> bool:
        nonlocal noticed
        noticed = noticed or (folder / "stop").exists()
        return noticed

    train(folder, read_description(folder), say, stopped)
    if first:
        metrics.write()
        state = "Stopped" if noticed else "Completed"
        _change(folder, TrainingJobStatus=state, SecondaryStatus=state)
        if not noticed:  # what has completed never goes on
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _run_parts(folder: Path, processes: int, lock: int) -> None:
    """Run the processes, and raise ChildProcessError when one fails. torchrun keeps the lock."""
    failure = folder / "failure"
    failure.unlink(missing_ok=True)
    # in the middle of a step only that ends them
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    command = [
        sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--no-python",
        "--nproc-per-node", str(processes), *launcher.driver(folder, "-"),
    ]  # fmt: skip
    environment = {"OMP_NUM_THREADS": str(max(joblib.cpu_count() // processes, 1))} | os.environ
    done = subprocess.run(command, env=environment, pass_fds=[lock], check=False)
    if read_description(folder)["TrainingJobStatus"] in RUNNING:
        reason = failure.read_text() if failure.exists() else ""
        raise ChildProcessError(
            reason or f"one of its {processes} processes was killed (torchrun: {done.returncode})"
        )


def train(folder: Path, description: Mapping[str, Any], say: Say, stopped: Stopped) -> None:
    """Train as a job's description says, and write its model."""
    from ..service import Service
    from . import artifact, fitting, weights

    local = description["Local"]
    sources = {one["ChannelName"]: source_of(one) for one in description["InputDataConfig"]}
    service = Service(endpoint_url=local["endpoint_url"])
    learning = Hyperparameters.from_strings(description["HyperParameters"])
    pretrained = None
    if local["pretrained"] == TORCHVISION:
        pretrained = weights.torchvision_weights(learning.base_network)
    elif local["pretrained"] is not None:
        pretrained = artifact.read_weights(local["pretrained"], service)
    setup = fitting.Setup(
        hyperparameters=learning,
        train=sources["train"],
        validation=sources["validation"],
        model=artifact.read_model(sources["model"], service) if "model" in sources else None,
        pretrained=pretrained,
        checkpoints=folder / "checkpoints",
        endpoint_url=local["endpoint_url"],
        **{name: local[name] for name in ("seed", "device", "precision", "workers")},
    )
    model = fitting.fit(setup, say, stopped)
    if int(os.environ.get("RANK", 0)) == 0:
        (folder / "output").mkdir(exist_ok=True)
        artifact.write_model(folder / "output" / "model.tar.gz", model)


def _processes(description: Mapping[str, Any]) -> int:
    """How many train: as many as there are GPUs, if the batch can be divided among them."""
    local = description["Local"]
    if local["processes"] is not None:
        return int(local["processes"])
    if local["device"] == "cpu":
        return 1
    import torch

    batch = int(description["HyperParameters"]["mini_batch_size"])
    most = torch.cuda.device_count() if torch.cuda.is_available() else 1
    processes = max(number for number in range(1, max(most, 1) + 1) if batch % number == 0)
    if processes < most:
        print(f"mini_batch_size: {batch}: only {processes} of {most} GPUs can share it evenly")
    return processes


def _change(folder: Path, **values: str) -> None:
    write_description(folder, read_description(folder) | values)


def _print(error: BaseException) -> None:
    """For the log; what says itself what to do needs no traceback."""
    with suppress(OSError):  # the disk is full
        if isinstance(error, TrainError):
            print(error, file=sys.stderr, flush=True)
        else:
            traceback.print_exception(error)


def _reason(error: BaseException) -> str:
    """As SageMaker gives it."""
    text = str(error)
    if type(error).__module__ == "builtins" and not isinstance(error, ChildProcessError):
        text = f"{type(error).__name__}: {text}"
    return (text or type(error).__name__)[:LONGEST_REASON]


class Metrics:
    """The numbers of each epoch, by the log's lines: ``metrics.json``. Those of earlier epochs are
    kept when a job goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._epochs: dict[int, dict[str, Any]] = {}
        self._last = 0
        if path.exists():
            self._epochs = {one["epoch"]: one for one in json.loads(path.read_bytes())}

    def add(self, line: str) -> None:
        """Take in a line; after the last of an epoch the file is written."""
        metric = parse_metric(line)
        if metric is None or metric.name == "progress":
            return
        self._last = metric.epoch if metric.epoch >= 0 else self._last
        numbers = self._epochs.setdefault(self._last, {"epoch": self._last})
        numbers[metric.name] = metric.value if math.isfinite(metric.value) else None
        if metric.name == "mAP":
            self.write()

    def write(self) -> None:
        """Write the file."""
        rows = [self._epochs[epoch] for epoch in sorted(self._epochs)]
        replace(self._path, json.dumps(rows, indent=2).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
