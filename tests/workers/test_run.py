"""Work in workers of every kind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import recpack
from recpack.workers import fork
from recpack.workers.backends import worker_count
from recpack.workers.run import run

pytestmark = pytest.mark.once


def square(number: int) -> int:
    time.sleep(0.01 * (number % 3))
    return number * number


def die(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail(number: int) -> int:
    return 1 // (number - 5)


def report(number: int) -> None:
    del number
    os.write(1, b"%d\n" % os.getpid())
    time.sleep(60)


def known(number: int) -> str | None:
    del number
    return os.environ.get("AWS_SECRET_ACCESS_KEY")


@pytest.mark.parametrize("backend", ["fork", "loky", "threading", "multiprocessing", None])
@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_order(backend: str | None, jobs: int) -> None:
    expected = [number * number for number in range(60)]
    assert list(run(square, iter(range(60)), 60, jobs=jobs, backend=backend)) == expected
    assert list(run(square, range(2), 2, jobs=jobs, backend=backend)) == [0, 1]
    assert list(run(square, range(1), 1, jobs=jobs, backend=backend)) == [0]
    assert list(run(square, [], 0, jobs=jobs, backend=backend)) == []


def test_how_many_work() -> None:
    assert worker_count(4, 100) == 4
    assert worker_count(4, 3) == 3
    assert worker_count(4, 0) == 1
    assert 1 <= worker_count(None, 100) <= 100


def test_tasks_are_made_as_they_are_needed() -> None:
    made = []

    def tasks() -> object:
        for number in range(500):
            made.append(number)
            yield number

    results = run(square, tasks(), 500, jobs=2, backend="fork")
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(made) < 40
    results.close()


@pytest.mark.parametrize("backend", ["fork", "loky"])
def test_an_error_in_a_worker(backend: str) -> None:
    with pytest.raises(ZeroDivisionError):
        list(run(fail, range(9), 9, jobs=2, backend=backend))
    assert list(run(square, range(9), 9, jobs=2, backend=backend))[8] == 64


@pytest.mark.parametrize("backend", ["fork", "loky"])
def test_a_worker_that_dies(backend: str) -> None:
    with pytest.raises(recpack.RecpackError, match="a worker process died"):
        list(run(die, range(60), 60, jobs=2, backend=backend))
    assert list(run(square, range(9), 9, jobs=2, backend=backend))[8] == 64


def test_a_worker_that_dies_where_nobody_hears_of_it() -> None:
    """A parent can leave SIGCHLD ignored, and dead workers are then gone at once."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        pool = fork.Pool(2)
        first, second = pool.workers
        os.kill(first, signal.SIGKILL)
        while Path(f"/proc/{first}").exists():
            time.sleep(0.01)
        pool.kill()
        assert not Path(f"/proc/{second}").exists()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_leaving_early_ends_the_workers() -> None:
    results = run(square, range(1000), 1000, jobs=2, backend="fork")
    next(results)
    (pool,) = fork._pools.values()
    processes = list(pool.workers)
    assert len(processes) == 2
    assert all(map(alive, processes))
    results.close()
    assert not fork._pools
    assert_gone(processes)


@pytest.mark.parametrize("backend", ["fork", "loky"])
def test_workers_end_with_their_coordinator(backend: str) -> None:
    script = (
        "import sys\nsys.path.insert(0, '.')\n"
        "from recpack.workers.run import run\nfrom tests.workers.test_run import report\n"
        f"list(run(report, range(9), 9, jobs=2, backend={backend!r}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(process.stdout.readline()) for _ in range(2)]
    process.kill()
    process.wait()
    assert_gone(pids)
    process.stdout.close()


def assert_gone(pids: list[int]) -> None:
    give_up = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_workers_that_waited_too_long_are_replaced_without_a_word() -> None:
    """loky warns of it in its own thread, which a warning that is an error would end."""
    script = (
        "import sys, time\nsys.path.insert(0, '.')\nimport joblib\n"
        "from recpack.workers.run import run\nfrom tests.workers.test_run import square\n"
        "def late():\n    for n in range(60):\n        yield n\n        time.sleep(0.05)\n"
        "with joblib.parallel_config('loky', idle_worker_timeout=0.05):\n"
        "    print(list(run(square, late(), 60, jobs=2)) == [n * n for n in range(60)])\n"
    )
    command = [sys.executable, "-W", "error::UserWarning", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout == "True\n"
    assert "A worker stopped" not in done.stderr


# the thread of a loky executor that is killed while a task arrives may end with a KeyError
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("backend", ["fork", "loky"])
def test_a_run_left_early_does_no_harm_to_the_next(backend: str) -> None:
    left = run(square, range(1000), 1000, jobs=2, backend=backend)
    next(left)
    left.close()
    now = run(square, range(60), 60, jobs=2, backend=backend)
    next(now)
    left.close()
    assert list(now)[-1] == 59 * 59


_kept: list[bytearray] = []


def hoard(number: int) -> int:
    """Grows by 400 MB, then works on for longer than loky waits until it looks."""
    if number > 3 and not _kept:
        _kept.append(bytearray(b"x" * (400 << 20)))
    time.sleep(0.15)
    return os.getpid()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # as above
def test_large_workers_live_on() -> None:
    pids = list(run(hoard, range(40), 40, jobs=2))
    assert len(set(pids)) == 2
    left = run(square, range(1000), 1000, jobs=2)
    next(left)
    left.close()  # they go, and what they hoard


def test_workers_have_the_credentials_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in ("old", "new", "new", None):
        if secret is None:
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        else:
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        assert set(run(known, range(4), 4, jobs=2)) == {secret}


def test_the_bytes_are_those_of_any_backend(devkit: Path, tmp_path: Path) -> None:
    recpack.convert(devkit, tmp_path / "a.rec", jobs=1)
    options = {"jobs": 2, "segment_size": "1MiB", "backend": "fork"}
    recpack.convert(devkit, tmp_path / "b.rec", **options)
    assert (tmp_path / "b.rec").read_bytes() == (tmp_path / "a.rec").read_bytes()
    options |= {"reencode": True, "resize": 50}
    recpack.convert(devkit, tmp_path / "c.rec", **options)
    recpack.convert(devkit, tmp_path / "d.rec", **options | {"jobs": 1})
    assert (tmp_path / "c.rec").read_bytes() == (tmp_path / "d.rec").read_bytes()
