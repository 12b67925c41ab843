"""What SageMaker tells a container and where: the folders below ``/opt/ml``, settings, channels.

Sources: AWS developer guide, "How Amazon SageMaker AI Provides Training Information", "How Amazon
SageMaker AI Processes Training Output", "Input/Output Interface for the Object Detection
Algorithm".
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import msgspec

from ..errors import SpecError, UsageError
from ..files import open_file
from ..hyperparameters import Hyperparameters
from ..names import is_whole_set
from ..script_mode import decoded, is_ours

_MOST_SETTINGS = 16 << 20
_OF_SERVICE = ("_", "sagemaker_")
"""How names of hyperparameters begin that are SageMaker's own business."""
_DEFAULTS = {"label_width": "350"}
"""Of the built-in algorithm, and not recpack's, where a job does not say them."""
LONGEST_REASON = 1024
"""Characters of a failure's reason that SageMaker shows."""


def say(text: str, level: str = "INFO") -> None:
    """A line as the built-in algorithm logs it."""
    if level == "INFO" and not is_first():
        return
    moment = time.strftime("%m/%d/%Y %H:%M:%S")
    # a name of bytes that are no text can't be printed
    for line in text.encode(errors="backslashreplace").decode().splitlines():
        print(f"[{moment} {level} {threading.get_ident()}] {line}", flush=True)


def is_first() -> bool:
    """Whether this process is the one that reports and writes."""
    return os.environ.get("RANK", "0") == "0"


class _Machines(TypedDict, total=False):
    hosts: list[str]
    current_host: str
    network_interface_name: str


_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class Container:
    """The folders of a container. Its settings are read when they are first used; UsageError for
    those that can't be."""

    root: Path = Path("/opt/ml")

    def _settings(self, name: str, kind: type[_Settings]) -> _Settings:
        """What a file of ``input/config`` says; nothing where it is not there."""
        path = self.root / "input" / "config" / f"{name}.json"
        try:
            with open_file(path) as file:
                return msgspec.json.decode(file.read(_MOST_SETTINGS), type=kind)
        except FileNotFoundError:
            return kind()
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{path}: can't be read: {error}") from error

    @cached_property
    def hyperparameters(self) -> Hyperparameters:
        """Those of the job. Raises UsageError that lists everything that is wrong."""
        found = self._settings("hyperparameters", dict[str, Any])
        given = {name: str(value) for name, value in found.items()}
        if is_ours(given):
            given = decoded(given)
        strings = {
            name: value
            for name, value in given.items()
            if value and not name.startswith(_OF_SERVICE)
        }
        say(f"Reading hyperparameters: {json.dumps(strings, sort_keys=True)}")
        for name in ("num_classes", "num_training_samples"):
            if name not in strings:
                raise UsageError(f"{name}: this hyperparameter is required")
        strings.setdefault("use_pretrained_model", str(int(self.has("pretrained"))))
        learning = Hyperparameters.from_strings(_DEFAULTS | strings)
        if learning.kv_store == "dist_async":
            raise UsageError("kv_store: dist_async; the machines train in step here: dist_sync")
        if learning.use_pretrained_model and not self.has("pretrained") and not self.has("model"):
            raise UsageError(
                "use_pretrained_model: 1, but there is no channel pretrained with a .params file "
                "or a model.tar.gz; add one, or begin from nothing with use_pretrained_model=0"
            )
        return learning

    @cached_property
    def machines(self) -> _Machines:
        """The settings of the machines that train together."""
        return self._settings("resourceconfig", _Machines)

    @property
    def hosts(self) -> list[str]:
        """The names of these machines."""
        return self.machines.get("hosts") or ["algo-1"]

    @property
    def number(self) -> int:
        """This machine's among ``hosts``."""
        current = self.machines.get("current_host", self.hosts[0])
        if current not in self.hosts:
            raise UsageError(f"current_host: {current!r} is none of {', '.join(self.hosts)}")
        return self.hosts.index(current)

    @cached_property
    def channels(self) -> dict[str, dict[str, Any]]:
        """The settings of the channels; without a file of them, all folders in File mode."""
        found = self._settings("inputdataconfig", dict[str, dict[str, Any]])
        data = self.root / "input" / "data"
        if not found and data.is_dir():
            return {one.name: {} for one in data.iterdir() if one.is_dir()}
        return found

    def has(self, channel: str) -> bool:
        """Whether the job has a channel."""
        return channel in self.channels

    def folder(self, channel: str) -> Path:
        """Where the files of a channel are."""
        return self.root / "input" / "data" / channel

    def is_piped(self, channel: str) -> bool:
        """Whether a channel is in Pipe mode."""
        return self.channels.get(channel, {}).get("TrainingInputMode") == "Pipe"

    @property
    def model(self) -> Path:
        """Where the model goes."""
        return self.root / "model"

    @property
    def failure(self) -> Path:
        """Where a failure is told."""
        return self.root / "output" / "failure"

    @property
    def checkpoints(self) -> Path | None:
        """Where the state is kept, in a job that keeps one."""
        folder = self.root / "checkpoints"
        return folder if folder.is_dir() else None

    def files(self, channel: str, *endings: str) -> list[Path]:
        """The file of a channel with one of these endings, or all shards of one set, in order.
        Raises SpecError for several others."""
        found = sorted(
            path for path in self.folder(channel).rglob("*") if path.name.endswith(endings)
        )
        if len(found) > 1 and not is_whole_set([path.name for path in found]):
            raise SpecError(
                f"{channel}: {len(found)} files, and there must be one, or all shards of one set: "
                f"{', '.join(path.name for path in found[:5])}"
            )
        return found

    def one_file(self, channel: str, *endings: str) -> Path | None:
        """The file of a channel with one of these endings; None where there is none. Raises
        SpecError for several."""
        return next(iter(self.files(channel, *endings)), None)

    def write_failure(self, text: str) -> None:
        """Tell why the job fails: in the log, and in ``failure`` if no other process has and it
        can be written."""
        say(text, "ERROR")
        with suppress(OSError):
            self.failure.parent.mkdir(parents=True, exist_ok=True)
            with open(self.failure, "x", errors="backslashreplace") as file:
                file.write(text[:LONGEST_REASON])
