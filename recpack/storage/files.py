"""Local files: read, locked, and written completely or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TextIO

from recpack.errors import SinkError
from recpack.storage.limits import MAX_LINE, MAX_LIST
from recpack.storage.regular import open_regular
from recpack.workers.signals import block_interrupts


class UnsafePathError(OSError):
    """A path that leaves its root."""

    def __str__(self) -> str:
        return self.strerror or ""


class Closing(ABC):
    """Something that is closed at the end of its ``with`` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Release the resource."""


def pread(descriptor: int, offset: int, length: int) -> bytes:
    """``length`` bytes of a file at an offset; fewer only at its end."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length and (
        more := os.pread(descriptor, length - len(data), offset + len(data))
    ):
        data += more
    return data


TEMPORARY = ".recpack-"
"""Comes after an output's name in the names of its unfinished files, and before a random token."""
TOKEN_BYTES = 8


def temporary_path(path: Path, token: str, suffix: str = "") -> Path:
    """The path of an output while it is unfinished, or of another unfinished file of its run."""
    return path.with_name(f"{path.name}{TEMPORARY}{token}{suffix}")


class Claim(Closing):
    """The sole right to write an output, until it is closed.

    It holds the lock of a small, empty file beside the output. The output's unfinished files have
    names with a random ``token``: nobody can have put a file or a link there. Such a file that is
    there when the lock is ours was left by a killed run. Raises OSError, SinkError when another
    run holds the lock.
    """

    def __init__(self, path: Path, token: str | None = None) -> None:
        self.path = path
        self.token = token or new_token()
        self._name = path.with_name(f"{path.name}{TEMPORARY}lock")
        self._descriptor = -1
        try:
            with block_interrupts():
                self._descriptor = _open_locked(self._name, path)
        except BaseException:  # Ctrl-C that waited, or that another thread got
            self.close()
            _remove_free(self._name)
            raise

    def temporary(self, suffix: str = "") -> Path:
        """See ``temporary_path``."""
        return temporary_path(self.path, self.token, suffix)

    def unfinished(self) -> list[Path]:
        """The output's unfinished files and folders: this run's, and those that killed ones left.
        Raises OSError."""
        name = re.escape(self.path.name + TEMPORARY)
        ours = re.compile(f"{name}[0-9a-f]{{{2 * TOKEN_BYTES}}}([.-].*)?", re.DOTALL)
        folder = self.path.parent
        return [folder / one for one in os.listdir(folder) if ours.fullmatch(one)]

    def clear(self) -> None:
        """Remove all that is unfinished. What can't be removed stays: it does no harm."""
        with suppress(OSError):
            for path in self.unfinished():
                with suppress(OSError):
                    if stat.S_ISDIR(os.lstat(path).st_mode):
                        shutil.rmtree(path)
                    else:
                        os.unlink(path)

    def close(self) -> None:
        """Give the right back; a second call does nothing. Never raises OSError: what was written
        is published or removed."""
        if self._descriptor >= 0:
            with block_interrupts():
                descriptor, self._descriptor = self._descriptor, -1
                _remove_locked(self._name, descriptor)


def new_token() -> str:
    """A random text for the names of a run's unfinished files."""
    return os.urandom(TOKEN_BYTES).hex()


