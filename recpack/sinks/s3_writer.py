"""The workers' part of a multipart upload: parts are built in place, and threads send them while
the next parts are built."""

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
from recpack.sinks.base import Receipts, SegmentWriter, Written
from recpack.storage.checksums import Checksum
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import checksum_field
from recpack.storage.s3.retry import DamagedError, S3Error
from recpack.storage.s3.uploads import list_parts

MD5 = re.compile(r"[0-9a-f]{32}")
"""Matches an ETag that is an MD5; under SSE-KMS, for example, it is not."""


@dataclass(frozen=True)
class Upload:
    """An open multipart upload.

    If ``checked``, every part is sent with its ``checksum``. Else the store's ETag is compared with
    the part's MD5, if the ETag is an MD5.
    """

    s3: S3Client
    location: Location
    id: str
    checksum: Checksum
    checked: bool

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Send a request about this upload."""
        return self.s3.call(
            operation, Bucket=self.location.bucket, Key=self.location.key, UploadId=self.id,
            **parameters,
        )  # fmt: skip

    def complete(self, written: Written, **condition: str) -> None:
        """Make the object of its parts."""
        field = checksum_field(self.checksum)
        parts = []
        for segment in written.segments:
            part = {"PartNumber": segment.number + 1, "ETag": written.receipts[segment.number]}
            if self.checked:
                part[field] = self.checksum.base64(segment.checksum)
            parts.append(part)
        parameters: dict[str, Any] = {"MultipartUpload": {"Parts": parts}, **condition}
        if self.checked:
            parameters[field] = self.checksum.base64(written.value)
            parameters |= {"ChecksumType": "FULL_OBJECT", "MpuObjectSize": written.size}
        self.call("complete_multipart_upload", **parameters)


class PartBuffer(RecordBuffer):
    """Records in a ``bytearray`` of exactly their length: the only kind of body that boto3 sends
    without a copy and can send again."""

    _memory: bytearray

    def _allocate(self, size: int) -> bytearray:
        return bytearray(size)

    def _grow(self, size: int) -> None:
        try:
            self._memory += bytes(size - len(self._memory))
        except BufferError:  # a view of it still exists
            super()._grow(size)

    def prepare(self, room: int) -> None:
        """Discard the records, and get at least ``room`` bytes of memory."""
        self.clear()
        if room > len(self._memory):
            self._grow(room)

    def body(self) -> bytearray:
        """The records; it frees the memory after them."""
        try:
            del self._memory[self._end :]
        except BufferError:  # a view of it still exists: dask's profiler keeps whole frames
            self._memory = self._memory[: self._end]
        return self._memory


class _Part(NamedTuple):
    """A segment, and the ``number`` of its part in the upload, from 1."""

    segment: int
    upload: Upload
    number: int
    buffer: PartBuffer
    checksum: int


class _Uploader:
    """One process's threads and buffers for one run: its upload, or those of a set of shards.

    Memory: ``buffers`` parts, allocated when needed. ``buffer`` waits for a free one, so packing
    can't run far ahead of sending.
    """

    def __init__(self, upload: Upload, threads: int, buffers: int, *, resumed: bool) -> None:
        self._max_threads = threads
        self._threads: list[threading.Thread] = []
        # the memory of the last used buffer is still in the processor's cache
        self._free: LifoQueue[PartBuffer | None] = LifoQueue()
        for _ in range(buffers):
            self._free.put(None)
        self._queue: SimpleQueue[_Part | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._pending = 0
        self._receipts: dict[int, str] = {}
        self._error: BaseException | None = None
        self._failed = upload.location
        self._stop = threading.Event()
        self._earlier_parts: dict[int, dict[str, Any]] = {}
        if resumed:
            self._earlier_parts = list_parts(upload.s3, upload.location, upload.id)

    def buffer(self, room: int) -> PartBuffer:
        buffer = self._free.get()
        if self._error is not None:
            self._free.put(buffer)
            self._raise_error()
        if buffer is None:
            return PartBuffer(room)
        buffer.prepare(room)
        return buffer

    def give_back(self, buffer: PartBuffer) -> None:
        self._free.put(buffer)

    def send(self, part: _Part) -> None:
        earlier = self._earlier_parts.get(part.number)
        with self._changed:
            if earlier is not None and (etag := self._match(part, earlier)):
                self._receipts[part.segment] = etag
                self._free.put(part.buffer)
                return
            self._pending += 1
            if self._pending > len(self._threads) < self._max_threads:
                # a daemon: after the coordinator is killed, its workers must be able to end
                thread = threading.Thread(target=self._work, daemon=True)
                self._threads.append(thread)
                thread.start()
        self._queue.put(part)

    def receipts(self, *, wait: bool = False) -> Receipts:
        """The receipts since the last call; with ``wait``, of all pending parts."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: not self._pending or self._error is not None)
            self._raise_error()
            receipts, self._receipts = self._receipts, {}
        return receipts

    def stop(self) -> None:
        """End each thread after its current request; send nothing more."""
        self._stop.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _raise_error(self) -> None:
        if isinstance(self._error, S3Error):
            raise SinkError(f"{self._failed}: {self._error}") from self._error
        if self._error is not None:
            raise self._error

    def _match(self, part: _Part, earlier: dict[str, Any]) -> str | None:
        """The ETag of the part that an earlier run sent, if the store can prove that it is equal;
        else None. SinkError if it differs."""
        upload = part.upload
        etag = str(earlier.get("ETag", "")).strip('"')
        field = checksum_field(upload.checksum)
        body = part.buffer.body()
        if field in earlier:
            equal = earlier[field] == upload.checksum.base64(part.checksum)
        elif MD5.fullmatch(etag):
            equal = etag == hashlib.md5(body, usedforsecurity=False).hexdigest()
        else:
            return None
        if earlier.get("Size") == len(body) and equal:
            return etag
        raise SinkError(
            f"{upload.location}: can't be resumed: part {part.number} of the interrupted "
            "upload is not equal to the part now, so an image has changed; run again without "
            "--resume"
        )

    def _work(self) -> None:
        while (part := self._queue.get()) is not None:
            etag = error = None
            try:
                if self._error is None and not self._stop.is_set():
                    etag = self._send(part)
            except BaseException as failure:  # the packing thread must get every error
                error = failure
            self._free.put(part.buffer)
            with self._changed:
                self._pending -= 1
                if etag is not None:
                    self._receipts[part.segment] = etag
                if error is not None and self._error is None:
                    self._error, self._failed = error, part.upload.location
                self._changed.notify_all()

    def _send(self, part: _Part) -> str:
        upload = part.upload
        body = part.buffer.body()
        field = checksum_field(upload.checksum)
        expected = upload.checksum.base64(part.checksum)
        parameters: dict[str, Any] = {
            "Bucket": upload.location.bucket,
            "Key": upload.location.key,
            "UploadId": upload.id,
            "PartNumber": part.number,
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
                raise DamagedError(f"part {part.number} arrived damaged: {field} differs")
            if md5 and MD5.fullmatch(etag) and etag != md5:
                raise DamagedError(f"part {part.number} arrived damaged: its ETag differs")
            return etag

        return upload.s3.attempt(attempt, stop=self._stop)


_uploaders: dict[tuple[int, str], _Uploader] = {}
_coordinators: set[tuple[int, str]] = set()
_lock = threading.Lock()
"""A worker keeps its threads and buffers for the next segments. The process id is in the key,
because forked workers inherit the table of their parent."""


@dataclass(frozen=True)
class UploadWriter(SegmentWriter):
    """A worker's part of an ``S3Sink``.

    ``uploads``: requests in flight, of all ``workers`` together. Without ``lasting``, ``write``
    waits until the segment has arrived, because its process can end before the sink asks for the
    receipt. ``resumed``: the store can have some parts already. ``first``: the first segment of
    this upload, and ``run``: what the uploads of a set of shards have in common, so that a process
    has the same threads and buffers for all.
    """

    upload: Upload
    uploads: int
    workers: int
    lasting: bool
    resumed: bool
    first: int = 0
    run: str = ""

    def coordinate(self) -> None:
        """Mark this process as the coordinator: if it also packs (alone, or in its threads), it can
        use all ``uploads``."""
        _coordinators.add(self._key())

    def buffer(self, room: int) -> RecordBuffer:
        return self._uploader().buffer(room)

    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        assert isinstance(buffer, PartBuffer)
        uploader = self._uploader()
        part = number - self.first + 1
        uploader.send(_Part(number, self.upload, part, buffer, checksum))
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
        """The end of ``coordinate``: this process sends nothing more."""
        self._stop()
        _coordinators.discard(self._key())

    def _stop(self) -> None:
        """End this process's threads, and free its buffers."""
        with _lock:
            uploader = _uploaders.pop(self._key(), None)
        if uploader is not None:
            uploader.stop()

    def _key(self) -> tuple[int, str]:
        return os.getpid(), self.run or self.upload.id

    def _uploader(self) -> _Uploader:
        key = self._key()
        with _lock:
            if key not in _uploaders:
                if key in _coordinators:
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
