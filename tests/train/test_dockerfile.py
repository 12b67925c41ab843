"""The Dockerfile, as far as it can be tried without Docker: what it copies is enough to install
recpack, and its entry point runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from train.wheel import build_wheel

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
STEPS = re.findall(
    r"^(ARG|FROM|COPY|RUN|ENTRYPOINT|WORKDIR|ENV|LABEL|EXPOSE) (.*)$",
    (ROOT / "Dockerfile").read_text().replace("\\\n", ""), re.MULTILINE,
)  # fmt: skip


def of(kind: str) -> list[str]:
    return [rest for name, rest in STEPS if name == kind]


def copied() -> list[str]:
    return [name for rest in of("COPY") for name in rest.split()[:-1]]


def test_every_line_is_a_step() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    assert len(STEPS) == len([line for line in lines if line and not line.startswith("#")])
    assert of("FROM") == ["${BASE}"]
    assert of("ARG")[0].startswith("BASE=pytorch/pytorch:")


def test_what_is_copied_is_there_and_not_ignored() -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in kept
    for name in copied():
        assert (ROOT / name).exists()
        assert f"!{name}" in kept


@pytest.mark.parametrize("command", ["train", "serve"])
def test_the_entry_point_takes_the_commands_of_sagemaker(command: str) -> None:
    _, *words = json.loads(of("ENTRYPOINT")[0])
    run = subprocess.run(
        [sys.executable, *words, command, "--help"], capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "{train,serve}" in run.stdout


@pytest.mark.slow
def test_what_is_copied_can_be_installed(tmp_path: Path) -> None:
    """The wheel that pip builds there has the files of the one that is sent to containers."""
    for name in copied():
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
