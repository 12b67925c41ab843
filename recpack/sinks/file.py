"""A ``.rec`` on a local disk: workers write their own segments at their own offsets.

A segment's length is known only when it is packed (an image may hold a magic word, a re-encoded
one has any size), so lengths are handed on: each worker tells its segment's length, learns those of
all before it, then writes. Nobody waits for a write, only for the packing before it. The hand-over
goes through a small file of 8-byte slots, so workers may be threads, processes, or machines that
share the folder.

Where the order of the tasks guarantees that all packing before a segment has begun, it is waited
for. On a cluster nothing does: there a worker that has waited for some seconds puts its segment
into a file of its own, and it is moved into its place in the end.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import struct
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from recpack.errors import SinkError
from recpack.recordio import RecordBuffer
from recpack.sinks.base import (
    COMPANIONS,
    MANIFEST,
    Probe,
    Receipts,
    SegmentWriter,
    Sink,
    Written,
)

PARTIAL = ".recpack-partial"
LENGTHS = ".recpack-lengths"

_TOKEN = 16
"""Bytes of the random token that this run's temporary files begin with."""
_SLOT = struct.Struct("<q")
_FAILED = -1
_POLL_SECONDS = 0.0005
_POLLS_A_CHECK = 2000
_PATIENCE = 5.0
_CLUSTER_POLL_SECONDS = 0.05
"""Seconds that a worker of a cluster waits for the segments before its own, and between looks."""
_BLOCK = 16 << 20
_ASIDE = "aside"
"""The receipt of a segment that is in a file of its own."""


