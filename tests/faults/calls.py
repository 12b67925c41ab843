"""The calls through which a process changes and reads files: counted, recorded, made to fail.

They are replaced in the modules ``os``, ``io``, ``builtins`` and ``fcntl``, so that forked workers
inherit them. Only files below the watched folder count. What C code does without these functions is
not seen: ``DirEntry.is_file``, memory maps. Nothing of recpack writes that way: strace counts
the same calls.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import mmap
import os
import pickle
import signal
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

WRITES = {
    "open": (errno.EACCES, errno.ENOSPC, errno.EMFILE, errno.EIO),
    "open-folder": (errno.EACCES, errno.EMFILE),
    "write": (errno.ENOSPC, errno.EIO, errno.EDQUOT),
    "pwrite": (errno.EIO, errno.ENOSPC),
    "copy_file_range": (errno.ENOSPC, errno.EIO, errno.EXDEV),
    "truncate": (errno.EIO, errno.ENOSPC),
    "ftruncate": (errno.ENOSPC, errno.EIO),
    "fsync": (errno.EIO, errno.ENOSPC),
    "sync": (),
    "rename": (errno.EACCES, errno.EIO, errno.ENOSPC),
    "replace": (errno.EIO, errno.ENOSPC, errno.EACCES),
    "link": (errno.EACCES, errno.EIO, errno.EPERM),
    "symlink": (errno.EACCES, errno.EIO),
    "unlink": (errno.EACCES, errno.EIO),
    "remove": (errno.EIO, errno.EACCES),
    "mkdir": (errno.EACCES, errno.ENOSPC, errno.EIO),
    "rmdir": (errno.EACCES, errno.EIO),
    "chmod": (errno.EPERM, errno.EIO),
    "fchmod": (errno.EPERM, errno.EIO),
    "utime": (errno.EPERM, errno.EIO),
    "flock": (errno.ENOLCK, errno.EIO),
    "lockf": (errno.ENOLCK, errno.EIO),
    "close": (errno.EIO, errno.ENOSPC, errno.EINTR),
}
"""Calls of the side that writes, and the errors that each fails with. Python itself repeats calls
after EINTR, all but ``close``."""
READS = {
    "open-to-read": (errno.EACCES, errno.EIO, errno.EMFILE),
    "read": (errno.EIO,),
    "pread": (errno.EIO,),
    "readv": (errno.EIO,),
    "stat": (errno.EACCES, errno.EIO),
    "lstat": (errno.EIO, errno.EACCES),
    "fstat": (errno.EIO,),
    "scandir": (errno.EACCES, errno.EIO),
    "listdir": (errno.EIO, errno.EACCES),
}
SHORTENED = ("write", "pwrite", "copy_file_range")
"""Calls that can do less than they should."""

BEFORE, AFTER, SHORT = "error before", "error after", "short write"
KILL_BEFORE, KILL_AFTER, WORKER = "killed before", "killed after", "worker killed"
INTERRUPT = "interrupted"
WAYS = (BEFORE, AFTER, SHORT, KILL_BEFORE, KILL_AFTER, WORKER, INTERRUPT)


def ways_of(kind: str, number: int, *, workers: bool) -> list[str]:
    """How a call can fail. Left out is what leaves the same behind as another: a kill before the
    next call of one process, errors after a call that changes nothing, and before ``close``, which
    closes in any case."""
    if kind in READS:
        return [BEFORE] + [INTERRUPT] * (not workers)
    ways = [KILL_AFTER, INTERRUPT]
    ways += [BEFORE] * (kind not in ("close", "sync"))
    ways += [AFTER] * (kind not in ("fsync", "sync"))
    ways += [SHORT] * (kind in SHORTENED)
    ways += [KILL_BEFORE] * (workers or not number)
    return ways + [WORKER] * workers


_COUNT = struct.Struct("<QQ")
_KINDS, _MOST = 4096, 1 << 16
_BY_DESCRIPTOR = ("write", "pwrite", "ftruncate", "fsync", "fchmod", "close", "read", "pread",
                  "readv", "fstat")  # fmt: skip
_BY_PATH = ("truncate", "unlink", "remove", "mkdir", "rmdir", "chmod", "utime", "stat", "lstat",
            "scandir", "listdir")  # fmt: skip
_BY_TWO = ("rename", "replace", "link", "symlink")
_REAL: dict[str, Any] = {
    name: getattr(os, name)
    for name in (*_BY_DESCRIPTOR, *_BY_PATH, *_BY_TWO, "open", "fdatasync", "copy_file_range",
                 "readlink", "sync")
}  # fmt: skip
_OPEN, _LOCKF = io.open, fcntl.lockf


class Fault(NamedTuple):
    """The call ``number`` (from 0) fails in this ``way``, with the ``variant``-th of its errors."""

    number: int = -1
    way: str = BEFORE
    variant: int = 0


class Step(NamedTuple):
    """A recorded change. ``place`` and ``target`` are folder (inode number) and name; ``inode`` is
    the file's."""

    kind: str
    inode: int = 0
    place: tuple[int, str] = (0, "")
    target: tuple[int, str] = (0, "")
    offset: int = 0
    data: bytes = b""


