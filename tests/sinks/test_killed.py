"""Killed, terminated, interrupted: nothing that looks finished, and the next run succeeds."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

FINAL = {"train.rec", "train.idx", "train.lst", "train.json"}


SLOW = ("--resize", "900", "--encoding", "png", "--quality", "0")


def start(
    devkit: Path, output: Path, *options: str, stderr: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "recpack", "convert", os.fspath(devkit), os.fspath(output),
         "--jobs", "2", "--segment-size", "64KiB", *options],
        stdout=subprocess.DEVNULL, stderr=stderr, text=True, start_new_session=True,
    )  # fmt: skip


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def wait_for_bytes(folder: Path, process: subprocess.Popen[str] | None = None) -> None:
    """Until some segments are on the disk."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        for partial in folder.glob("train.rec.recpack-" + "[0-9a-f]" * 16):
            with suppress(FileNotFoundError):
                if partial.stat().st_size:
                    return
        time.sleep(0.005)
    raise AssertionError("the run never began to write")


def finish(devkit: Path, output: Path) -> None:
    process = start(devkit, output)
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert names(output.parent) == FINAL


@pytest.mark.parametrize("attempt", range(4))
def test_kill_9_at_any_moment(devkit: Path, tmp_path: Path, attempt: int) -> None:
    output = tmp_path / "out" / "train.rec"
    process = start(devkit, output, *SLOW)
    if attempt:
        wait_for_bytes(output.parent, process)
        time.sleep(random.Random(attempt).random() * 0.3)
    else:
        time.sleep(0.4)
    os.killpg(process.pid, signal.SIGKILL)  # workers and all, like a power cut
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not names(output.parent) & FINAL
    finish(devkit, output)


def test_kill_9_of_the_coordinator_alone(devkit: Path, tmp_path: Path) -> None:
    """Its workers may live on for a moment; they must not harm the next run."""
    output = tmp_path / "out" / "train.rec"
    process = start(devkit, output, *SLOW, stderr=subprocess.DEVNULL)
    wait_for_bytes(output.parent, process)
    process.kill()
    process.wait()
    assert not names(output.parent) & FINAL
    finish(devkit, output)


@pytest.mark.parametrize(
    ("number", "group"),
    [
        (signal.SIGINT, True),
        (signal.SIGINT, False),
        (signal.SIGTERM, False),
        (signal.SIGTERM, True),
        (signal.SIGHUP, True),
        (signal.SIGHUP, False),
    ],
)
def test_interrupted_cleans_up_and_exits_130(
    devkit: Path, tmp_path: Path, number: signal.Signals, group: bool
) -> None:
    output = tmp_path / "out" / "train.rec"
    process = start(devkit, output, *SLOW)
    wait_for_bytes(output.parent, process)
    if group:
        os.killpg(process.pid, number)  # Ctrl-C reaches the workers too
    else:
        process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130, complaint
    assert "interrupted" in complaint
    assert "Traceback" not in complaint
    assert names(output.parent) == set()


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_with_the_workers_of_joblib(
    devkit: Path,
    tmp_path: Path,
    number: signal.Signals,
    bare: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A ``bare`` machine, as the images of containers, has neither pgrep nor psutil."""
    if bare:
        (tmp_path / "psutil.py").write_text("raise ImportError")
        monkeypatch.setenv("PATH", os.fspath(tmp_path))
        monkeypatch.setenv(
            "PYTHONPATH",
            os.pathsep.join([os.fspath(tmp_path), os.fspath(Path(__file__).parents[2])]),
        )
    output = tmp_path / "out" / "train.rec"
    process = start(devkit, output, *SLOW, "--backend", "loky")
    wait_for_bytes(output.parent, process)
    os.killpg(process.pid, number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130, complaint
    assert "Traceback" not in complaint
    assert names(output.parent) == set()


def test_a_worker_that_is_killed_fails_the_run(devkit: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "train.rec"
    process = start(devkit, output, *SLOW)
    wait_for_bytes(output.parent, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 1, complaint
    assert "a worker process died" in complaint
    assert "Traceback" not in complaint
    assert names(output.parent) == set()


def test_an_interrupt_while_python_executes_text(tmp_path: Path) -> None:
    """As dataclasses do when they are imported."""
    (tmp_path / "interrupted.py").write_text(
        "from recpack.cli import app\n\n\ndef main(own_process):\n    try:\n"
        "        exec('raise KeyboardInterrupt')\n    except KeyboardInterrupt:\n"
        "        return 130\n\n\napp.main = main\napp.console()\n"
    )
    command = [sys.executable, "-m", "interrupted"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 130
