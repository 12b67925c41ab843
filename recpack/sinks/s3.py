"""A ``.rec`` as a multipart upload: its segments are the parts, and the workers send them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from recpack.errors import SinkError
from recpack.formats.recordio import RecordBuffer
from recpack.settings import takes
from recpack.sinks.base import (
    COMPANIONS,
    MANIFEST,
    Receipts,
    SegmentWriter,
    Sink,
    SinkPlan,
    Written,
)
from recpack.sinks.s3_proof import prove
from recpack.sinks.s3_writer import Upload, UploadWriter
from recpack.sinks.settings import S3SinkSettings
from recpack.storage.checksums import Checksum
from recpack.storage.s3.client import PREFLIGHT_PATIENCE, S3Client
from recpack.storage.s3.location import Location, parse_location
from recpack.storage.s3.objects import checksum_field, delete, head, put_lines
from recpack.storage.s3.retry import S3Error, S3NotFoundError
from recpack.storage.s3.uploads import MARKER, Marker, abort_upload, read_marker, uploads_of_marker

MIN_PART = 5 << 20
MAX_PARTS = 10_000

_PERHAPS_COMPLETED = ("NoSuchUpload", "PreconditionFailed")
"""Answers to a second ``complete`` after a first one that succeeded, but whose answer was lost."""


class S3Sink(Sink):
    """``s3://bucket/prefix/train/train.rec``, its companions under ``prefix/_recpack/``.

    Memory of a run: ``(workers + uploads) × part size``, plus the metadata. A part is a segment: of
    ``segment_size``, or larger if the ``.rec`` needs more than 10,000 parts otherwise.

    A small object, the marker ``_recpack/train.upload.json``, exists from before the upload begins
    until it is published or aborted. It tells ``resume`` and ``recpack s3-cleanup`` which uploads
    belong to recpack and what they contain. Without ``resume``, the sink aborts the upload of an
    earlier run and begins again; with it, a failure leaves the upload open.

    ``uploads``: requests in flight, in all workers together · ``checksum``: ``crc32``,
    ``crc64nvme``, or ``none`` for a store that refuses them (then parts are compared by MD5) ·
    ``storage_class``: of the ``.rec`` · ``sse``, ``kms_key_id``: encryption of all objects (a key
    alone means ``aws:kms``) · ``patience``: seconds of retries after a request's first failure.
    Credentials come from boto3's chain.
    """

    min_segment = MIN_PART
    max_segments = MAX_PARTS
    gives_receipts = True
    inherited = True

    @takes(S3SinkSettings)
    def __init__(self, url: str, settings: S3SinkSettings) -> None:
        self.location = parse_location(url)
        self.name = self.location.key.rpartition("/")[2]
        if not self.name.removesuffix(".rec") or not self.name.endswith(".rec"):
            raise SinkError(f"{url}: the output's name must end in .rec")
        self._checked = settings.checksum != "none"
        self.checksum = Checksum(settings.checksum) if self._checked else Checksum.CRC32
        self._s3 = S3Client.of(settings, settings.patience)
        self._uploads = settings.uploads
        sse = settings.sse or ("aws:kms" if settings.kms_key_id else None)
        encryption = {"ServerSideEncryption": sse, "SSEKMSKeyId": settings.kms_key_id}
        self._encryption = {name: value for name, value in encryption.items() if value}
        self._creation = dict(self._encryption)
        if settings.storage_class:
            self._creation["StorageClass"] = settings.storage_class
        if self._checked:
            self._creation |= {
                "ChecksumAlgorithm": self.checksum.name,
                "ChecksumType": "FULL_OBJECT",
            }
        self._overwrite, self._resume = settings.overwrite, settings.resume
        self._opened = self._published = self._fresh = False
        self._marker: Marker | None = None
        self._resumed: Marker | None = None
        self._upload: Upload | None = None
        self._writer: UploadWriter | None = None
        self._objects: list[Location] = []

    def __enter__(self) -> Self:
        try:
            self._preflight()
        except BaseException as error:
            reported = self._sink_error(error) if isinstance(error, OSError) else error
            self._leave(reported)
            if reported is error:
                raise
            raise reported from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, trace
        self._leave(error)

    def open(self, plan: SinkPlan) -> SegmentWriter:
        full_plan = {"upload options": json.dumps(self._creation), **plan.fingerprint()}
        try:
            again, self._opened = self._opened, True
            resumed = self._continue(full_plan)
            if again:
                self._end_upload()
                self._begin()
            if self._upload is None:
                return _ChecksumWriter()
            self._mark(self._upload.id, full_plan)
        except OSError as error:
            raise self._sink_error(error) from error
        self._writer = UploadWriter(
            self._upload, self._uploads, plan.workers, plan.lasting, resumed
        )
        self._writer.coordinate()
        return self._writer

    def publish(
        self,
        written: Written,
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[str | None], str],
    ) -> None:
        try:
            if self._overwrite:
                # without its manifest an older output does not look finished
                delete(self._s3, self.location.companion(MANIFEST))
            if self._upload is not None:
                self._complete(self._upload, written)
            etag = prove(self._s3, self.location, written)
            for suffix in COMPANIONS:
                if suffix in companions:
                    self._put(suffix, companions[suffix])
                elif self._overwrite:
                    delete(self._s3, self.location.companion(suffix))
            self._put(MANIFEST, [manifest(etag)])
            self._published = True
            self._dismiss_writer()
        except OSError as error:
            raise self._sink_error(error) from error
        with suppress(OSError):  # a marker without an upload does no harm
            delete(self._s3, self.location.companion(MARKER))

    def abort(self) -> None:
        """Abort the upload, unless ``resume`` keeps it, and remove an incomplete output. Raises
        S3Error when the store refuses."""
        if self._marker is None or self._published:
            return
        self._dismiss_writer()
        if self._keeps_upload:
            return
        self._end_upload()
        for location in self._objects:
            delete(self._s3, location)
        delete(self._s3, self.location.companion(MARKER))
        self._marker = None

    @property
    def _keeps_upload(self) -> bool:
        return self._resume and (self._opened or self._resumed is not None)

    def _preflight(self) -> None:
        """Check within seconds that the output can be written, and begin the upload."""
        patience = min(PREFLIGHT_PATIENCE, self._s3.patience)
        try:
            self._s3.call("head_bucket", Bucket=self.location.bucket, patience=patience)
        except S3NotFoundError as error:
            raise S3Error("there is no such bucket; create it, or correct the name") from error
        companions = [self.location.companion(suffix) for suffix in (*COMPANIONS, MANIFEST)]
        present = [one for one in (self.location, *companions) if self._exists(one, patience)]
        finished = companions[-1] in present
        marker = read_marker(self._s3, self.location, patience=patience)
        if marker is not None and not finished:
            uploads = uploads_of_marker(self._s3, self.location, marker)
            if self._resume and marker.plan:
                self._marker = self._resumed = marker
                self._fresh = marker.fresh
                return
            if marker.fresh and not uploads:
                # a run completed the upload and was killed before the manifest
                for location in present:
                    delete(self._s3, location)
                present = []
        if present and not self._overwrite:
            raise SinkError(
                f"{present[0]} exists; choose another name or replace it with --overwrite"
            )
        if marker is not None:
            self._marker = marker
            self._end_marked_uploads()
        self._fresh = not present
        self._begin(patience)

    def _exists(self, location: Location, patience: float) -> bool:
        try:
            head(self._s3, location, patience=patience)
        except S3NotFoundError:
            return False
        except S3Error as error:
            if error.code != "403":
                raise
            return False  # also the answer for a missing object if listing is not allowed
        return True

    def _begin(self, patience: float | None = None) -> None:
        self._mark(None, {}, patience)
        request = {"Bucket": self.location.bucket, "Key": self.location.key, **self._s3.payer}
        attempts = 0

        def create(client: Any) -> str:
            nonlocal attempts
            attempts += 1
            answer = client.create_multipart_upload(**request, **self._creation)
            return str(answer["UploadId"])

        try:
            upload_id = self._s3.attempt(create, patience=patience)
        except S3Error as error:
            if self._checked and error.code in ("InvalidArgument", "InvalidRequest",
                                                "NotImplemented"):  # fmt: skip
                hint = "; if the store keeps no checksums, use --checksum none"
                raise S3Error(f"{error}{hint}", error.code) from error
            raise
        if attempts > 1:  # an earlier attempt can have begun an upload, but its answer was lost
            self._end_marked_uploads(but=upload_id)
        self._upload = Upload(self._s3, self.location, upload_id, self.checksum, self._checked)

    def _continue(self, plan: Mapping[str, str]) -> bool:
        """Continue the upload of an earlier run; returns whether there is one."""
        marker, self._resumed = self._resumed, None
        if marker is None:
            return False
        changed = [topic for topic in plan if marker.plan.get(topic) != plan[topic]]
        if changed:
            self._resumed = marker  # keeps the upload open
            raise SinkError(
                f"{self.location}: can't be resumed: the {' and the '.join(changed)} changed "
                "since the upload began; run again without --resume"
            )
        uploads = uploads_of_marker(self._s3, self.location, marker)
        if uploads:
            id_ = uploads[0].id
            self._upload = Upload(self._s3, self.location, id_, self.checksum, self._checked)
        elif not self._exists(self.location, self._s3.patience):
            self._begin()  # the upload is gone; if the object exists, it only needs publication
        return bool(uploads)

    def _complete(self, upload: Upload, written: Written) -> None:
        parts = []
        for segment in written.segments:
            part = {"PartNumber": segment.number + 1, "ETag": written.receipts[segment.number]}
            if self._checked:
                part[checksum_field(self.checksum)] = self.checksum.base64(segment.checksum)
            parts.append(part)
        parameters: dict[str, Any] = {"MultipartUpload": {"Parts": parts}}
        if self._checked:
            parameters[checksum_field(self.checksum)] = self.checksum.base64(written.value)
            parameters |= {"ChecksumType": "FULL_OBJECT", "MpuObjectSize": written.size}
        if not self._overwrite:
            parameters["IfNoneMatch"] = "*"
            self._objects.append(self.location)  # now, because the next call can be interrupted
        try:
            upload.call("complete_multipart_upload", **parameters)
        except S3Error as error:
            # an earlier attempt can have succeeded, but its answer was lost
            doubtful = error.gave_up or error.code in _PERHAPS_COMPLETED
            if not doubtful or not self._is_proven(written):
                if not error.gave_up:
                    self._objects.clear()
                if error.code == "PreconditionFailed":
                    raise SinkError(
                        f"{self.location}: another program wrote it during this run; choose "
                        "another name or replace it with --overwrite"
                    ) from error
                raise
        self._objects = [self.location]

    def _is_proven(self, written: Written) -> bool:
        try:
            prove(self._s3, self.location, written)
        except (SinkError, S3Error):
            return False
        return True

    def _put(self, suffix: str, lines: Iterable[str]) -> None:
        location = self.location.companion(suffix)
        self._objects.append(location)
        put_lines(self._s3, location, lines, checked=self._checked, **self._encryption)

    def _mark(
        self, upload_id: str | None, plan: Mapping[str, str], patience: float | None = None
    ) -> None:
        self._marker = Marker(self.location.key, upload_id, plan, self._fresh)
        self._marker.write(
            self._s3, self.location, checked=self._checked, patience=patience,
            **self._encryption,
        )  # fmt: skip

    def _end_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            abort_upload(self._s3, self.location, upload.id)
        elif self._marker is not None:
            self._end_marked_uploads()

    def _end_marked_uploads(self, *, but: str | None = None) -> None:
        assert self._marker is not None
        for upload in uploads_of_marker(self._s3, self.location, self._marker):
            if upload.id != but:
                abort_upload(self._s3, self.location, upload.id)

    def _dismiss_writer(self) -> None:
        if self._writer is not None:
            self._writer.dismiss()

    def _leave(self, error: BaseException | None) -> None:
        """Abort; if that fails too, add a note to ``error``."""
        try:
            self.abort()
        except OSError as failure:
            if error is None:
                raise self._sink_error(failure) from failure
            error.add_note(
                f"{self.location}: can't abort the upload: {failure}; run "
                f"recpack s3-cleanup {self.location}"
            )
        if (
            error is not None
            and self._marker is not None
            and self._keeps_upload
            and not self._published
        ):
            error.add_note(
                f"{self.location}: the upload stays open; run again with --resume, or abort it "
                f"with recpack s3-cleanup {self.location}"
            )

    def _sink_error(self, error: OSError) -> SinkError:
        return SinkError(f"{self.location}: {error}")


class _ChecksumWriter(SegmentWriter):
    """Sends nothing: an earlier run completed the upload, and only its checksums are needed."""

    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        del buffer, checksum
        return {number: ""}
