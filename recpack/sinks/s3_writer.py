"""The workers' end of a multipart upload: parts are built in place, and sent by threads while the
next ones are built."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from dataclasses import dataclass
from queue import LifoQueue, SimpleQueue
from typing import Any, NamedTuple

from recpack.errors import SinkError
from recpack.formats.recordio import RecordBuffer
from recpack.sinks.base import Receipts, SegmentWriter
from recpack.storage.checksums import Checksum
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import checksum_field
from recpack.storage.s3.retry import DamagedError, S3Error
from recpack.storage.s3.uploads import arrived_parts

MD5 = re.compile(r"[0-9a-f]{32}")
"""An ETag that is one; under SSE-KMS, for example, it is not."""


@dataclass(frozen=True)
class Upload:
    """An open multipart upload.

    ``checksum`` goes with every part if ``checked``; else the ETag that the store answers is
    compared with the part's MD5, where it is one.
    """

    s3: S3Client
    location: Location
    id: str
    checksum: Checksum
    checked: bool

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """A request about this upload."""
        return self.s3.call(
            operation, Bucket=self.location.bucket, Key=self.location.key, UploadId=self.id,
            **parameters,
        )  # fmt: skip


class PartBuffer(RecordBuffer):
    """Records in a ``bytearray`` of exactly their length: the only body that boto3 sends without
    copying it, and can send again."""

    _memory: bytearray

    def _allocate(self, size: int) -> bytearray:
        return bytearray(size)

    def _grow(self, size: int) -> None:
        try:
            self._memory += bytes(size - len(self._memory))
        except BufferError:  # somebody still looks at it
            super()._grow(size)

    def prepare(self, room: int) -> None:
        """Forget the records, and have so much memory."""
        self.clear()
        if room > len(self._memory):
            self._grow(room)

    def body(self) -> bytearray:
        """The records; the memory behind them is given up."""
        try:
            del self._memory[self._end :]
        except BufferError:  # somebody still looks at it: dask's profiler keeps whole frames
            self._memory = self._memory[: self._end]
        return self._memory


class _Part(NamedTuple):
    number: int
    buffer: PartBuffer
    checksum: int


class _Uploader:
    """One process's threads and buffers for one upload.

    Memory: ``buffers`` parts, made as they are needed. ``buffer`` waits for a free one, which is
    what keeps packing from running ahead of sending.
    """

    def __init__(self, upload: Upload, threads: int, buffers: int, *, resumed: bool) -> None:
        self._upload = upload
        self._most_threads = threads
        self._threads: list[threading.Thread] = []
        # the buffer used last is the one whose memory is still in the processor's cache
        self._free: LifoQueue[PartBuffer | None] = LifoQueue()
        for _ in range(buffers):
            self._free.put(None)
        self._queue: SimpleQueue[_Part | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._pending = 0
        self._receipts: dict[int, str] = {}
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._there: dict[int, dict[str, Any]] = {}
        if resumed:
            self._there = arrived_parts(upload.s3, upload.location, upload.id)

    def buffer(self, room: int) -> PartBuffer:
        buffer = self._free.get()
        if self._error is not None:
            self._free.put(buffer)
            self._complain()
        if buffer is None:
            return PartBuffer(room)
        buffer.prepare(room)
        return buffer

    def give_back(self, buffer: PartBuffer) -> None:
        self._free.put(buffer)

    def send(self, part: _Part) -> None:
        there = self._there.get(part.number + 1)
        with self._changed:
            if there is not None and (etag := self._same(part, there)):
                self._receipts[part.number] = etag
                self._free.put(part.buffer)
                return
            self._pending += 1
            if self._pending > len(self._threads) < self._most_threads:
                # a daemon, because a worker whose coordinator was killed must be able to end
                thread = threading.Thread(target=self._work, daemon=True)
                self._threads.append(thread)
                thread.start()
        self._queue.put(part)

    def receipts(self, *, wait: bool = False) -> Receipts:
        """Those that came in since the last time; with ``wait``, all that will."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: not self._pending or self._error is not None)
            self._complain()
            receipts, self._receipts = self._receipts, {}
        return receipts

    def stop(self) -> None:
        """End the threads, each when its request has ended; nothing more is sent."""
        self._stop.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _complain(self) -> None:
        if isinstance(self._error, S3Error):
            raise SinkError(f"{self._upload.location}: {self._error}") from self._error
        if self._error is not None:
            raise self._error

    def _same(self, part: _Part, there: dict[str, Any]) -> str | None:
        """The ETag of a part that an earlier run sent, if the store can prove that it is equal."""
        upload = self._upload
        etag = str(there.get("ETag", "")).strip('"')
        field = checksum_field(upload.checksum)
        body = part.buffer.body()
        if field in there:
            equal = there[field] == upload.checksum.base64(part.checksum)
        elif MD5.fullmatch(etag):
            equal = etag == hashlib.md5(body, usedforsecurity=False).hexdigest()
        else:
            return None
        if there.get("Size") == len(body) and equal:
            return etag
        raise SinkError(
            f"{upload.location}: can't be resumed: part {part.number + 1} of the interrupted "
            "upload is not what was packed now, so an image has changed since; run without "
            "--resume to start over"
        )

    def _work(self) -> None:
        while (part := self._queue.get()) is not None:
            etag = error = None
            try:
                if self._error is None and not self._stop.is_set():
                    etag = self._send(part)
            except BaseException as failure:  # the thread that packs must hear of all of them
                error = failure
            self._free.put(part.buffer)
            with self._changed:
                self._pending -= 1
                if etag is not None:
                    self._receipts[part.number] = etag
                self._error = self._error or error
                self._changed.notify_all()

    def _send(self, part: _Part) -> str:
        upload = self._upload
        body = part.buffer.body()
        field = checksum_field(upload.checksum)
        expected = upload.checksum.base64(part.checksum)
        parameters: dict[str, Any] = {
            "Bucket": upload.location.bucket,
            "Key": upload.location.key,
            "UploadId": upload.id,
            "PartNumber": part.number + 1,
            "Body": body,
            **upload.s3.payer,
        }
        if upload.checked:
            parameters[field] = expected
        md5 = None if upload.checked else hashlib.md5(body, usedforsecurity=False).hexdigest()

        def attempt(client: Any) -> str:
            answer = client.upload_part(**parameters)
            etag = str(answer["ETag"]).strip('"')
            if upload.checked and answer.get(field, expected) != expected:
                raise DamagedError(f"part {part.number + 1} arrived damaged: {field} differs")
            if md5 and MD5.fullmatch(etag) and etag != md5:
                raise DamagedError(f"part {part.number + 1} arrived damaged: its ETag differs")
            return etag

        return upload.s3.attempt(attempt, stop=self._stop)


