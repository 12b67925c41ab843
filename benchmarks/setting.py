"""What all suites share: folders, sizes, and the command lines of programs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import LARGE, SMALL, first_images, make_devkit
from benchmarks.environments import mxnet_python

HERE = Path(__file__).parent

IM2REC_IMPORTS = "import numpy; numpy.bool = bool; import mxnet, cv2"
_IM2REC = (
    "import os, runpy, sys, numpy; numpy.bool = bool; import mxnet; "
    "tool = os.path.join(os.path.dirname(mxnet.__file__), 'tools', 'im2rec.py'); "
    "sys.argv[0] = tool; runpy.run_path(tool, run_name='__main__')"
)
"""The wheel's own tool; ``numpy.bool`` is an alias that MXNet 1.9.1 still expects."""


@dataclass(frozen=True)
class Setting:
    """``memory`` and ``disk`` are empty folders, ``environments`` is the folder of the peers'
    environments. Numbers of images: ``images`` of VOC's sizes, ``encoded`` where every image is
    encoded again, ``large`` photographs, ``many`` for many cores, ``growth`` for the cost per
    image, ``planned`` without any file."""

    memory: Path
    disk: Path
    environments: Path
    images: int
    encoded: int
    large: int
    many: int
    planned: int
    growth: tuple[int, ...]
    peers: tuple[str, ...]

    def devkit(self, images: int) -> Path:
        """A devkit with images of VOC's sizes, in memory."""
        return make_devkit(self.memory / f"voc{images}", images, SMALL)

    def first(self, images: int) -> Path:
        """A devkit with the first of ``many`` images, in memory."""
        whole = self.devkit(self.many)
        return first_images(whole, self.memory / f"first{images}", images)

    def photographs(self) -> Path:
        """A devkit of 3000 x 2000 photographs, in memory."""
        return make_devkit(self.memory / "large", self.large, LARGE)

    def rows(self, devkit: Path) -> Path:
        """A devkit's ``.lst``, as the AWS tool writes it."""
        rows = self.memory / f"{devkit.name}-aws.lst"
        if not rows.exists():
            command = aws_list(devkit, rows)
            subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
        return rows

    def im2rec(self, rows: Path, devkit: Path, *options: object) -> list[object]:
        """MXNet's packer on a list; it writes beside the list."""
        python = mxnet_python(self.environments)
        return [python, "-c", _IM2REC, rows.with_suffix(""), devkit, "--pack-label", *options]

    def im2rec_imports(self) -> list[object]:
        """The imports with which every run of im2rec begins."""
        return [mxnet_python(self.environments), "-c", IM2REC_IMPORTS]


def core_count() -> int:
    """The processor cores that the suite can use."""
    return len(os.sched_getaffinity(0))


def job_counts() -> list[int]:
    """1, 2, 4 … and all cores."""
    powers = (1 << power for power in range(core_count().bit_length()))
    return sorted({1, 2, *powers, core_count()})


def aws_list(devkit: Path, rows: Path) -> list[object]:
    """The AWS tool's list step."""
    return [sys.executable, HERE / "aws.py", devkit, "2007,2012", rows]


def floor(*arguments: object) -> list[object]:
    """See ``benchmarks/floors.py``."""
    return [sys.executable, HERE / "floors.py", *arguments]


def recpack(*arguments: object) -> list[object]:
    """recpack's command line, in its own process."""
    return [sys.executable, "-m", "recpack", *arguments]


RECPACK_IMPORTS: list[object] = [
    sys.executable, "-c", "import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'; "
    "import recpack.cli.app, recpack.pipeline.convert, numpy.random",
]  # fmt: skip


def companions(rec: Path) -> list[Path]:
    """The ``.rec`` and all files that a packer can write beside it."""
    return [rec.with_suffix(suffix) for suffix in (".rec", ".idx", ".lst", ".json")]