class FileSink(Sink):
    """``train.rec`` with ``train.idx``, ``train.lst`` and ``train.json`` beside it.

    Everything is written under temporary names, synced, and renamed, the manifest last. The
    temporary ``.rec`` is locked: it shows a second run that this one is alive, and an unlocked one
    is the leftover of a run that was killed, which the next run removes. ``spare`` names
    companions that are not this sink's to write (a list that is packed where it lies).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        spare: Collection[str] = (),
    ) -> None:
        self.path = Path(os.path.abspath(path))  # workers may have another working directory
        self.name = self.path.name
        if self.path.suffix != ".rec":
            raise SinkError(f"{self.path}: the output's name must end in .rec")
        self._overwrite = overwrite
        self._suffixes = [suffix for suffix in COMPANIONS if suffix not in spare]
        self._lock = -1
        self._token = os.urandom(_TOKEN)

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            killed_before = self._take_lock()
            self._make_room(renames_begun=not killed_before)
            os.pwrite(self._lock, self._token, 0)
        except OSError as error:
            self.abort()
            raise SinkError(f"{self.path}: can't be written: {error.strerror}") from error
        except SinkError:
            self.abort()
            raise
        return self

    def open(
        self,
        segments: int,
        *,
        workers: int = 1,
        lasting: bool = True,
        ordered: bool = True,
        plan: Callable[[], Mapping[str, str]] = dict,
    ) -> FileSegmentWriter:
        del workers, lasting, plan
        lengths = self._temporary(".rec", LENGTHS)
        try:
            os.ftruncate(self._lock, 0)
            lengths.unlink(missing_ok=True)
            with lengths.open("xb") as file:
                file.write(self._token)
                file.truncate(_TOKEN + _SLOT.size * segments)
        except OSError as error:
            raise SinkError(f"{self.path}: can't be written: {error.strerror}") from error
        return FileSegmentWriter(
            os.fspath(self._temporary(".rec")), os.fspath(lengths), self._token, ordered
        )

    def probe(self) -> FileProbe:
        return FileProbe(os.fspath(self._temporary(".rec")), self._token)

    def publish(
        self,
        written: Written,
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[str | None], str],
    ) -> None:
        try:
            self._gather(written)
            arrived, size = os.fstat(self._lock).st_size, written.size
            if arrived != size:
                raise SinkError(f"{self.path}: {arrived:,} bytes arrived, {size:,} were packed")
            os.fsync(self._lock)
            present = [suffix for suffix in self._suffixes if suffix in companions]
            for suffix in present:
                _write_synced(self._temporary(suffix), companions[suffix])
            _write_synced(self._temporary(MANIFEST), [manifest(None)])
            # without its manifest an older output no longer looks finished while names change
            self.path.with_suffix(MANIFEST).unlink(missing_ok=True)
            for suffix in self._suffixes:
                if suffix not in present:
                    self.path.with_suffix(suffix).unlink(missing_ok=True)
            for suffix in (".rec", *present, MANIFEST):
                self._temporary(suffix).rename(self.path.with_suffix(suffix))
            _sync_folder(self.path.parent)
        except OSError as error:
            raise SinkError(f"{self.path}: can't be written: {error.strerror}") from error
        self.abort()

    def abort(self) -> None:
        if self._lock >= 0:
            self._remove_leftovers()
            os.close(self._lock)
            self._lock = -1

    def _gather(self, written: Written) -> None:
        """Put the segments that were left aside into their places."""
        start = 0
        for segment in written.segments:
            if written.receipts.get(segment.number) == _ASIDE:
                aside = _aside(self._temporary(".rec"), segment.number)
                with open(aside, "rb") as file:
                    _copy(file.fileno(), self._lock, start, segment.size)
                os.unlink(aside)
            start += segment.size

    def _temporary(self, suffix: str, ending: str = PARTIAL) -> Path:
        return self.path.with_name(self.path.with_suffix(suffix).name + ending)

    def _take_lock(self) -> bool:
        """Hold a lock on a temporary ``.rec`` of our own, of which no other process knows; returns
        whether there was one of a run that was killed before it began to rename."""
        partial = self._temporary(".rec")
        found = False
        while True:
            try:
                lock = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                lock = -1
            if lock < 0:
                self._remove_dead(partial)
                found = True
                continue
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_file(lock, partial):
                self._lock = lock
                return found
            os.close(lock)

    def _remove_dead(self, partial: Path) -> None:
        """Remove the temporary file of a run that was killed. Its workers may still write into
        it, which is why it is removed and not used again."""
        with suppress(FileNotFoundError):
            lock = os.open(partial, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_file(lock, partial):
                    partial.unlink()
            except BlockingIOError:
                raise SinkError(f"{self.path}: another run is writing it") from None
            finally:
                os.close(lock)

    def _make_room(self, *, renames_begun: bool) -> None:
        """Refuse to replace a finished output unasked; clear away an unfinished one."""
        names = [self.path.with_suffix(suffix) for suffix in (".rec", *self._suffixes, MANIFEST)]
        half_published = (
            renames_begun
            and self._temporary(MANIFEST).exists()
            and not self.path.with_suffix(MANIFEST).exists()
        )
        present = [name for name in names if name.exists()]
        if present and half_published:
            # a run was killed between its renames: these files are its own, and complete nothing
            for name in present:
                name.unlink()
        elif present and not self._overwrite:
            raise SinkError(
                f"{present[0]} exists; choose another name or replace it with --overwrite"
            )
        self._remove_leftovers(keep_lock=True)

    def _remove_leftovers(self, *, keep_lock: bool = False) -> None:
        for suffix in (*COMPANIONS, MANIFEST):
            self._temporary(suffix).unlink(missing_ok=True)
        self._temporary(".rec", LENGTHS).unlink(missing_ok=True)
        partial = self._temporary(".rec")
        for aside in partial.parent.glob(glob.escape(_aside(partial.name, "")) + "*"):
            aside.unlink(missing_ok=True)
        if not keep_lock and _is_file(self._lock, partial):
            partial.unlink()


def write_file(path: Path, lines: Iterable[str]) -> None:
    """Write a text file of its own, whole or not at all; SinkError when that fails."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(partial, lines)
        partial.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise SinkError(f"{path}: can't be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_synced(path: Path, lines: Iterable[str]) -> None:
    # names of no encoding, in a quarantine list, are written as the bytes that they are
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _is_file(descriptor: int, path: Path) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class FileProbe(Probe):
    """A temporary file, and what it begins with."""

    partial: str
    token: bytes

    def demand(self) -> None:
        try:
            output = os.open(self.partial, os.O_RDWR)
            try:
                if os.pread(output, _TOKEN, 0) == self.token:
                    return
            finally:
                os.close(output)
            reason = "another file is there"
        except OSError as error:
            reason = str(error.strerror)
        raise SinkError(
            f"it does not see {os.path.dirname(self.partial)} as the coordinator does ({reason}); "
            "write to a folder that all workers share, or to S3"
        )


@dataclass(frozen=True)
class FileSegmentWriter(SegmentWriter):
    """A worker's end of a ``FileSink``: two names, what one of them must begin with, and whether
    segments begin in their order."""

    partial: str
    lengths: str
    token: bytes
    ordered: bool

    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        del checksum
        data = buffer.view()
        self._tell(number, len(data) + 1)
        start = self._await_start(number)
        try:
            if start is None:
                self._put_aside(number, data)
                return {number: _ASIDE}
            output = os.open(self.partial, os.O_WRONLY)
            try:
                _write(output, data, start)
                if not self.ordered:
                    os.fsync(output)  # on a shared disk the coordinator's own would not do
            finally:
                os.close(output)
        except OSError as error:
            raise SinkError(f"{self.partial}: can't be written: {error.strerror}") from error
        return {}

    def fail(self, number: int) -> None:
        with suppress(OSError, SinkError):
            self._tell(number, _FAILED)

    def _tell(self, number: int, value: int) -> None:
        lengths = self._open_lengths()
        os.pwrite(lengths, _SLOT.pack(value), _TOKEN + _SLOT.size * number)
        os.close(lengths)

    def _open_lengths(self) -> int:
        try:
            lengths = os.open(self.lengths, os.O_RDWR)
        except OSError as error:
            raise SinkError(f"{self.lengths}: {error.strerror}") from error
        if os.pread(lengths, _TOKEN, 0) != self.token:
            os.close(lengths)
            raise SinkError(f"{self.lengths}: this is not the file of the run that asked")
        return lengths

    def _await_start(self, number: int) -> int | None:
        """Where this segment begins: behind all before it, whose slots hold their lengths plus 1,
        or 0 until they are known. None when that takes too long on a cluster."""
        start = known = polls = 0
        lengths = self._open_lengths()
        give_up = time.monotonic() + _PATIENCE
        try:
            while known < number:
                size = _SLOT.size * (number - known)
                slots = np.frombuffer(
                    os.pread(lengths, size, _TOKEN + _SLOT.size * known), np.dtype("<i8")
                )
                if (slots == _FAILED).any():
                    self.fail(number)
                    raise SinkError(f"{self.partial}: an earlier segment failed")
                ready = int((slots == 0).argmax()) if (slots == 0).any() else len(slots)
                start += int(slots[:ready].sum()) - ready
                known += ready
                if known == number:
                    break
                polls += 1
                if self.ordered:
                    if polls % _POLLS_A_CHECK == 0 and not self._coordinated():
                        raise SinkError(
                            f"{self.partial}: the run that asked for this segment has ended"
                        )
                    time.sleep(_POLL_SECONDS)
                    continue
                if time.monotonic() > give_up:
                    return None
                time.sleep(_CLUSTER_POLL_SECONDS)
                os.close(lengths)
                lengths = -1
                lengths = self._open_lengths()  # opening is when other machines' changes are seen
        finally:
            if lengths >= 0:
                os.close(lengths)
        return start

    def _put_aside(self, number: int, data: memoryview) -> None:
        """Under its name only when it is whole: the same segment may be packed twice at a time."""
        name = _aside(self.partial, number)
        own = f"{name}-{os.urandom(4).hex()}"
        output = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _write(output, data, 0)
            os.fsync(output)
        finally:
            os.close(output)
        os.replace(own, name)

    def _coordinated(self) -> bool:
        """Whether the coordinator still holds its lock."""
        try:
            output = os.open(self.partial, os.O_WRONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(output, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(output)
        return False


def _aside(partial: str | Path, number: int | str) -> str:
    return f"{partial}-{number}"


def _write(output: int, data: memoryview, start: int) -> None:
    while data:
        written = os.pwrite(output, data, start)
        data, start = data[written:], start + written


def _copy(source: int, target: int, start: int, size: int) -> None:
    """Copy a file's ``size`` bytes to an offset; the disks do it alone where they can."""
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(source, target, size - done, done, start + done)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
                raise
            data = os.pread(source, min(_BLOCK, size - done), done)
            count = os.pwrite(target, data, start + done)
        if not count:
            raise OSError(errno.EIO, "a segment that was put aside was cut short")
        done += count