def _open_locked(name: Path, output: Path) -> int:
    """Open and lock a lock file, which is made if needed and never written."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        try:
            descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            # without O_CREAT, which the system refuses for another user's file in a sticky folder
            try:
                descriptor = os.open(name, flags)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SinkError(f"{name}: {error.strerror}; remove it, then run again") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SinkError(f"{name} is not a file; remove it, then run again")
            lock(descriptor, output)
            if leads_to(name, descriptor):  # else the other run removed it at its end
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _remove_free(name: Path) -> None:
    """Remove a lock file that no run holds."""
    with suppress(OSError):
        descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another run holds it
            os.close(descriptor)
        else:
            _remove_locked(name, descriptor)


def _remove_locked(name: Path, descriptor: int) -> None:
    """Remove a lock file that this run has locked, and close it."""
    try:
        with suppress(OSError):
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and leads_to(name, descriptor):
                os.unlink(name)
    finally:
        with suppress(OSError):
            os.close(descriptor)


def demand_room(path: Path, more: int = 0) -> None:
    """Raise SinkError if the file system refuses the path with ``more`` bytes after its name."""
    folder = path.parent
    while not os.path.isdir(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        limits = os.pathconf(folder, "PC_NAME_MAX"), os.pathconf(folder, "PC_PATH_MAX") - 1
    except OSError:
        limits = 255, 4095
    for part, text, limit in zip(("name", "path"), (path.name, str(path)), limits, strict=True):
        excess = len(os.fsencode(text)) + more - limit
        if excess > 0:
            ending = f" with the {more} bytes that recpack adds" * bool(more)
            raise SinkError(f"{path}: its {part} is {excess} bytes too long{ending}; shorten it")


def make_parents(path: Path) -> None:
    """Make the folders above a file, and sync their names. Raises OSError."""
    folder = path.parent
    if not folder.is_dir():
        make_parents(folder)
        with suppress(FileExistsError):  # another run made it; a file leads to an error later
            folder.mkdir()
        sync_folder(folder.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it. Raises SinkError for a link, which can lead to a folder
    that nobody named, OSError."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise SinkError(f"{path} is not a folder; move it away, or name another one") from None


def demand_replaceable(path: Path) -> bool:
    """Whether there is something at a path that a rename would replace: a file, or a link, whose
    target stays as it is. Raises SinkError for what can't be replaced, OSError."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
        raise SinkError(f"{path} is not a file; move it away, or choose another name")
    folder = os.stat(path.parent)
    if folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, folder.st_uid, found.st_uid):
        raise SinkError(f"{path} belongs to another user; choose another name")
    return True


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that is synced to the disk and gets its name when the block ends. If the block
    fails, the file is removed. Raises OSError, SinkError for what can't be replaced."""
    demand_room(path, LONGEST_ENDING)
    with Claim(path) as claim:
        claim.clear()
        demand_replaceable(path)
        partial = claim.temporary()
        try:
            with partial.open("xb") as file:
                yield file
                sync_file(file)
            give_name(partial, path)
        except BaseException:
            claim.clear()
            raise
        with suppress(OSError):  # the file is whole under its name
            sync_folder(path.parent)


def give_name(unfinished: str | Path, path: str | Path) -> None:
    """Rename a file or a folder that is complete. Raises OSError if it does not have the name."""
    new = os.lstat(unfinished)
    try:
        os.rename(unfinished, path)
    except OSError:
        if not (os.path.lexists(path) and os.path.samestat(new, os.lstat(path))):
            raise  # else it was renamed nevertheless


LONGEST_ENDING = len(TEMPORARY) + 2 * TOKEN_BYTES
"""Bytes that the name of an unfinished file has more than the output's."""


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file completely or not at all; make its folder if needed. Raises SinkError."""
    try:
        make_parents(path)
        with replace_file(path) as file:
            file.writelines(map(encode_line, lines))
    except OSError as error:
        raise SinkError(f"{path}: can't be written: {error.strerror}") from error


def write_synced(path: Path, lines: Iterable[str]) -> None:
    """Write and sync a new text file that the caller renames later. Raises OSError."""
    with path.open("xb") as file:
        file.writelines(map(encode_line, lines))
        sync_file(file)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file. One that has the name is removed first, so that no link is followed. Raises
    OSError."""
    while True:
        try:
            with open(path, "xb") as file:
                file.write(data)
            return
        except FileExistsError:
            with suppress(FileNotFoundError):
                os.unlink(path)


def encode_line(line: str) -> bytes:
    """UTF-8; file names that are not valid text keep their bytes."""
    return line.encode("utf-8", "surrogateescape")


def sync_file(file: BinaryIO) -> None:
    """Wait until a file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until a folder's names are on the disk, if its file system can do that and we may read
    the folder."""
    try:
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise


def lock(descriptor: int, output: object) -> None:
    """Lock an open file for this run. (One without a lock was left by a killed run.)
    Raises SinkError when another run holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SinkError(f"{output}: another run is writing it; wait for its end") from None


def leads_to(path: str | Path, descriptor: int) -> bool:
    """Whether a path, which is no link, still is the open file. Raises OSError."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def text_lines(path: Path, encoding: str = "utf-8-sig") -> Iterator[str]:
    """The lines of a text file, with their line ends. Raises ValueError for a line of ``MAX_LINE``
    characters or more, before it fills the memory. (UnicodeDecodeError is a ValueError too.)"""
    with open(open_regular(path, limit=MAX_LIST), encoding=encoding, newline="") as file:
        yield from lines_of(file)


def lines_of(file: TextIO, first: int = 1) -> Iterator[str]:
    """``text_lines`` of an open file, whose first line has the number ``first``."""
    for number, line in enumerate(iter(partial(file.readline, MAX_LINE), ""), first):
        if len(line) == MAX_LINE:
            raise ValueError(f"line {number} has more than {MAX_LINE:,} characters")
        yield line
