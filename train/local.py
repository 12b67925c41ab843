"""Training jobs on this machine. Each is a folder ``OUTPUT/JOB/``, and a process of its own while
it runs.

``job.json`` has what it is told and its state, as ``describe_training_job`` answers;
``recpack.json`` what it is trained on. ``log.txt`` and ``metrics.json`` tell how it goes,
``checkpoints/`` has its state until it has completed, ``output/model.tar.gz`` its model.
``job.lock`` holds the machine's name and the process's id, and is locked as long as that lives: ids
are used again, locks are not. ``stop`` is there once it was told to stop.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, ClassVar

from .errors import JobError, TrainError
from .files import open_file, replace
from .job import RUNNING, Job
from .logs import FileReader
from .records import Trained, read_trained
from .request import Request
from .service import Service

PATIENCE_OF_STOP = 120
"""Seconds that a job has to end after it was told to, as on SageMaker."""

_MOST = 16 << 20
_PROBE_SECONDS, _EXIT_SECONDS = 1.0, 30.0
"""Whoever looks whether a job runs holds its lock for an instant; a process that has written down
that it has ended needs some time to leave."""

_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK")


def is_place(name: str) -> bool:
    """Whether a job's name is the folder of one on this machine."""
    return "/" in name or (Path(name) / "job.json").is_file()