@dataclass
class Calls:
    """Replaces the calls in this process and in its children, until it ends. ``kinds`` are counted
    below ``roots``. ``graveyard``: record all changes; every new file gets a second name there, so
    that its inode lives on."""

    roots: tuple[str, ...]
    kinds: dict[str, tuple[int, ...]]
    fault: Fault
    graveyard: str | None = None

    def __post_init__(self) -> None:
        # calls so far, bytes of the text behind: what failed; from _KINDS on, each call's kind
        self._shared = mmap.mmap(-1, _KINDS + _MOST)
        self._lock = os.memfd_create("lock")
        self._log = os.memfd_create("steps")
        self._coordinator = 0

    def close(self) -> None:
        self._shared.close()
        for descriptor in (self._lock, self._log):
            os.close(descriptor)

    @property
    def seen(self) -> list[str]:
        """The kinds of all calls, in order."""
        names = list(self.kinds)
        count = _COUNT.unpack_from(self._shared)[0]
        return [names[number] for number in self._shared[_KINDS : _KINDS + count]]

    @property
    def struck(self) -> tuple[str, str]:
        """Kind and path of the call that failed."""
        size = _COUNT.unpack_from(self._shared)[1]
        text = self._shared[_COUNT.size : _COUNT.size + size].decode()
        kind, _, path = text.partition(" ")
        return kind, path

    def steps(self) -> list[Step]:
        steps = []
        with open(os.dup(self._log), "rb") as file:
            file.seek(0)
            while file.peek(1):
                steps.append(pickle.load(file))
        return steps

    # ---- the replacements

    def install(self) -> None:
        """Replace the calls; runs in a child that ends soon."""
        self._coordinator = os.getpid()
        for name in _BY_DESCRIPTOR:
            setattr(os, name, self._descriptor_call(name))
        for name in _BY_PATH:
            setattr(os, name, self._path_call(name))
        for name in _BY_TWO:
            setattr(os, name, self._two_paths_call(name))
        for module, name, call in (
            (os, "open", self._open),
            (os, "fdatasync", os.fsync),
            (os, "sync", self._sync),
            (os, "copy_file_range", self._copy_file_range),
            (fcntl, "flock", self._lock_call("flock")),
            (fcntl, "lockf", self._lock_call("lockf")),
            (io, "open", self._open_file),
            (builtins, "open", self._open_file),
        ):
            setattr(module, name, call)

    def _do(
        self,
        kind: str,
        path: str,
        apply: Callable[[], Any],
        shorten: Callable[[], Any] | None = None,
    ) -> Any:
        """One call, unless it is the one that fails."""
        if kind not in self.kinds or not self._watches(path):
            return apply()
        with self._alone():
            number, _ = _COUNT.unpack_from(self._shared)
            _COUNT.pack_into(self._shared, 0, number + 1, self._strike(number, kind, path))
            self._shared[_KINDS + number] = list(self.kinds).index(kind)
            if number != self.fault.number:
                return apply()
            return self._fail(kind, path, apply, shorten)

    def _watches(self, path: str) -> bool:
        return any(path == root or path.startswith(root + "/") for root in self.roots)

    def _strike(self, number: int, kind: str, path: str) -> int:
        if number != self.fault.number:
            return int(_COUNT.unpack_from(self._shared)[1])
        text = f"{kind} {path}".encode()[: _KINDS - _COUNT.size]
        self._shared[_COUNT.size : _COUNT.size + len(text)] = text
        return len(text)

    def _error(self, kind: str, path: str) -> OSError:
        errors = self.kinds[kind]
        number = errors[self.fault.variant % len(errors)]
        if kind in _BY_DESCRIPTOR:
            return OSError(number, os.strerror(number))
        return OSError(number, os.strerror(number), path)

    def _fail(
        self,
        kind: str,
        path: str,
        apply: Callable[[], Any],
        shorten: Callable[[], Any] | None,
    ) -> Any:
        way = self.fault.way
        if way == KILL_BEFORE:
            os.killpg(0, signal.SIGKILL)
        if way == WORKER and os.getpid() != self._coordinator:
            os.kill(os.getpid(), signal.SIGKILL)
        errors = self.kinds[kind]
        if way == BEFORE and kind != "close" and errors:
            raise self._error(kind, path)
        if way == SHORT and shorten is not None:
            return shorten()
        result = apply()
        if way == KILL_AFTER:
            os.killpg(0, signal.SIGKILL)
        if way == AFTER or (way == BEFORE and kind == "close"):
            if kind.startswith("open"):
                _REAL["close"](result)
            if errors:
                raise self._error(kind, path)
        if way == INTERRUPT and os.getpid() == self._coordinator:  # workers block the signal
            os.kill(os.getpid(), signal.SIGINT)
        return result

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time, so that the record has the order of the calls. The lock ends with
        a process that is killed."""
        _LOCKF(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            _LOCKF(self._lock, fcntl.LOCK_UN)

    def _descriptor_call(self, name: str) -> Callable[..., Any]:
        real = _REAL[name]

        def call(descriptor: int, *rest: Any) -> Any:
            path = _path_of(descriptor)
            if name == "close" and path and not _is_writable(descriptor):
                return real(descriptor)  # this never fails, and changes nothing

            def apply(*changed: Any) -> Any:
                if name == "fsync" and path:
                    self._record(Step("fsync", _REAL["fstat"](descriptor).st_ino))
                    return None  # the disk itself is not on trial
                result = real(descriptor, *(changed or rest))
                if name in ("write", "pwrite") and self.graveyard and self._watches(path):
                    self._record_write(descriptor, result, *rest)
                elif name == "ftruncate":
                    self._record(Step(name, _REAL["fstat"](descriptor).st_ino, offset=rest[0]))
                return result

            shorten = None
            if name in SHORTENED and len(rest[0]) > 1:
                half = memoryview(rest[0])[: len(rest[0]) // 2]
                shorten = partial(apply, half, *rest[1:])
            return self._do(name, path, apply, shorten)

        return call

    def _lock_call(self, name: str) -> Callable[..., Any]:
        real = getattr(fcntl, name)
        return lambda file, *rest: self._do(name, _path_of(file), lambda: real(file, *rest))

    def _sync(self) -> None:
        self._do("sync", self.roots[0], lambda: self._record(Step("sync")))

    def _path_call(self, name: str) -> Callable[..., Any]:
        real = _REAL[name]

        def call(path: Any = ".", *rest: Any, dir_fd: int | None = None, **others: Any) -> Any:
            where = _absolute(path, dir_fd)
            if dir_fd is not None:
                others["dir_fd"] = dir_fd

            def apply() -> Any:
                if self.graveyard and name in ("unlink", "remove", "rmdir", "mkdir", "truncate"):
                    result = real(path, *rest, **others)
                    kind = "unlink" if name in ("remove", "rmdir") else name
                    inode = _REAL["lstat"](where).st_ino if name in ("mkdir", "truncate") else 0
                    self._record(Step(kind, inode, _place(where), offset=rest[0] if rest else 0))
                    return result
                return real(path, *rest, **others)

            return self._do(name, where, apply)

        return call

    def _two_paths_call(self, name: str) -> Callable[..., Any]:
        real = _REAL[name]

        def call(
            source: Any,
            target: Any,
            *,
            src_dir_fd: int | None = None,
            dst_dir_fd: int | None = None,
            **others: Any,
        ) -> Any:
            before, after = _absolute(source, src_dir_fd), _absolute(target, dst_dir_fd)
            kind = "rename" if name == "replace" else name

            def apply() -> None:
                real(before if name != "symlink" else source, after, **others)
                if self.graveyard:
                    inode = _REAL["lstat"](after).st_ino
                    self._record(Step(kind, inode, _place(before), _place(after)))

            return self._do(name, after, apply)

        return call

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> Any:
        where = _absolute(path, dir_fd)
        writing = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        kind = "open" if writing else "open-to-read"
        if not writing and self._watches(where) and _is_folder(where):
            kind = "open-folder"

        def apply() -> int:
            new = bool(flags & os.O_CREAT and self.graveyard) and not _exists(where)
            descriptor: int = _REAL["open"](path, flags, mode, dir_fd=dir_fd)
            if new and self._watches(where):
                inode = _REAL["fstat"](descriptor).st_ino
                _REAL["link"](where, os.path.join(self.graveyard or "", str(inode)))
                self._record(Step("create", inode, _place(where)))
            elif flags & os.O_TRUNC:
                self._record(Step("ftruncate", _REAL["fstat"](descriptor).st_ino))
            return descriptor

        return self._do(kind, where, apply)

    def _open_file(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        """``open``, with a raw file that passes through the calls above."""
        path = _path_of(file) if isinstance(file, int) else _absolute(file)
        if not self._watches(path) or not closefd:
            return _OPEN(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw_mode = mode.replace("t", "").replace("b", "").replace("U", "")
        if not isinstance(file, int):
            flags = {"r": os.O_RDONLY, "w": os.O_CREAT | os.O_TRUNC, "x": os.O_CREAT | os.O_EXCL,
                     "a": os.O_CREAT | os.O_APPEND}[raw_mode[0]] | os.O_CLOEXEC  # fmt: skip
            flags |= os.O_RDWR if "+" in mode else os.O_WRONLY if raw_mode[0] != "r" else 0
            file = opener(file, flags) if opener else os.open(file, flags, 0o666)
        try:
            raw = _RawFile(file, raw_mode.replace("x", "w"))
        except OSError:  # it is a folder
            os.close(file)
            raise
        raw.name = path
        if buffering == 0:
            return raw
        buffer: Any
        if "+" in mode:
            buffer = io.BufferedRandom(raw)
        else:
            buffer = io.BufferedReader(raw) if raw.readable() else io.BufferedWriter(raw)
        if "b" in mode:
            return buffer
        return io.TextIOWrapper(buffer, encoding, errors, newline)

    def _copy_file_range(
        self, source: int, target: int, count: int, start: Any = None, to: Any = None
    ) -> Any:
        def apply(count: int = count) -> int:
            done: int = _REAL["copy_file_range"](source, target, count, start, to)
            if self.graveyard:
                self._record_write(target, done, b"", to)
            return done

        path = _path_of(target)
        return self._do("copy_file_range", path, apply, lambda: apply(max(count // 2, 1)))

    # ---- the record

    def _record(self, step: Step) -> None:
        if self.graveyard:
            _REAL["write"](self._log, pickle.dumps(step))

    def _record_write(self, descriptor: int, done: int, _: Any, offset: int | None = None) -> None:
        if offset is None:
            offset = os.lseek(descriptor, 0, os.SEEK_CUR) - done
        with _OPEN(f"/proc/self/fd/{descriptor}", "rb", buffering=0) as file:
            data = _REAL["pread"](file.fileno(), done, offset)
        inode = _REAL["fstat"](descriptor).st_ino
        self._record(Step("write", inode, offset=offset, data=data))


class _RawFile(io.FileIO):
    """The raw file below ``open``: every call goes through the module ``os``."""

    def __init__(self, descriptor: int, mode: str) -> None:
        super().__init__(descriptor, mode, closefd=False)

    def write(self, data: Any) -> int:
        return os.write(self.fileno(), data)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self.fileno(), size)
        return size

    def readinto(self, room: Any) -> int:
        return os.readv(self.fileno(), [room])

    def readall(self) -> bytes:
        return b"".join(iter(lambda: os.read(self.fileno(), 1 << 20), b""))

    def read(self, size: int | None = -1) -> bytes:
        return self.readall() if size is None or size < 0 else os.read(self.fileno(), size)

    def close(self) -> None:
        if not self.closed:
            descriptor = self.fileno()
            super().close()
            os.close(descriptor)


def _path_of(descriptor: Any) -> str:
    """The path of an open file; empty for a pipe."""
    number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
    try:
        path: str = _REAL["readlink"](f"/proc/self/fd/{number}")
    except OSError:
        return ""
    return path.removesuffix(" (deleted)") if path.startswith("/") else ""


def _is_writable(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR))


def _absolute(path: Any, folder: int | None = None) -> str:
    if isinstance(path, int):
        return _path_of(path)
    text = os.fsdecode(path)
    if folder is not None:
        text = os.path.join(_path_of(folder), text)
    return os.path.abspath(text)


def _exists(path: str) -> bool:
    try:
        _REAL["lstat"](path)
    except OSError:
        return False
    return True


def _is_folder(path: str) -> bool:
    return _exists(path) and stat.S_ISDIR(_REAL["lstat"](path).st_mode)


def _place(path: str) -> tuple[int, str]:
    folder, name = os.path.split(path)
    return _REAL["stat"](folder).st_ino, name
