"""The journal of a publication: a ``.rec`` and its companions get their names together.

A rename gives one file its name, and a ``.rec`` has up to four companions. So a run first writes
everything under unfinished names, then this small JSON file beside the ``.rec``. From the moment
when the ``.rec`` has its name, the output is published, even if the run is killed before the
companions have theirs: readers ask ``find_companion``, and the next run renames them.

    {"token": …, "files": {".rec": [inode, bytes, time], ".idx": […], …}, "absent": [".lst"]}

``token`` is in the unfinished names, ``files`` are all files of the output, the manifest last, with
the times of their last changes in nanoseconds, and ``absent`` the companions that it does not have.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from recpack.errors import SinkError
from recpack.storage.files import (
    TEMPORARY,
    Claim,
    demand_replaceable,
    sync_folder,
    temporary_path,
    write_synced,
)
from recpack.storage.regular import NotRegularError, open_regular
from recpack.storage.s3.location import PROPERTY

_LIMIT = 1 << 16
"""Bytes; a journal has some hundred."""
_WRONG = ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError
"""What a journal of wrong content can raise."""
_SUFFIX = re.compile(r"(\.[a-z]+)+")
_TOKEN = re.compile(r"[0-9a-f]+")


_Identity = tuple[int, int, int]
"""Inode, size and time."""


class Journal(NamedTuple):
    """The identities of the files by suffix, and the suffixes without a file."""

    token: str
    files: dict[str, _Identity]
    absent: tuple[str, ...]


def journal_path(rec: Path) -> Path:
    """The journal beside a ``.rec``."""
    return rec.with_name(f"{rec.name}{TEMPORARY}journal")


def final_path(rec: Path, suffix: str) -> Path:
    """Where a companion of a ``.rec`` has its final name."""
    return rec.with_name(suffix[1:]) if suffix == PROPERTY else rec.with_suffix(suffix)


def write_journal(claim: Claim, companions: Iterable[str], absent: Iterable[str]) -> Journal:
    """Write the journal of a ``.rec`` and companions that are all written and synced, under the
    unfinished names of the claim. Raises OSError."""
    files = {".rec": _identity(claim.temporary())}
    files |= {suffix: _identity(claim.temporary(suffix)) for suffix in companions}
    journal = Journal(claim.token, files, tuple(absent))
    temporary = claim.temporary("-journal")
    write_synced(temporary, [json.dumps(journal._asdict())])
    os.rename(temporary, journal_path(claim.path))
    sync_folder(claim.path.parent)
    return journal


def find_companion(rec: Path, suffix: str) -> Path:
    """Where a companion of a ``.rec`` is to be read. Of an output that was just published it can
    still have its unfinished name, and one that the output does not have has a path without a
    file, even if an older output left one. Raises OSError when the journal can't be read."""
    final, journal = final_path(rec, suffix), _read(rec)
    if journal is None:
        return final
    temporary = temporary_path(rec, journal.token, suffix)
    if suffix in journal.absent or _is(temporary, journal.files.get(suffix)):
        return temporary
    return final


@contextmanager
def settled(rec: Path) -> Iterator[None]:
    """A block in which no run writes a ``.rec``, and what an earlier one began is finished. Raises
    SinkError when another run is writing it."""
    try:
        claim = Claim(rec)
    except OSError as error:
        raise SinkError(f"{rec}: can't be written: {error.strerror}") from error
    with claim:
        settle(rec)
        claim.clear()
        yield


def settle(rec: Path, journal: Journal | None = None) -> None:
    """Finish what a journal began, for the holder of the claim: if the ``.rec`` is published, give
    its companions their names; else the older output stays. ``journal``: that of the caller, who
    has published the ``.rec``. Raises SinkError when it can't."""
    path = journal_path(rec)
    try:
        journal = journal or _read(rec)
        if journal is None:
            if demand_replaceable(path):
                os.unlink(path)
            return
        sync_folder(rec.parent)  # the companions of the older output go only after its .rec
        _rename(rec, journal)
    except (OSError, SinkError) as error:
        reason = str(error) if isinstance(error, SinkError) else f"{path}: {error.strerror}"
        if journal is not None:
            reason = (
                f"{rec}: it is published and whole, but its companions do not have their names yet "
                f"({reason}); remove the cause, then run: "
                f"recpack index {quote(os.fspath(rec))} --overwrite"
            )
        raise SinkError(reason) from error
    with suppress(OSError):  # all is done, and a journal that stays does no harm
        sync_folder(rec.parent)
        os.unlink(path)


def _rename(rec: Path, journal: Journal) -> None:
    for suffix in journal.absent:
        final_path(rec, suffix).unlink(missing_ok=True)
    for suffix, identity in journal.files.items():
        final = final_path(rec, suffix)
        temporary = temporary_path(rec, journal.token, suffix)
        if _is(temporary, identity):
            demand_replaceable(final)
            os.rename(temporary, final)


def _read(rec: Path) -> Journal | None:
    """The journal of a published ``.rec``; None without one, and for one that is another user's or
    tells of another ``.rec``: then nothing was published. Raises OSError when that is unknown."""
    path = journal_path(rec)
    try:
        named, found = os.lstat(path), os.lstat(rec)
        if named.st_uid != found.st_uid or not stat.S_ISREG(named.st_mode):
            return None  # perhaps we may not even read it
        with open(open_regular(path, follow=False), "rb") as file:
            owner, text = os.fstat(file.fileno()).st_uid, file.read(_LIMIT)
    except (FileNotFoundError, NotRegularError):
        return None
    try:
        values = json.loads(text)
        token = str(values["token"])
        files = {
            suffix: (int(inode), int(size), int(time))
            for suffix, (inode, size, time) in values["files"].items()
        }
        absent = tuple(values["absent"])
        sound = _TOKEN.fullmatch(token) and all(map(_SUFFIX.fullmatch, [*files, *absent]))
    except _WRONG:
        return None
    if not sound or owner != found.st_uid or not _is(rec, files.get(".rec")):
        return None
    return Journal(token, files, absent)


def _identity(path: Path) -> _Identity:
    found = os.lstat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _is(path: Path, identity: _Identity | None) -> bool:
    """Whether a path is the regular file that the journal means, or a copy of it: a backup that was
    restored, another disk. Its inode is another one, its time is the same; tar keeps seconds."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if identity is None or not stat.S_ISREG(found.st_mode) or found.st_size != identity[1]:
        return False
    inode, _, time = identity
    return found.st_ino == inode or found.st_mtime_ns in (time, time - time % 10**9)