def read_description(folder: Path) -> dict[str, Any]:
    """What ``job.json`` says. Raises JobError where there is none."""
    path = folder / "job.json"
    try:
        with open_file(path) as file:
            found = json.loads(file.read(_MOST))
        found["TrainingJobName"], found["TrainingJobStatus"], found["InputDataConfig"]
        found["HyperParameters"].items(), found["Local"].items()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise JobError(
            f"{folder}: there is no training job, no job.json; name the folder of one"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise JobError(f"{path}: this is not the description of a job; delete {folder}") from error
    return dict(found)


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Write ``job.json``, whole or not at all."""
    replace(folder / "job.json", json.dumps(description, indent=2).encode() + b"\n")


def is_alive(folder: Path) -> bool:
    """Whether the job's process lives."""
    try:
        with open_file(folder / "job.lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@dataclass(repr=False)
class LocalJob(Job):
    """A training job on this machine, by its ``folder``."""

    folder: Path = field(default_factory=Path)
    _poll: ClassVar[float] = 1.0
    _late_reads: ClassVar[int] = 0

    @classmethod
    def at(cls, folder: str | Path, service: Service | None = None) -> LocalJob:
        """An existing job. Raises JobError when there is none."""
        name = read_description(Path(folder))["TrainingJobName"]
        return cls(name, service or Service(), folder=Path(folder))

    def describe(self) -> dict[str, Any]:
        """What ``describe_training_job`` would answer. One whose process is dead has failed,
        whatever it has written down. Raises JobError when there is no job."""
        found = read_description(self.folder)
        if found["TrainingJobStatus"] in RUNNING and not is_alive(self.folder):
            found = read_description(self.folder)  # it can have ended in between
            if found["TrainingJobStatus"] in RUNNING:
                found |= self._death()
        elif found["TrainingJobStatus"] in RUNNING and self._stop.exists():
            found |= {"TrainingJobStatus": "Stopping", "SecondaryStatus": "Stopping"}
        model = self.folder / "output" / "model.tar.gz"
        if model.is_file():
            found["ModelArtifacts"] = {"S3ModelArtifacts": str(model)}
        return found

    def _death(self) -> dict[str, str]:
        state, reason = "Failed", "its process was killed, for want of memory or power or by hand,"
        if self._stop.exists():
            state, reason = "Stopped", "it was told to stop, and killed"
        reason += (
            f" before it had written its model; the same fit command again, with --job-name "
            f"{self.name}, goes on from its last checkpoint"
        )
        return {
            "TrainingJobStatus": state, "SecondaryStatus": state,
            "FailureReason": f"{reason} (the log: {self.folder / 'log.txt'})",
        }  # fmt: skip

    @property
    def _stop(self) -> Path:
        return self.folder / "stop"

    def _open_log(self) -> FileReader:
        return FileReader(self.folder / "log.txt")

    def command(self, verb: str, *options: str) -> str:
        """The line to type for a command of ``recpack-train`` on this job."""
        return shlex.join(["recpack-train", verb, place(self.folder), *options])

    def stop(self) -> None:
        """Tell it to end after the batch; what it has learnt so far becomes its model. It is killed
        when that takes longer than two minutes, or at once by a second call. Raises JobError when
        it does not run."""
        status = self.status()
        if not status.running:
            raise JobError(f"{self.folder}: it does not run ({status})", status.reason)
        again = self._stop.exists()
        self._stop.touch()
        host, _, process = (self.folder / "job.lock").read_text().partition(" ")
        if again and host not in ("", socket.gethostname()):
            raise JobError(f"{self.folder}: it runs on {host}; stop it there")
        if host != socket.gethostname():
            return  # it will see the file
        with suppress(ProcessLookupError):
            if again:
                os.killpg(int(process), signal.SIGKILL)
            else:
                os.kill(int(process), signal.SIGTERM)


def place(folder: Path) -> str:
    """A folder so that the command line takes it for one."""
    text = str(folder)
    return text if "/" in text else f"./{text}"


def demand_installed(*packages: str) -> None:
    """Raise TrainError where one of the extra ``ssd`` is missing."""
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise TrainError(f"{', '.join(missing)}: not installed; pip install 'recpack[ssd]'")


def start(folder: Path, request: Request, trained: Trained, service: Service) -> LocalJob:
    """Start the process of a job, or that of one with the same settings which has not completed:
    it goes on from its checkpoints. Raises JobError for a folder with another job, or with
    something else; TrainError without PyTorch. Nothing is written then."""
    demand_installed("torch")
    if folder.is_dir() and not (folder / "job.json").exists() and any(_others(folder)):
        raise JobError(f"{folder}: it is there, and no job; choose another --job-name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JobError(f"{folder}: can't be made: {error.strerror}") from error
    with hold(folder) as lock:
        if (folder / "job.json").exists():
            _demand_same(folder, request, trained, service)
        (folder / "stop").unlink(missing_ok=True)
        write_description(folder, request)  # first: this is what makes the folder a job's
        replace(folder / "recpack.json", trained.to_json())
        job = LocalJob(request["TrainingJobName"], service, folder=folder)
        try:
            _spawn(folder, lock, service)
        except BaseException as error:
            error.add_note(f"the job may have been started; see {job.command('status')}")
            raise
    return job


def _others(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("job."))


def _demand_same(folder: Path, request: Request, trained: Trained, service: Service) -> None:
    """Raise JobError when the job of a folder, which does not run, can't go on as what is asked
    for."""
    found = read_description(folder)
    if found["TrainingJobStatus"] == "Completed":
        raise JobError(
            f"{folder}: there is a job of this name, and it has completed; choose another "
            f"--job-name, and --model {found['TrainingJobName']} to go on from its model"
        )
    model = folder / "output" / "model.tar.gz"
    if not model.exists() and not (folder / "checkpoints").exists():
        return  # it has learnt nothing yet, and what made it fail may be corrected
    before, now = _settings(found), _settings(request)
    other = [
        f"{name}: {before.get(name)}, now {now.get(name)}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    known = read_trained(str(model), service)
    other += [] if known is None else known.differences(trained)
    if other:
        raise JobError(
            f"{folder}: there is a job of this name with other settings ({'; '.join(other)}); "
            "choose another --job-name, or delete the folder"
        )


def _settings(description: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a job another one: everything but how many processes read images."""
    sources = {one["ChannelName"]: source_of(one) for one in description["InputDataConfig"]}
    local = {k: v for k, v in description["Local"].items() if k != "workers"}
    return {**sources, **description["HyperParameters"], **local}


def source_of(channel: Mapping[str, Any]) -> str:
    """The path or URL of a channel."""
    return str(channel["DataSource"]["S3DataSource"]["S3Uri"])


def _is_running(folder: Path) -> bool:
    """Whether a job that may be alive says so; one without a description yet is being started."""
    with suppress(JobError):
        return read_description(folder)["TrainingJobStatus"] in RUNNING
    return True


@contextmanager
def hold(folder: Path) -> Iterator[int]:
    """A descriptor with the job's lock, which the process that gets it keeps. Raises JobError when
    the job runs."""
    descriptor = os.open(folder / "job.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                seconds = _PROBE_SECONDS if _is_running(folder) else _EXIT_SECONDS
                if time.monotonic() > started + seconds:
                    raise JobError(
                        f"{folder}: this job runs; see recpack-train status {place(folder)}"
                    ) from None
                time.sleep(0.05)
        os.ftruncate(descriptor, 0)  # the id of a dead process
        yield descriptor
    finally:
        os.close(descriptor)


def driver(folder: Path, lock: int | str) -> list[str]:
    """The command of a job's process, in which ``_paths`` are where modules are found."""
    code = "import sys; from train.ssd.local import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", code, str(folder), str(lock)]


def _paths() -> Iterator[str]:
    """Where this process finds modules, but for places with another ``train``, such as a script
    ``train.py``, which would hide this one from the job's process and from those that read images.
    """
    home = Path(__file__).resolve().parent
    for place in map(os.path.abspath, sys.path):
        found = PathFinder.find_spec("train", [place])
        if found is None or (found.origin and Path(found.origin).resolve().parent == home):
            yield place


def _spawn(folder: Path, lock: int, service: Service) -> None:
    """Start the process, in a session of its own, so that no Ctrl-C and no closed terminal ends
    it."""
    environment = {k: v for k, v in os.environ.items() if k not in _TORCHRUN}
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(_paths())}
    if service.region_name:
        environment["AWS_REGION"] = environment["AWS_DEFAULT_REGION"] = service.region_name
    with open(folder / "log.txt", "ab") as log:
        # a SIGTERM before the process can take it waits; it inherits the mask
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            process = subprocess.Popen(
                driver(folder.absolute(), lock), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=[lock], env=environment,
            )  # fmt: skip
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    # takes its exit code, so that it does not stay as a zombie
    threading.Thread(target=process.wait, daemon=True).start()
