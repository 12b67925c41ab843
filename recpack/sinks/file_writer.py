"""What a worker holds of a ``FileSink``: two names, and how lengths are handed on through a file.

A segment's length is known only when it is packed (an image may hold a magic word, a re-encoded
one has any size), so each worker tells its segment's length, learns those of all before it, then
writes. Nobody waits for a write, only for the packing before it. The hand-over goes through a small
file of 8-byte slots, so workers may be threads, processes, or machines that share the folder.

Where the order of the tasks guarantees that all packing before a segment has begun, it is waited
for. On a cluster nothing does: there a worker that has waited for some seconds puts its segment
into a file of its own, and the sink moves it into its place in the end.
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
from recpack.sinks.base import Probe, Receipts, SegmentWriter

TOKEN = 16
"""Bytes of the random token that this run's temporary files begin with."""
SLOT = struct.Struct("<q")
_FAILED = -1
_POLL_SECONDS = 0.0005
_POLLS_A_CHECK = 2000
_PATIENCE = 5.0
_CLUSTER_POLL_SECONDS = 0.05
"""Seconds that a worker of a cluster waits for the segments before its own, and between looks."""
_BLOCK = 16 << 20
ASIDE = "aside"
"""The receipt of a segment that is in a file of its own."""


@dataclass(frozen=True)
class FileProbe(Probe):
    """A temporary file, and what it begins with."""

    partial: str
    token: bytes

    def demand(self) -> None:
        try:
            output = os.open(self.partial, os.O_RDWR)
            try:
                if os.pread(output, TOKEN, 0) == self.token:
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
                return {number: ASIDE}
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
        os.pwrite(lengths, SLOT.pack(value), TOKEN + SLOT.size * number)
        os.close(lengths)

    def _open_lengths(self) -> int:
        try:
            lengths = os.open(self.lengths, os.O_RDWR)
        except OSError as error:
            raise SinkError(f"{self.lengths}: {error.strerror}") from error
        if os.pread(lengths, TOKEN, 0) != self.token:
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
                size = SLOT.size * (number - known)
                slots = np.frombuffer(
                    os.pread(lengths, size, TOKEN + SLOT.size * known), np.dtype("<i8")
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
        name = aside_name(self.partial, number)
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


def aside_name(partial: str | Path, number: int | str) -> str:
    return f"{partial}-{number}"


def _write(output: int, data: memoryview, start: int) -> None:
    while data:
        written = os.pwrite(output, data, start)
        data, start = data[written:], start + written


def copy_into(source: int, target: int, start: int, size: int) -> None:
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
