"""Jobs on this machine whose process trains nothing: it behaves as a test tells it to."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train import local as jobs
from train.errors import SpecError
from train.local import LocalJob
from train.ssd import local

if TYPE_CHECKING:
    import pytest

REPOSITORY = Path(__file__).parents[2]
BEHAVIOUR = "RECPACK_TEST_JOB"
"""What the process does after its first epoch: ``fail``, ``die``, write to a ``full`` disk,
``wait`` until it is stopped, ``hang`` whatever it is told; or it will ``refuse`` to begin. Else it
trains on."""

MAP = "#quality_metric: host=algo-1, epoch={0}, validation mAP <score>=({1})"
LOSS = "#quality_metric: host=algo-1, epoch={0}, batch=2 train cross_entropy <loss>=({1})"
SPEED = "#throughput_metric: host=algo-1, train throughput=12.5 records/second"


def stand_in(folder: Path, lock: int | str) -> list[str]:
    """Instead of ``train.local.driver``."""
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from {__name__} import main; main()"
    )
    return [sys.executable, "-c", code, str(folder), str(lock)]


def train(
    folder: Path, description: Mapping[str, Any], say: Callable[[str], None],
    stopped: Callable[[], bool],
) -> None:  # fmt: skip
    behaviour = os.environ.get(BEHAVIOUR, "")
    if behaviour == "refuse":
        raise SpecError(f"seed: {description['Local']['seed']} is not liked here; choose 8")
    (folder / f"process-{os.getpid()}").touch()
    state = folder / "checkpoints" / "epoch"
    state.parent.mkdir(exist_ok=True)
    first = int(state.read_text()) if state.exists() else 0
    say(f"begins with epoch {first}")
    for epoch in range(first, int(description["HyperParameters"]["epochs"])):
        say(LOSS.format(epoch, 4 / (epoch + 1)))
        say(SPEED)
        say(MAP.format(epoch, (epoch + 1) / 10))
        state.write_text(str(epoch + 1))
        if behaviour == "fail":
            raise ValueError("no luck " * 200)
        if behaviour == "full":
            for stream in (1, 2):
                os.dup2(os.open("/dev/full", os.O_WRONLY), stream)
            continue
        if behaviour == "die":
            os.kill(os.getpid(), 9)
        while behaviour == "hang" or (behaviour == "wait" and not stopped()):
            time.sleep(0.01)
        if stopped():
            break
    if os.environ.get("RANK", "0") != "0":
        return
    (folder / "output").mkdir(exist_ok=True)
    (folder / "output" / "model.tar.gz").write_bytes(b"a model")


def main() -> None:
    jobs.driver = stand_in  # of the processes that train together
    if os.environ.get(BEHAVIOUR) == "hang":
        jobs.PATIENCE_OF_STOP = 1
    folder, lock = Path(sys.argv[1]), sys.argv[2]
    sys.exit(local.run_part(folder, train) if lock == "-" else local.run(folder, train, int(lock)))


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are stand-ins, looked at often; PyTorch seems to be there."""
    monkeypatch.setattr("train.local.driver", stand_in)
    monkeypatch.setattr(LocalJob, "_poll", 0.05)
    if importlib.util.find_spec("torch") is None:
        monkeypatch.setitem(sys.modules, "torch", json)


def is_gone(process: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def until(true: Callable[[], object]) -> None:
    """Wait for what must come."""
    give_up = time.monotonic() + 300
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.02)
