"""A run into S3 that is killed, terminated or interrupted: nothing is left, or it is resumed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import recpack
from tests.cli.test_cli import run
from tests.sinks.test_s3_sink import EVERYTHING, REC, URL, photographs
from tests.support.s3server import Request, S3Server

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("photos") / "d", 60, 900, 700)


@pytest.fixture(scope="module")
def expected(photos: Path) -> bytes:
    recpack.convert(photos, photos.parent / "train.rec")
    return (photos.parent / "train.rec").read_bytes()


@pytest.fixture
def start(photos: Path, hostile: S3Server) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a run whose parts take their time."""
    hostile.fault = slow
    started: list[subprocess.Popen[str]] = []

    def begin(*options: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "recpack", "convert", os.fspath(photos), URL,
             "--endpoint-url", hostile.url, "--jobs", "2", "--uploads", "2",
             "--segment-size", "5MiB", *options],
            stdout=subprocess.DEVNULL, stderr=stderr, text=True, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def slow(request: Request) -> float | None:
    return 0.3 if request.name == "upload_part" else None


def await_parts(server: S3Server, count: int, process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and process.poll() is None:
        if any(len(upload.parts) >= count for upload in server.uploads.values()):
            return
        time.sleep(0.01)
    raise AssertionError("no parts arrived")


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
def test_interrupted(
    hostile: S3Server, start: Callable[..., subprocess.Popen[str]], number: int, group: bool
) -> None:
    process = start()
    await_parts(hostile, 1, process)
    if group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130, complaint
    assert "interrupted" in complaint
    assert "Traceback" not in complaint
    assert not hostile.objects
    assert not hostile.uploads


def test_a_worker_that_is_killed(
    hostile: S3Server, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start()
    await_parts(hostile, 1, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 1, complaint
    assert "a worker process died" in complaint
    assert "Traceback" not in complaint
    assert not hostile.objects
    assert not hostile.uploads


@pytest.mark.parametrize("attempt", range(4))
def test_kill_9_and_resume(
    hostile: S3Server, start: Callable[..., subprocess.Popen[str]], expected: bytes, attempt: int
) -> None:
    # its workers may live on for a while, and keep a pipe open
    process = start(stderr=subprocess.DEVNULL)
    await_parts(hostile, 1 + attempt, process)
    time.sleep(random.Random(attempt).random() * 0.3)
    if attempt % 2:
        process.kill()  # its workers go on for a moment
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert REC not in hostile.objects
    (upload,) = hostile.uploads.values()
    there = set(upload.parts)
    assert there
    hostile.requests.clear()
    again = start("--resume", "--quiet")
    _, complaint = again.communicate(timeout=60)
    assert again.returncode == 0, complaint
    assert hostile.rec(REC) == expected
    assert sorted(hostile.objects) == EVERYTHING
    sent = {r.number for r in hostile.requests if r.name == "upload_part"}
    assert attempt % 2 or not sent & there


def test_kill_9_and_clean_up(
    hostile: S3Server, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start()
    await_parts(hostile, 2, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert run("s3-cleanup", "s3://bucket/p/train/", "--endpoint-url", hostile.url) == 0
    assert not hostile.objects
    assert not hostile.uploads


def test_forked_workers_change_images(
    hostile: S3Server, start: Callable[..., subprocess.Popen[str]], photos: Path, tmp_path: Path
) -> None:
    """Their sizes are estimated before, which must leave nothing behind that survives no fork."""
    hostile.fault = lambda _: None
    process = start("--resize", "650")
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    recpack.convert(photos, tmp_path / "train.rec", resize=650)
    assert hostile.rec(REC) == (tmp_path / "train.rec").read_bytes()


def test_interrupted_with_resume(
    hostile: S3Server, start: Callable[..., subprocess.Popen[str]], expected: bytes
) -> None:
    process = start("--resume")
    await_parts(hostile, 2, process)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130, complaint
    assert "the upload stays open; run again with --resume" in complaint
    assert len(hostile.uploads) == 1
    again = start("--resume")
    _, complaint = again.communicate(timeout=60)
    assert again.returncode == 0, complaint
    assert hostile.rec(REC) == expected
