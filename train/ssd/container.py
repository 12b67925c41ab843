"""SageMaker's container contract: settings and data below ``/opt/ml`` → a model below it.

Sources: AWS developer guide, "How Amazon SageMaker AI Provides Training Information", "How Amazon
SageMaker AI Processes Training Output", "Use Your Own Inference Code with Hosting Services"; input
channels as in "Input/Output Interface for the Object Detection Algorithm". Failures and exit codes
are such as the built-in algorithm has.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING

from ..errors import SpecError, TrainError
from ..files import open_file
from ..hyperparameters import Hyperparameters
from .contract import Container, is_first, say
from .pipes import Pipes, Stopped

if TYPE_CHECKING:
    from .artifact import Model
    from .fitting import Setup, Source

DONE, FAILED, REFUSED = 0, 1, 2
"""Exit codes: the last one for what the user can repair."""

_GRACE = 90
"""Seconds after SIGTERM in which a training ends by itself; SageMaker kills it after 120."""
_UNFINISHED = re.compile(r".*\.[0-9a-f]{16}")
_PORT = "7777"


class _Stop:
    """Whether SIGTERM has come. A training that does not end within the grace is ended, with the
    model of its last epoch."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self.told = False

    def __call__(self) -> bool:
        return self.told

    @contextmanager
    def listening(self) -> Iterator[None]:
        handlers = {signal.SIGTERM: self._stop, signal.SIGALRM: self._end}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            signal.alarm(0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.told = True
        signal.alarm(_GRACE)

    def _end(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        os._exit(_ended(self._container))


def _ended(container: Container) -> int:
    """The exit code of a training that was stopped: is a model there? What was being written is
    removed."""
    files = list(container.model.iterdir()) if container.model.is_dir() else []
    for path in files:
        if _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)
    if any(path.suffix == ".params" for path in files):
        return DONE
    container.write_failure("AlgorithmError: told to stop before the end of the first epoch")
    return FAILED


def train(container: Container) -> int:
    """Train as the container's settings say; the exit code. Nothing is raised: what fails is told
    in the log and in ``output/failure``."""
    stop = _Stop(container)
    if "LOCAL_RANK" not in os.environ:
        say(f"Training job {os.environ.get('TRAINING_JOB_NAME', 'without a name')}")
    with stop.listening():
        try:
            code = _train(container, stop)
        except Stopped:
            code = _ended(container)
        except Exception as error:
            code = _told(container, error)
    say(f"Training ended with exit code {code}")
    return code


def _told(container: Container, error: Exception) -> int:
    ours = isinstance(error, TrainError) or _is_of_data(error)
    if type(error).__name__ == "OutOfMemoryError":
        ours = True
        error = TrainError(
            "mini_batch_size: the GPU has too little memory; choose fewer images, or a smaller "
            f"image_shape. {error}"
        )
    if not ours:
        say(traceback.format_exc(), "ERROR")
    kind = "ClientError" if ours else "AlgorithmError"
    what = str(error) if ours else f"{type(error).__name__}: {error}"
    container.write_failure(f"{kind}: {what}")
    return REFUSED if ours else FAILED


def _is_of_data(error: Exception) -> bool:
    import recpack

    return isinstance(error, recpack.RecpackError)


def _train(container: Container, stop: _Stop) -> int:
    if "LOCAL_RANK" not in os.environ:
        container.failure.unlink(missing_ok=True)  # an earlier run's, where it is the same folder
    learning = container.hyperparameters
    import torch

    gpus = torch.cuda.device_count()
    if "LOCAL_RANK" not in os.environ and (gpus > 1 or len(container.hosts) > 1):
        return _launch(container, max(gpus, 1), stop)
    say(f"Final configuration: {json.dumps(learning.as_strings(), sort_keys=True)}")
    from .artifact import write_files
    from .fitting import fit

    container.model.mkdir(parents=True, exist_ok=True)

    def keep(model: Model) -> None:
        write_files(container.model, model)

    with ExitStack() as stack:
        model = fit(_setup(container, learning, stop, stack), say, stop, keep)
    if is_first():
        keep(model)
    return DONE


def _setup(container: Container, learning: Hyperparameters, stop: _Stop, stack: ExitStack) -> Setup:
    from .artifact import read_model, read_weights
    from .fitting import Setup

    missing = [name for name in ("train", "validation") if not container.has(name)]
    if missing:
        raise SpecError(
            f"{missing[0]}: there is no such channel; those of this job are "
            f"{', '.join(sorted(container.channels)) or 'none'}"
        )
    model = pretrained = None
    if container.has("model"):
        found = container.one_file("model", ".tar.gz")
        model = read_model(found or container.folder("model"))
    if container.has("pretrained"):
        found = container.one_file("pretrained", ".tar.gz", ".params")
        pretrained = read_weights(found or container.folder("pretrained"))
    sources: dict[str, Source] = {}
    classes: list[str] = []  # those of train are those of validation
    for name in ("train", "validation"):
        sources[name] = _source(container, name, classes, stop, stack)
    return Setup(
        hyperparameters=learning, model=model, pretrained=pretrained,
        checkpoints=container.checkpoints, train=sources["train"], validation=sources["validation"],
    )  # fmt: skip


def _source(
    container: Container, channel: str, classes: list[str], stop: _Stop, stack: ExitStack
) -> Source:
    """The ``.rec`` of a channel or its shards, its streams, or a ``.rec`` made of images and JSON
    files, which tells the ``classes``."""
    if container.channels[channel].get("RecordWrapperType") == "RecordIO":
        raise SpecError(
            f"{channel}: augmented manifests are read by the built-in algorithm only; pack the "
            "images with recpack convert"
        )
    if container.is_piped(channel):
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise SpecError(
                f"{channel}: a pipe feeds one process, and {os.environ['WORLD_SIZE']} train "
                "together; use File mode"
            )
        return Pipes(container.root / "input" / "data", channel, stop)
    if container.has(f"{channel}_annotation"):
        return _packed(container, channel, classes, stack)
    found = container.files(channel, ".rec")
    if not found:
        raise SpecError(
            f"{channel}: there is no .rec in {container.folder(channel)}, and no channel "
            f"{channel}_annotation; write one with recpack convert"
        )
    return found if len(found) > 1 else found[0]


def _packed(container: Container, channel: str, classes: list[str], stack: ExitStack) -> Path:
    import recpack

    folder = stack.enter_context(TemporaryDirectory(prefix="recpack-"))
    result = recpack.convert(
        container.root / "input" / "data", Path(folder) / f"{channel}.rec",
        source_format="image-json", set=channel, negatives="keep", classes=classes or None,
    )  # fmt: skip
    classes[:] = result.manifest.classes
    count = container.hyperparameters.num_classes
    if len(classes) > count:
        raise SpecError(
            f"num_classes: {count}, but {channel}_annotation has {len(classes)} classes: "
            f"{', '.join(classes)}"
        )
    say(f"{channel}: {result.manifest.num_samples} images of {', '.join(classes)}")
    return Path(folder) / f"{channel}.rec"


def _launch(container: Container, gpus: int, stop: Callable[[], bool]) -> int:
    """Train in one process for each GPU of all machines, by torchrun."""
    interface = container.machines.get("network_interface_name")
    names = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")
    network = dict.fromkeys(names, interface) if interface else {}
    say(f"Starting {gpus} processes on each of {len(container.hosts)} machines")
    child = subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run",
            "--nnodes", str(len(container.hosts)), "--node-rank", str(container.number),
            "--nproc-per-node", str(gpus), "--master-addr", container.hosts[0],
            "--master-port", os.environ.get("MASTER_PORT", _PORT), "-m", "train.ssd", "train",
            "--root", str(container.root),
        ],
        env={**os.environ, **network},
    )  # fmt: skip
    sent = False
    while True:
        try:
            code = child.wait(0.5)
            break
        except subprocess.TimeoutExpired:
            if stop() and not sent:
                child.terminate()
                sent = True
    if stop():  # the first machine has the model
        return DONE if container.number else _ended(container)
    if code == 0:
        return DONE
    container.write_failure(f"AlgorithmError: a process of the training ended with {code}")
    with open_file(container.failure, "r") as file:
        return REFUSED if file.read(20).startswith("ClientError") else FAILED


def serve(container: Container) -> int:
    """Serve the container's model until SIGTERM; the exit code."""
    from .serving import serve as serve_model

    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    try:
        serve_model(container.model, host="0.0.0.0", port=port, say=say)
    except TrainError as error:
        say(f"ClientError: {error}", "ERROR")
        return FAILED
    return DONE


def main(arguments: list[str] | None = None) -> int:
    """``train`` or ``serve``, as SageMaker calls its containers; the exit code."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m train.ssd", description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["train", "serve"])
    parser.add_argument(
        "--root", type=Path, default=Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")),
        help="where the folders of the contract are (default: %(default)s)",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    container = Container(args.root)
    return train(container) if args.command == "train" else serve(container)
