"""Some calls on files fail in turn, and some power cuts; the harness finds what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.calls import WRITES
from tests.faults.local_commands import Command
from tests.faults.local_run import Harness
from tests.faults.power import cuts

pytestmark = [pytest.mark.once, pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")]

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_promise_holds() -> None:
    """In processes of their own, because others fork from a process that has threads."""
    run = subprocess.run(
        [sys.executable, "-P", "-m", "tests.faults", "local", "--stride", "43"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": os.fspath(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


def write_in_place(inputs: Path, out: Path) -> int:
    (out / "x.txt").write_bytes((inputs / "x.txt").read_bytes())
    return 0


def write_without_sync(inputs: Path, out: Path) -> int:
    (out / "x.tmp").write_bytes((inputs / "x.txt").read_bytes())
    (out / "x.tmp").rename(out / "x.txt")
    return 0


def write_well(inputs: Path, out: Path) -> int:
    try:
        with (out / "x.tmp").open("wb") as file:
            file.write((inputs / "x.txt").read_bytes())
            file.flush()
            os.fsync(file.fileno())
        (out / "x.tmp").rename(out / "x.txt")
        folder = os.open(out, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except (OSError, KeyboardInterrupt):
        if not (out / "x.tmp").exists():
            os.write(2, b"x.txt is whole")
        (out / "x.tmp").unlink(missing_ok=True)
        return 1
    return 0


@pytest.fixture
def harness(tmp_path: Path) -> Callable[[Callable[[Path, Path], int]], Harness]:
    for state in ("old", "new"):
        (tmp_path / state).mkdir()
        (tmp_path / state / "x.txt").write_text(state * 100)

    def make(work: Callable[[Path, Path], int]) -> Harness:
        return Harness(
            Command("x", (), ["x.txt"], replaces="always", work=work), tmp_path, tmp_path
        )

    return make


def wrong(harness: Harness) -> list[str]:
    """What is wrong after errors and kills."""
    return [
        broken.wrong
        for case in harness.cases(WRITES)
        for broken in harness.judge(case, harness.attempt(case, WRITES))
    ]


def test_a_file_written_in_place_is_found(
    harness: Callable[[Callable[[Path, Path], int]], Harness],
) -> None:
    found = wrong(harness(write_in_place))
    assert "x.txt: neither the old output nor the new one" in found
    assert any(one.startswith("traceback: OSError") for one in found)


def test_a_missing_sync_is_found(
    harness: Callable[[Callable[[Path, Path], int]], Harness], tmp_path: Path
) -> None:
    made = harness(write_without_sync)
    assert "left behind: x.tmp" in wrong(made)
    found = {one.wrong for broken in cuts(made, tmp_path, slice(None), 1) for one in broken}
    assert "x.txt: neither the old output nor the new one" in found
    assert "success was reported, but the output did not survive" in found


def test_a_sound_writer_passes(
    harness: Callable[[Callable[[Path, Path], int]], Harness], tmp_path: Path
) -> None:
    made = harness(write_well)
    assert [one for broken in cuts(made, tmp_path, slice(None), 1) for one in broken] == []
    assert wrong(made) == []
