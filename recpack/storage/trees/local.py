"""Trees on a disk."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from recpack.storage.explain import UNREADABLE
from recpack.storage.files import UnsafePathError, pread, text_lines
from recpack.storage.regular import regular_size
from recpack.storage.trees.base import (
    HEAD,
    Folder,
    Head,
    Opener,
    OpenFile,
    Tree,
    identity_of,
    join,
)

_MAX_INSIDE = 1 << 12
"""Folders that are remembered as inside the data set."""
_SMALL = 16 << 10
_FLAGS = os.O_RDONLY | os.O_NONBLOCK  # opening a pipe must not wait for its writer
_UNLINKED = _FLAGS | os.O_NOFOLLOW
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_BEYOND = bytearray(1)
"""Memory for one byte more than fits; it is never read."""


@dataclass(frozen=True)
class LocalTree(Tree):
    """A folder by its absolute path, because workers can have another working directory.
    ``follow_links``: symbolic links can lead out of it. ``named``: see ``Tree.naming``."""

    root: str
    follow_links: bool = False
    named: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.root

    def is_folder(self, path: str) -> bool:
        return stat.S_ISDIR(self._mode(path))

    def is_file(self, path: str) -> bool:
        mode = self._mode(path)  # who opens a pipe says what it is
        return mode != 0 and not stat.S_ISDIR(mode)

    def _mode(self, path: str) -> int:
        """The kind of what is there, 0 for nothing. OSError when that is unknown: what can't be
        looked at must not count as missing."""
        try:
            return os.stat(os.path.join(self.root, path)).st_mode
        except ValueError:  # no file has such a name
            return 0
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            return 0

    def folders(self, path: str) -> list[str]:
        with os.scandir(os.path.join(self.root, path)) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())

    def files(self, path: str) -> list[str]:
        return sorted(os.listdir(os.path.join(self.root, path)))

    def walk(self, path: str) -> Iterator[str]:
        seen = set()
        top = os.path.join(self.root, path)
        for folder, folders, files in os.walk(top, followlinks=self.follow_links):
            if (real := os.path.realpath(folder)) in seen:  # links can lead in a circle
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            below = os.path.relpath(folder, self.root)
            yield from (join(below, name) for name in files)

    def lines(self, path: str) -> Iterator[str]:
        with self.folder(".") as folder:
            folder.open(path).close()  # an error for a link that leads out
        return text_lines(Path(self.root, path))

    def inside(self, folder: str) -> LocalTree:
        return replace(self, root=os.path.join(self.root, folder))

    def naming(self, *folders: str) -> LocalTree:
        return replace(self, named=(*self.named, *folders))

    def folder(self, path: str, *, proven: bool = False) -> LocalFolder:
        return LocalFolder(self, path, proven=proven)


class LocalFolder(Folder):
    """A folder of ``tree`` whose files are opened relative to it.

    A symbolic link can lead to files below the tree's root or below a folder that the user named,
    and to nothing else without ``follow_links``; that holds for the folder too.
    """

    def __init__(self, tree: LocalTree, path: str, *, proven: bool = False) -> None:
        self._tree, self._path = tree, path
        self._proven = proven
        self._inside: set[str] = set()
        if not proven:
            allowed = (os.path.join(tree.root, folder) for folder in ("", *tree.named))
            self._roots = tuple(os.path.join(os.path.realpath(one), "") for one in allowed)
            self._demand_inside(".")
        self._descriptor = os.open(
            os.path.join(tree.root, path), os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
        )

    def close(self) -> None:
        os.close(self._descriptor)

    def open(self, name: str) -> LocalFile:
        return LocalFile(self._open(name))

    def _open(self, name: str) -> int:
        if self._proven:
            return os.open(name, _FLAGS, dir_fd=self._descriptor)
        # in a name with folders every part can be a link; in a plain name only the file
        if "/" in name:
            parent = name[: name.rindex("/") + 1]
            if parent not in self._inside:
                self._demand_inside(os.path.dirname(name))
                if len(self._inside) == _MAX_INSIDE:
                    self._inside.clear()
                self._inside.add(parent)
        try:
            return os.open(name, _UNLINKED, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            self._demand_inside(name)
            return os.open(name, _FLAGS, dir_fd=self._descriptor)

    def in_order(
        self,
        names: Sequence[str | None],
        *,
        head: int | None = None,
        sizes: Sequence[int] | None = None,
    ) -> Iterator[Opener | None]:
        del head, sizes
        return (None if name is None else partial(self.open, name) for name in names)

    # The two do what the base class does, in half the time: one object serves all files.

    def contents(
        self, names: Sequence[str | None], limit: int
    ) -> Iterator[bytes | Exception | None]:
        file = LocalFile(-1)
        for name in names:
            found: bytes | Exception | None = None
            if name is not None:
                try:
                    file.aim(self._open(name))
                    try:
                        found = file.read_all(limit)
                    finally:
                        file.close()
                except UNREADABLE as error:
                    found = error
            yield found

    def heads(self, names: Sequence[str | None]) -> Iterator[Head | Exception | None]:
        file = LocalFile(-1)
        read = file.read
        for name in names:
            if name is None:
                yield None
                continue
            try:
                file.aim(self._open(name))
                try:
                    yield *file.status(), read(0, HEAD), read
                finally:
                    file.close()
            except UNREADABLE as error:
                yield error

    def _demand_inside(self, name: str) -> None:
        path = join(self._path, name)
        if self._leads_out(path) and not (self._tree.follow_links and ".." not in name.split("/")):
            parts = path.split("/")
            steps = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
            link = next(filter(self._leads_out, steps))
            target = os.path.realpath(os.path.join(self._tree.root, link))
            raise UnsafePathError(
                errno.EPERM,
                f"{link} is a symlink to {target}, outside the data set; --follow-links reads it",
            )

    def _leads_out(self, path: str) -> bool:
        target = os.path.realpath(os.path.join(self._tree.root, path))
        return not os.path.join(target, "").startswith(self._roots)


class LocalFile(OpenFile):
    """A regular file, by its descriptor. Its kind is not checked before the first read, because a
    check takes as long as reading an annotation."""

    def __init__(self, descriptor: int) -> None:
        self.aim(descriptor)

    def aim(self, descriptor: int) -> None:
        """Stand for another file; the one before is not closed."""
        self._descriptor = descriptor
        self._status: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        return (self._status or self.status())[0]

    @property
    def identity(self) -> int:
        return (self._status or self.status())[1]

    def status(self) -> tuple[int, int]:
        """Size and identity."""
        status = os.fstat(self._descriptor)
        size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            regular_size(self._descriptor)  # says what it is instead
        inode = status.st_ino if _keeps_inodes(status.st_dev) else 0
        self._status = size, identity_of((inode, status.st_mtime_ns, size))
        return self._status

    def read_all(self, limit: int) -> bytes:
        try:
            data = os.pread(self._descriptor, _SMALL, 0)
        except OSError:
            return super().read_all(limit)
        return data if len(data) < _SMALL and len(data) <= limit else super().read_all(limit)

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        return data if len(data) == length else pread(self._descriptor, offset, length)

    def read_into(self, room: memoryview) -> int:
        done = 0
        try:
            done = os.readv(self._descriptor, [room, _BEYOND])
            while done < len(room) and (count := os.readv(self._descriptor, [room[done:]])):
                done += count
        finally:
            if done != len(room):
                _ = self.size  # raises for what is no file
        return done

    def close(self) -> None:
        os.close(self._descriptor)

    def __exit__(self, *_: object) -> None:  # one call less for each file
        os.close(self._descriptor)


@lru_cache
def _keeps_inodes(device: int, mounts: str = "/proc/self/mountinfo") -> bool:
    """Whether files of a device keep their inode numbers. With FUSE (Mountpoint for S3, s3fs) they
    can get others after a while."""
    number = f" {os.major(device)}:{os.minor(device)} "
    try:
        lines = Path(mounts).read_text(errors="replace").splitlines()
    except OSError:
        return True
    return not any(number in line and " - fuse" in line for line in lines)
