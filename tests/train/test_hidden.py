"""Scripts for SageMaker are called ``train.py``, and so hide the package of that name."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import recpack
import train

ROOT = Path(recpack.__file__).parents[1]


def test_it_is_the_package_where_nothing_hides_it() -> None:
    assert recpack.train is train
    assert recpack.train.fit is train.fit
    assert importlib.import_module("recpack.train") is train


@pytest.mark.parametrize("line", ["import recpack.train", "from recpack.train import fit"])
def test_it_is_imported_as_a_module(hidden: Path, line: str) -> None:
    """Also first of all, beside a train.py, and in a process that has imported ``recpack``."""
    test = f"{line}; import recpack; assert recpack.train.fit; print(recpack.train.__file__)"
    for before in ("", "import recpack; ", "import recpack; recpack.train; "):
        ours = str(ROOT / "train" / "__init__.py")
        assert run(hidden, "-c", before + test).split() == [ours]
        assert run(ROOT, "-c", before + test).split() == [ours]


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """A folder with a train.py that uses the package."""
    (tmp_path / "train.py").write_text(
        "import sys\n"
        "before = set(sys.modules)\n"
        "import recpack\n"
        "package = recpack.train\n"
        "assert package.Job is package.attach.__globals__['Job']\n"
        "assert package.TrainError is recpack.train.TrainError\n"
        "import train\n"
        "assert train.__file__ == __file__, train.__file__\n"
        "print(package.__file__)\n"
        "result = recpack.Options(difficult='drop')\n"
    )
    return tmp_path


def run(folder: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_script_called_train_gets_the_package(hidden: Path) -> None:
    ours = str(ROOT / "train" / "__init__.py")
    assert set(run(hidden, "train.py").split()) == {ours}
    assert run(hidden, "-c", "import train").split() == [ours]


def test_the_command_starts_where_train_is_hidden(hidden: Path) -> None:
    start = "from recpack.cli.train import console; console()"
    assert "usage: recpack-train" in run(
        hidden, "-c", f"import sys; sys.argv[1:] = ['--help']; {start}"
    )
    run(hidden, "-m", "recpack", "--version")


def test_a_folder_called_train_hides_nothing(tmp_path: Path) -> None:
    """As a data set has: a folder without an __init__.py."""
    (tmp_path / "train").mkdir()
    assert run(tmp_path, "-c", "import recpack; print(recpack.train.fit.__name__)") == "fit\n"