_uploaders: dict[tuple[int, str], _Uploader] = {}
_coordinated: set[tuple[int, str]] = set()
_lock = threading.Lock()
"""A worker keeps its threads and buffers from one segment to the next. The process's number is in
the key, because forked workers inherit what their parent has."""


@dataclass(frozen=True)
class UploadWriter(SegmentWriter):
    """A worker's end of an ``S3Sink``.

    ``uploads`` are in flight in all, at the hands of ``workers``. Without ``lasting``, each segment
    waits until it has arrived, because its process may be gone before it can be asked. ``resumed``:
    some parts may be there already.
    """

    upload: Upload
    uploads: int
    workers: int
    lasting: bool
    resumed: bool

    def coordinate(self) -> None:
        """Say that this process coordinates the upload: if it also packs, it packs alone, or its
        threads do, and all uploads are its own."""
        _coordinated.add(self._key())

    def buffer(self, room: int) -> RecordBuffer:
        return self._uploader().buffer(room)

    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        assert isinstance(buffer, PartBuffer)
        uploader = self._uploader()
        uploader.send(_Part(number, buffer, checksum))
        return uploader.receipts(wait=not self.lasting)

    def discard(self, number: int, buffer: RecordBuffer) -> None:
        del number
        assert isinstance(buffer, PartBuffer)
        self._uploader().give_back(buffer)

    def drain(self) -> Receipts:
        with _lock:
            uploader = _uploaders.get(self._key())
        if uploader is None:
            return {}
        receipts = uploader.receipts(wait=True)
        self._stop()
        return receipts

    def dismiss(self) -> None:
        """The end of ``coordinate``: nothing more is sent from this process."""
        self._stop()
        _coordinated.discard(self._key())

    def _stop(self) -> None:
        """Give up this process's threads and buffers."""
        with _lock:
            uploader = _uploaders.pop(self._key(), None)
        if uploader is not None:
            uploader.stop()

    def _key(self) -> tuple[int, str]:
        return os.getpid(), self.upload.id

    def _uploader(self) -> _Uploader:
        key = self._key()
        with _lock:
            if key not in _uploaders:
                if key in _coordinated:
                    threads, packers = self.uploads, self.workers
                else:
                    threads, packers = -(-self.uploads // self.workers), 1
                try:
                    _uploaders[key] = _Uploader(
                        self.upload, threads, threads + packers, resumed=self.resumed
                    )
                except S3Error as error:
                    raise SinkError(f"{self.upload.location}: {error}") from error
            return _uploaders[key]
