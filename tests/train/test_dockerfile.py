"""The Dockerfiles, as far as they can be tried without Docker: what they copy is enough to install
recpack, and their entry points run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from train.wheel import build_wheel

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
FILES = ("Dockerfile", "Dockerfile.jobs")


def steps(file: str) -> list[tuple[str, str]]:
    text = (ROOT / file).read_text().replace("\\\n", "")
    return re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE)


def of(kind: str, file: str = "Dockerfile") -> list[str]:
    return [rest for name, rest in steps(file) if name == kind]


def copied(file: str) -> list[str]:
    """What comes from the checkout."""
    steps = (rest.split() for rest in of("COPY", file) if not rest.startswith("--from="))
    return [name for step in steps for name in step[:-1]]


@pytest.mark.parametrize("file", FILES)
def test_every_line_is_a_step(file: str) -> None:
    lines = (ROOT / file).read_text().replace("\\\n", "").splitlines()
    assert len(steps(file)) == len([line for line in lines if line and not line.startswith("#")])
    assert all(base.startswith("${BASE}") for base in of("FROM", file))
    assert re.fullmatch(r"BASE=[a-z/]+:\d+\.\d+\.\d+-.*", of("ARG", file)[0])


@pytest.mark.parametrize("file", FILES)
def test_what_is_copied_is_there_and_not_ignored(file: str) -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in kept
    for name in copied(file):
        assert (ROOT / name).exists()
        assert f"!{name}" in kept


def test_jobs_run_as_nobody_and_start_with_recpack() -> None:
    assert of("USER", "Dockerfile.jobs") == ["65534:65534"]
    (command,) = json.loads(of("ENTRYPOINT", "Dockerfile.jobs")[0])
    assert command in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.mark.parametrize("command", ["train", "serve"])
def test_the_entry_point_takes_the_commands_of_sagemaker(command: str) -> None:
    _, *words = json.loads(of("ENTRYPOINT")[0])
    run = subprocess.run(
        [sys.executable, *words, command, "--help"], capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "{train,serve}" in run.stdout


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_what_is_copied_can_be_installed(file: str, tmp_path: Path) -> None:
    """The wheel that pip builds there has the files of the one that is sent to containers."""
    for name in copied(file):
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, tmp_path)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "-w", "wheels", "."],
        check=True, cwd=tmp_path,
    )  # fmt: skip
    (built,) = (tmp_path / "wheels").iterdir()
    name, data = build_wheel()
    sent = tmp_path / name
    sent.write_bytes(data)
    for one in ("recpack/", "train/"):
        files = [
            sorted(file for file in ZipFile(path).namelist() if file.startswith(one))
            for path in (built, sent)
        ]
        assert files[0] == files[1]
        assert len(files[0]) > 30
