"""What type checkers see of the public functions: every keyword and every wrong choice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CALLS = ROOT / "tests" / "typed_calls.py"


def mypy(file: Path) -> str:
    """What mypy says of a file, in the words of this project's settings."""
    command = [sys.executable, "-m", "mypy", "--follow-imports", "silent", str(file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_right_calls_pass_and_wrong_ones_do_not(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    text = CALLS.read_text()
    assert text.count("# type: ignore[") > 20
    assert mypy(CALLS).startswith("Success")
    # without its comments each wrong call is an error of its own line
    bare = tmp_path / "bare.py"
    bare.write_text("\n".join(line.partition("  # type: ignore[")[0] for line in text.split("\n")))
    wrong = [n for n, line in enumerate(text.split("\n"), 1) if "  # type: ignore[" in line]
    told = {int(line.split(":")[1]) for line in mypy(bare).splitlines() if ": error:" in line}
    assert sorted(told) == wrong
