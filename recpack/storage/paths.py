"""Files by path or ``s3://…``: companions of a ``.rec``, and small files read and written."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path

from recpack.errors import SinkError
from recpack.storage.files import write_lines
from recpack.storage.regular import read_regular
from recpack.storage.s3.client import PREFLIGHT_PATIENCE, S3Client
from recpack.storage.s3.location import is_s3, parse_location

PathOrUrl = str | os.PathLike[str]


def unsafe_path(path: str) -> bool:
    """Whether a path from a list is absolute or leaves its root."""
    return posixpath.isabs(path) or "\0" in path or ".." in path.split("/") or path in ("", ".")


def companion(rec: PathOrUrl, suffix: str) -> str:
    """The path of a ``.rec``'s companion: beside it, on S3 in the sibling folder ``_recpack/``."""
    if is_s3(rec):
        return str(parse_location(rec).companion(suffix))
    return os.fspath(Path(rec).with_suffix(suffix))


def base_name(path: PathOrUrl) -> str:
    """The name without its folder."""
    return os.fspath(path).rpartition("/")[2]


def read_bytes(path: PathOrUrl, s3: S3Client, limit: int) -> bytes:
    """Read a whole file of at most ``limit`` bytes. Raises OSError, FileNotFoundError when there is
    none, TooLargeError."""
    if is_s3(path):
        from recpack.storage.s3.objects import read

        return read(s3, parse_location(path), limit=limit)
    return read_regular(path, limit)


def write_text(path: PathOrUrl, lines: Iterable[str], s3: S3Client) -> None:
    """Write a text of any length, completely or not at all. Raises SinkError."""
    if not is_s3(path):
        write_lines(Path(path), lines)
        return
    from recpack.storage.s3.objects import put_lines

    try:
        put_lines(s3, parse_location(path), lines)
    except OSError as error:
        raise SinkError(f"{path}: {error}") from error


def demand_free(path: PathOrUrl, s3: S3Client, *, overwrite: bool) -> None:
    """Raise SinkError when the path exists and must not be replaced."""
    if not overwrite and _exists(path, s3):
        raise SinkError(f"{path} exists; choose another name or replace it with --overwrite")


def _exists(path: PathOrUrl, s3: S3Client) -> bool:
    if not is_s3(path):
        return Path(path).exists()
    from recpack.storage.s3.objects import head

    try:
        head(s3, parse_location(path), patience=PREFLIGHT_PATIENCE)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SinkError(f"{path}: {error}") from error
    return True
