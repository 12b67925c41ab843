"""Reading a data set: recpack's readers beside mxnet.recordio, other formats and a folder of files,
each in its own process, on the same images.

The files lie on the disk of ``--work`` and are read from it once before, so that they are in the
page cache as on a machine that trains. A reader that can't be installed is left out, and said.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.environments import READERS, mxnet_library, mxnet_python, readers_python
from benchmarks.measure import Claim, Table, Work, commands
from benchmarks.setting import HERE, Setting, recpack

OURS = ("record_reader", "record_batches", "record_dataset", "record_iterable_dataset")
COLUMNS = ("random, 1", "random, 2", "in order, 1", "in order, 2")
_SECONDS = 0.5
_DECODED = 400
"""Images, at most, where each is decoded."""


def tables(setting: Setting) -> Iterator[Table]:
    """Samples/s of raw bytes, and of decoded images."""
    for kind, images in (("raw", setting.images), ("decoded", min(setting.encoded, _DECODED))):
        folder = setting.disk / kind
        paths = _make(setting, images, folder)
        works: dict[str, Work] = {}
        for name, path in paths.items():
            if kind == "raw" and name == "in_memory":
                continue
            command = [*_python(setting, name), HERE / "peers" / "readers.py", name]
            tried = subprocess.run(
                [*map(str, command), str(path), "try"], capture_output=True, text=True, check=False
            )
            if tried.returncode:
                why = tried.stderr.strip().splitlines()[-1:]
                print(f"without {name}: {''.join(why)}", file=sys.stderr, flush=True)
            else:
                works[name] = commands([*command, path, kind, _SECONDS], reports=True)
        text = "raw bytes" if kind == "raw" else "decoded by OpenCV"
        title = f"reading {images:,} images, {text}: samples/s by order and worker processes"
        yield Table(title, works, list(_claims(kind, works)), most_rounds=2)
        shutil.rmtree(folder)


def _claims(kind: str, works: dict[str, Work]) -> Iterator[Claim]:
    for column in COLUMNS:
        for name in works:
            if kind == "decoded" and name == "in_memory":
                text = f"RecordReader against decoding alone ({column})"
                yield Claim(text, ["record_reader"], [name], least=0.95, figure=column)
            elif kind == "raw" and name not in OURS:
                least = {"mxnet_recordio": 4.0 if "random" in column else 3.0}.get(name, 1.5)
                least = 1.0 if name == "our_recordio" else least
                text = f"RecordReader against {name} ({column})"
                yield Claim(text, ["record_reader"], [name], least=least, figure=column)


def _python(setting: Setting, name: str) -> list[object]:
    """The interpreter of a reader, with its environment's variables."""
    if name == "mxnet_recordio":
        return [mxnet_python(setting.environments)]
    if name not in READERS:
        return [sys.executable]
    python: list[object] = [readers_python(setting.environments, name)]
    if name == "mx_recordio":
        library = mxnet_library(setting.environments)
        python = ["env", f"MXNET_LIBRARY_PATH={library}", *python]
    return python


def _make(setting: Setting, images: int, folder: Path) -> dict[str, Path]:
    """The same images in each format that was asked for; the path of each reader."""
    folder.mkdir()
    devkit = setting.devkit(images)
    rec = folder / "a.rec"
    _run(*recpack("convert", devkit, rec, "--quiet"))
    paths = dict.fromkeys(("in_memory", *OURS, "our_recordio"), rec)
    if setting.peers:
        paths |= {"mxnet_recordio": rec}
        paths |= {"image_folder": _image_folder(devkit, folder / "folders")}
    if "mx_recordio" in setting.peers:
        paths["mx_recordio"] = rec
    for name in READERS:
        if name in setting.peers and name != "mx_recordio":
            out, script = folder / name, HERE / "peers" / f"{name}_.py"
            rows = setting.rows(devkit)
            try:
                _run(*_python(setting, name), script, rows, devkit, out, 2)
            except subprocess.CalledProcessError as error:
                why = (error.stderr or b"it can't be installed").decode().strip().splitlines()[-1:]
                print(f"without {name}: {''.join(why)}", file=sys.stderr, flush=True)
            else:
                paths[name] = out
    _settle(folder)
    return paths


def _image_folder(devkit: Path, folder: Path) -> Path:
    """A copy of the images in ten folders."""
    for number, path in enumerate(sorted(devkit.glob("VOC*/JPEGImages/*.jpg"))):
        target = folder / f"class{number % 10}" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return folder


def _settle(folder: Path) -> None:
    """Let the page cache have the files as the disk's reads bring them, in large pieces, and not
    as a program has just written them."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while file.read(1 << 20):
                    pass


def _run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
