"""Files by path or ``s3://…``: companions of a ``.rec``, and small files read and written."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from recpack.errors import ConfigError, DataError, SinkError
from recpack.storage.files import LONGEST_ENDING, demand_replaceable, demand_room, write_lines
from recpack.storage.journal import final_path, find_companion, journal_path, settled
from recpack.storage.regular import read_regular
from recpack.storage.s3.client import PREFLIGHT_PATIENCE, S3Client
from recpack.storage.s3.location import is_s3, parse_location

PathOrUrl = str | os.PathLike[str]
Content = TypeVar("Content")


def unsafe_path(path: str) -> bool:
    """Whether a path from a list is absolute or leaves its root."""
    return posixpath.isabs(path) or "\0" in path or ".." in path.split("/") or path in ("", ".")


def companion(rec: PathOrUrl, suffix: str) -> str:
    """Where a ``.rec``'s companion is written: beside it, on S3 in the sibling folder
    ``_recpack/``."""
    if is_s3(rec):
        return str(parse_location(rec).companion(suffix))
    return os.fspath(final_path(Path(rec), suffix))


def _where_to_read(rec: PathOrUrl, suffix: str, s3: S3Client) -> str:
    """Where a ``.rec``'s companion is read: of an output that was just published, it can still
    have an unfinished name. Ask just before reading; there may be no file. Raises DataError."""
    if is_s3(rec):
        from recpack.storage.s3.pending import readable

        try:
            return str(readable(s3, parse_location(rec), suffix))
        except OSError as error:
            raise DataError(f"{rec}: {error}") from error
    try:
        return os.fspath(find_companion(Path(rec), suffix))
    except OSError as error:
        raise DataError(f"{journal_path(Path(rec))}: can't be read: {error.strerror}") from error


def read_companion(
    rec: PathOrUrl, suffix: str, s3: S3Client, read: Callable[[str], Content]
) -> Content:
    """``read(path)`` of a ``.rec``'s companion. Another run can give it its final name meanwhile:
    then it is read there. Raises FileNotFoundError when there is none, DataError, and what ``read``
    raises."""
    path = _where_to_read(rec, suffix, s3)
    try:
        return read(path)
    except FileNotFoundError:
        if path == companion(rec, suffix):
            raise
        return read(_where_to_read(rec, suffix, s3))


def base_name(path: PathOrUrl) -> str:
    """The name without its folder."""
    return os.fspath(path).rpartition("/")[2]


def own_name(path: PathOrUrl) -> str:
    """The name of a file or a folder, as ``.`` and ``x/`` have one too."""
    text = os.fspath(path) if is_s3(path) else os.path.abspath(path)
    return base_name(text.rstrip("/")) or text


def demand_other(output: PathOrUrl, inputs: Iterable[PathOrUrl]) -> None:
    """Raise ConfigError when an output is also an input."""

    def place(path: PathOrUrl) -> str:
        return os.fspath(path) if is_s3(path) else os.path.realpath(path)

    if place(output) in map(place, inputs):
        raise ConfigError(f"{output} is also an input; choose another name")


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
        failure = SinkError(f"{path}: {error}")
        for note in getattr(error, "__notes__", ()):
            failure.add_note(note)
        raise failure from error


def local_path(path: PathOrUrl, kind: str = "file") -> Path:
    """The path of what can only be local. Raises ConfigError for any URL, also ``s3://…``."""
    if is_s3(path):
        raise ConfigError(f"{os.fspath(path)} is on S3; name a local {kind}")
    return Path(path)


def demand_free(path: PathOrUrl, s3: S3Client, *, overwrite: bool) -> None:
    """Raise SinkError when the path exists and must not be replaced, or can't be written."""
    exists = _exists(path, s3) if is_s3(path) else demand_local(Path(path))
    if exists and not overwrite:
        raise SinkError(f"{path} exists; choose another name or replace it with --overwrite")


def demand_local(path: Path) -> bool:
    """Whether a local file exists. If it is the companion of a ``.rec``, this first ends what a
    killed run began. Raises SinkError when a file can't be written there."""
    demand_room(path, LONGEST_ENDING)
    try:
        if os.path.lexists(journal_path(rec := path.with_suffix(".rec"))):
            with settled(rec):
                pass
        return demand_replaceable(path)
    except OSError as error:
        raise SinkError(f"{path}: can't be written: {error.strerror}") from error


def _exists(path: PathOrUrl, s3: S3Client) -> bool:
    from recpack.storage.s3.objects import head

    try:
        head(s3, parse_location(path), patience=PREFLIGHT_PATIENCE)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SinkError(f"{path}: {error}") from error
    return True
