"""The other packers' environments, one each, made on first use."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """Another packer: what to install, and its imports."""

    requirements: tuple[str, ...]
    imports: str


PEERS = {
    "tfrecord": Peer(("tfrecord==1.14.6",), "import numpy; from tfrecord import TFRecordWriter"),
    "webdataset": Peer(("webdataset==1.0.2",), "import numpy, webdataset"),
    "mds": Peer(("mosaicml-streaming==0.13.0",), "import numpy; from streaming import MDSWriter"),
    "litdata": Peer(("litdata==0.2.76",), "import numpy, litdata"),
}
"""The last two install PyTorch, about 6 GB each."""

READERS = ("mx_recordio", "webdataset", "mds", "litdata", "ffcv")
"""Peers of the suite ``reading``; NumPy, OpenCV and PyTorch they take from this environment."""
_READERS = (
    "mx-recordio==0.2", "webdataset==1.0.2", "mosaicml-streaming==0.13.0", "litdata==0.2.76",
    "braceexpand", "PyYAML", "lightning-utilities", "obstore", "tifffile", "requests", "filelock",
    "xxhash", "zstd", "Brotli", "python-snappy", "cramjam", "tqdm", "catalogue",
    "transformers==4.56.2", "tokenizers==0.22.1", "huggingface-hub==0.35.3", "safetensors", "regex",
    "packaging", "charset-normalizer", "idna", "certifi",
)  # fmt: skip

_FFCV = (
    "ffcv==1.0.2", "numba", "llvmlite", "fastargs", "assertpy", "terminaltables",
    "pytorch-pfn-extras", "tqdm", "psutil",
)  # fmt: skip
"""Built here, which needs the headers of OpenCV and libjpeg-turbo, pkg-config and g++."""

_MXNET = ("mxnet==1.9.1", "numpy==1.26.4", "opencv-python-headless==4.11.0.86")


def python_of(name: str, folder: Path) -> Path:
    """The Python of a peer's environment."""
    return _make_environment(folder / name, PEERS[name].requirements)


def mxnet_python(folder: Path) -> Path:
    """A Python with MXNet: ``RECPACK_MXNET_PYTHON``, or one made here."""
    python = os.environ.get("RECPACK_MXNET_PYTHON")
    return Path(python) if python else _make_environment(folder / "mxnet", _MXNET)


def mxnet_library(folder: Path) -> Path:
    """MXNet's library."""
    find = "import importlib.util as u; print(u.find_spec('mxnet').origin)"
    run = subprocess.run(
        [mxnet_python(folder), "-c", find], capture_output=True, text=True, check=True
    )
    return Path(run.stdout.strip()).with_name("libmxnet.so")


def readers_python(folder: Path, name: str) -> Path:
    """The Python of one of ``READERS``: 200 MB, because what is large comes from this environment.
    Raises CalledProcessError when it can't be made."""
    own = folder / ("ffcv" if name == "ffcv" else "readers")
    python = _make_environment(own, ("--no-deps", *(_FFCV if name == "ffcv" else _READERS)))
    lib = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ours = own / "lib" / lib / "site-packages" / "this.pth"
    ours.write_text(sysconfig.get_path("purelib") + "\n")
    return python


def _make_environment(folder: Path, requirements: tuple[str, ...]) -> Path:
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        print(f"installing {' '.join(requirements)} …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([python, *install, *requirements], check=True)
        done.touch()
    return python
