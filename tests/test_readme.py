"""Every command and snippet of the README runs, as a reader would type it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.devkits import jpeg, make_photos
from tests.test_cli import run

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def here(devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the README takes for granted: a devkit, a folder of photos, a picture."""
    (tmp_path / "VOCdevkit").symlink_to(devkit)
    make_photos(tmp_path / "photos")
    (tmp_path / "cat.jpg").write_bytes(jpeg())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands(here: Path) -> None:
    commands = [
        shlex.split(line, comments=True)
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("recpack ")
    ]
    assert len(commands) >= 10
    for command in commands:
        for old in {"pack": ["train.rec", "train.idx", "train.json"], "list": ["train.lst"]}.get(
            command[1], []
        ):
            (here / old).unlink()  # the tour makes the same files in two ways
        assert run(*command[1:]) == 0, command


def test_the_snippets(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = blocks("python")
    exec(compile(snippet, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert out.startswith("120 ")
    assert (here / "own.json").exists()


def test_the_makefile_has_what_the_readme_says() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    targets = [
        line.split()[1]
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("make ")
    ]
    assert targets == ["demo", "test"]
    assert all(f"\n{target}:" in makefile for target in targets)
