"""The workers' part of a ``FileSink``: it computes offsets through a shared file of lengths.

A segment's length is known only when it is packed (an image can contain a magic word, a re-encoded
one has any size). So each worker publishes the length of its segment, waits for the lengths of all
segments before it, then writes. It waits only for packing, never for a write. The lengths are in a
small file of 8-byte slots, so workers can be threads, processes, or machines that share the folder.

Where the tasks begin in order, all packing before a segment has begun, and the worker waits for it.
A cluster does not guarantee this: there a worker waits some seconds, then writes its segment to a
file of its own, and the sink copies it to its offset at the end.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recpack.errors import SinkError
from recpack.formats.recordio import RecordBuffer
from recpack.sinks.base import Probe, Receipts, SegmentWriter, Written

SLOT = struct.Struct("<q")
_FAILED = -1
_POLL_SECONDS = 0.0005
_POLLS_A_CHECK = 2000
_PATIENCE = 5.0
_CLUSTER_POLL_SECONDS = 0.05
"""Seconds that a worker of a cluster waits for the segments before its own, and seconds between
two reads of the lengths."""
_BLOCK = 16 << 20
ASIDE = "aside"
"""The receipt of a segment that is in a file of its own."""
LONGEST_ASIDE = 20
"""Bytes that the name of such a file has more than that of the unfinished ``.rec``."""


@dataclass(frozen=True)
class FileProbe(Probe):
    """The unfinished file must be there: no other folder has one of its random name."""

    partial: str

    def demand(self) -> None:
        try:
            os.close(os.open(self.partial, os.O_RDWR | os.O_NOFOLLOW))
        except OSError as error:
            folder = os.path.dirname(self.partial)
            raise SinkError(
                f"it does not see {folder} as the coordinator does ({error.strerror}); "
                "write to a folder that all workers share, or to S3"
            ) from error


@dataclass(frozen=True)
class FileSegmentWriter(SegmentWriter):
    """A worker's part of a ``FileSink``: the paths of the unfinished ``.rec`` and of the lengths,
    and whether segments begin in order. ``first``: the first segment of this ``.rec``, if it is a
    shard of a set · ``held``: the file that the coordinator has locked, if it is not the ``.rec``.
    """

    partial: str
    lengths: str
    ordered: bool
    first: int = 0
    held: str | None = None

    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        del checksum
        data = buffer.view()
        try:
            self._set_slot(number, len(data) + 1)
            start = self._await_start(number)
            if start is None:
                self._put_aside(number, data)
                return {number: ASIDE}
            output = os.open(self.partial, os.O_WRONLY | os.O_NOFOLLOW)
            try:
                _write(output, data, start)
                if not self.ordered:
                    os.fsync(output)  # on a shared disk the coordinator's fsync is not enough
            finally:
                os.close(output)
        except OSError as error:
            raise SinkError(f"{self.partial}: can't be written: {error.strerror}") from error
        return {}

    def fail(self, number: int) -> None:
        with suppress(OSError, SinkError):
            self._set_slot(number, _FAILED)

    def _set_slot(self, number: int, value: int) -> None:
        lengths = self._open_lengths()
        try:
            os.pwrite(lengths, SLOT.pack(value), SLOT.size * number)
        finally:
            os.close(lengths)

    def _open_lengths(self) -> int:
        try:
            return os.open(self.lengths, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise SinkError(f"{self.partial}: the run that began this task has ended") from None
        except OSError as error:
            raise SinkError(f"{self.lengths}: {error.strerror}") from error

    def _await_start(self, number: int) -> int | None:
        """The offset of this segment: the sum of the lengths before it. A slot contains the length
        plus 1, or 0 while it is unknown. None after a long wait on a cluster."""
        start = polls = 0
        known = self.first
        lengths = self._open_lengths()
        give_up = time.monotonic() + _PATIENCE
        try:
            while known < number:
                size = SLOT.size * (number - known)
                slots = np.frombuffer(os.pread(lengths, size, SLOT.size * known), np.dtype("<i8"))
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
                    if polls % _POLLS_A_CHECK == 0 and not self._coordinator_lives():
                        raise SinkError(f"{self.partial}: the run that began this task has ended")
                    time.sleep(_POLL_SECONDS)
                    continue
                if time.monotonic() > give_up:
                    return None
                time.sleep(_CLUSTER_POLL_SECONDS)
                os.close(lengths)
                lengths = -1
                lengths = self._open_lengths()  # changes by other machines are visible after open
        finally:
            if lengths >= 0:
                os.close(lengths)
        return start

    def _put_aside(self, number: int, data: memoryview) -> None:
        """Write a segment to its own file; rename it when complete, because two workers can pack
        the same segment at the same time."""
        name = aside_name(self.partial, number - self.first)
        temporary = f"{name}-{os.urandom(4).hex()}"
        output = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _write(output, data, 0)
            os.fsync(output)
        finally:
            os.close(output)
        os.replace(temporary, name)

    def _coordinator_lives(self) -> bool:
        """Whether the coordinator still holds its lock."""
        try:
            output = os.open(self.held or self.partial, os.O_WRONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(output, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(output)
        return False


def aside_name(partial: str | Path, number: int | str) -> str:
    return f"{partial}-{number}"


def complete(output: int, partial: Path, written: Written, name: object) -> None:
    """Copy the segments that are in files of their own into the ``.rec`` that they belong to, check
    its size, and sync it. Raises OSError, SinkError."""
    start = 0
    for segment in written.segments:
        if written.receipts.get(segment.number) == ASIDE:
            aside = aside_name(partial, segment.number)
            with open(aside, "rb") as file:
                copy_into(file.fileno(), output, start, segment.size)
            os.unlink(aside)
        start += segment.size
    actual = os.fstat(output).st_size
    if actual != start:
        raise SinkError(f"{name}: {actual:,} bytes arrived, {start:,} were packed")
    os.fsync(output)


def _write(output: int, data: memoryview, start: int) -> None:
    while data:
        written = os.pwrite(output, data, start)
        data, start = data[written:], start + written


def copy_into(source: int, target: int, start: int, size: int) -> None:
    """Copy a file's ``size`` bytes to an offset; inside the file system where it supports that."""
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
            raise OSError(errno.EIO, "the file of a segment is truncated")
        done += count
