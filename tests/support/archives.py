"""Archives made by tests, and what is read from them."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import Any

from recpack.storage.s3.client import S3Client
from recpack.storage.trees.open import open_tree


def made(folder: Path) -> dict[str, bytes]:
    """The files of ``x.rec`` in a folder, by their suffixes."""
    return {suffix: (folder / f"x{suffix}").read_bytes() for suffix in (".rec", ".idx", ".lst")}


def make_tar(folder: Path, archive: Path, format: int = tarfile.GNU_FORMAT, **extra: Any) -> Path:
    """A tar of a folder, which keeps its name."""
    with tarfile.open(archive, "w", format=format, **extra) as file:
        file.add(folder, folder.name)
    return archive


def make_zip(folder: Path, archive: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip of a folder, which keeps its name."""
    with zipfile.ZipFile(archive, "w", method) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder.parent))
    return archive


def read_archive(path: Path) -> dict[str, bytes | OSError]:
    """What recpack reads of each file, or why it can't."""
    tree = open_tree(path, S3Client())
    found: dict[str, bytes | OSError] = {}

    def read(folder: str) -> None:
        with tree.folder(folder) as files:
            for name in tree.files(folder):
                try:
                    with files.open(name) as file:
                        content: bytes | OSError = file.read(0, file.size)
                except OSError as error:
                    content = error
                found[name if folder == "." else f"{folder}/{name}"] = content
        for name in tree.folders(folder):
            read(name if folder == "." else f"{folder}/{name}")

    read(".")
    return found
