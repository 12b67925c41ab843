"""``recpack completion``: what the real shells complete."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import train.cli
from recpack.cli import app
from recpack.cli.process import explain
from tests.support.missing import missing

pytestmark = pytest.mark.once

CASES = [
    ("recpack conv", {"convert"}),
    ("recpack s", {"shuffle", "split", "s3-cleanup"}),
    ("recpack convert --on", {"--on-error", "--one-based"}),
    ("recpack convert --negatives ", {"drop", "keep", "error"}),
    ("recpack convert --backend th", {"threading"}),
    ("recpack verify da", {"data.rec"}),
    ("recpack verify data.rec --reader mx", {"mxnet"}),
    ("recpack verify data.rec --against da", {"data.rec"}),
    ("recpack explain image-le", {"image-leaked"}),
    ("recpack help insp", {"inspect"}),
    ("recpack completion f", {"fish"}),
    ("recpack unpack data.rec fol", {"folder/"}),
    ("recpack-train fi", {"fit"}),
    ("recpack-train fit --algorithm p", {"pytorch"}),
    ("recpack-train fit --train da", {"data.rec"}),
    ("recpack-train predict voc-1 da", {"data.rec"}),
]
"""A line that is not finished, and what the shell offers."""

_BASH = """\
source recpack.sh; source recpack-train.sh
read -ra COMP_WORDS <<< "$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_shtab_$(tr - _ <<< "${COMP_WORDS[0]}")
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def scripts(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with the scripts for the test's shell, a file and a folder."""
    shell = request.node.name.split("_")[1]
    if shutil.which(shell) is None:
        missing(shell, "install it, as .ci/run does")
    (tmp_path / "data.rec").touch()
    (tmp_path / "folder").mkdir()
    for name, main in (("recpack", app.main), ("recpack-train", train.cli.main)):
        with open(tmp_path / f"{name}.sh", "w") as file, pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", file)
            with pytest.raises(SystemExit, match=r"^(0|None)$"):
                main(["completion", shell])
    return tmp_path


def offered(command: list[str], folder: Path) -> set[str]:
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return {line.partition("\t")[0] for line in run.stdout.splitlines()} - {""}


def test_bash_completes(scripts: Path) -> None:
    for line, words in CASES:
        found = offered(["bash", "-c", _BASH, "bash", line], scripts)
        assert {word.rstrip("/") for word in found} == {word.rstrip("/") for word in words}, line


def test_fish_completes(scripts: Path) -> None:
    source = "source recpack.sh; source recpack-train.sh"
    for line, words in CASES:
        found = offered(["fish", "-N", "-c", f"{source}; complete -C '{line}'"], scripts)
        assert found >= words, line
        assert not {word for word in found if not word.startswith(line.split(" ")[-1])}, line


def test_zsh_completes(scripts: Path) -> None:
    """In a terminal, as a person types: zsh has no other way."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(scripts)
        os.execvpe("zsh", ["zsh", "-f", "-i"], os.environ | {"TERM": "xterm", "PS1": "> "})
    try:
        answer(terminal, f"{_ZSH}; echo re''ady\n", "ready")
        for line, words in CASES:
            if len(words) == 1:
                (word,) = words
                full = f"{line.rpartition(' ')[0]} {word}"
                answer(terminal, f"{line}\t\x18", f"<<{full}")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


_ZSH = """\
autoload -Uz compinit; compinit -u -D; eval "$(<recpack.sh)"; eval "$(<recpack-train.sh)"; \
show() { print -r -- "<<$BUFFER>>"; BUFFER= }; zle -N show; bindkey '^X' show"""
"""Ctrl-X shows the line that is being typed, and empties it."""


def answer(terminal: int, keys: str, expected: str) -> None:
    """Type, and read until something is there."""
    os.write(terminal, keys.encode())
    screen, end = "", time.monotonic() + 20
    while expected not in screen:
        ready, _, _ = select.select([terminal], [], [], max(end - time.monotonic(), 0))
        assert ready, (keys, screen)
        screen += os.read(terminal, 4096).decode(errors="replace")


def test_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(ModuleNotFoundError) as stop:
        app.main(["completion", "bash"])
    told = "the module shtab is missing; install recpack again, or pip install shtab"
    assert explain(stop.value) == told
