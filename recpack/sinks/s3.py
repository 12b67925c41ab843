"""A ``.rec`` as a multipart upload: its segments are the parts, and the workers send them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from recpack.errors import ConfigError, SinkError
from recpack.settings import takes
from recpack.sinks.base import SegmentWriter, Sink, SinkPlan, Written
from recpack.sinks.s3_block import S3Block
from recpack.sinks.s3_proof import ChecksumWriter, expect, is_proven, prove, prove_completed
from recpack.sinks.s3_set_journal import demand_no_set, settle_any
from recpack.sinks.s3_writer import Upload, UploadWriter
from recpack.sinks.settings import S3SinkSettings
from recpack.storage.checksums import Checksum
from recpack.storage.files import new_token
from recpack.storage.s3.client import PREFLIGHT_PATIENCE, S3Client
from recpack.storage.s3.location import MANIFEST, parse_location
from recpack.storage.s3.objects import delete, demand_bucket, find, head
from recpack.storage.s3.pending import (
    SUFFIXES,
    demand_own,
    demand_room,
    earlier_marker,
    finish,
    forget,
    is_completed,
    put_pending,
    settle,
    withdraw,
)
from recpack.storage.s3.retry import S3Error
from recpack.storage.s3.uploads import MARKER, Marker, Pending, abort_upload, uploads_of_marker

MIN_PART = 5 << 20
MAX_PARTS = 10_000


class S3Sink(S3Block, Sink):
    """``s3://bucket/prefix/train/train.rec``, its companions under ``prefix/_recpack/``.

    Memory of a run: ``(workers + uploads) × part size``, plus the metadata. A part is a segment: of
    ``segment_size``, or larger if the ``.rec`` needs more than 10,000 parts otherwise.

    A small object, the marker ``_recpack/train.upload.json``, exists from before the upload begins
    until it is published or aborted. It tells ``resume`` and ``recpack s3-cleanup`` which uploads
    belong to recpack and what they contain. Without ``resume``, the sink aborts the upload of an
    earlier run and begins again; with it, a failure leaves the upload open.

    An older output stays whole until the upload is completed, which publishes the new one (see
    ``recpack.storage.s3.pending``).

    ``uploads``: requests in flight, in all workers together · ``checksum``: ``crc32``,
    ``crc64nvme``, or ``none`` for a store that refuses them (then parts are compared by MD5) ·
    ``storage_class``: of the ``.rec`` · ``sse``, ``kms_key_id``: encryption of all objects (a key
    alone means ``aws:kms``) · ``patience``: seconds of retries after a request's first failure.
    Credentials come from boto3's chain.
    """

    min_segment = MIN_PART
    max_segments = MAX_PARTS
    gives_receipts = True

    @takes(S3SinkSettings)
    def __init__(self, url: str, settings: S3SinkSettings) -> None:
        self.location = parse_location(url)
        self.name = self.location.key.rpartition("/")[2]
        if not self.name.removesuffix(".rec") or not self.name.endswith(".rec"):
            raise ConfigError(f"{url}: the output's name must end in .rec")
        demand_room(self.location)
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
        self._opened = self._published = self._whole = self._asked = False
        self._marker: Marker | None = None
        self._resumed: Marker | None = None
        self._upload: Upload | None = None
        self._writer: UploadWriter | None = None
        self._expected: Pending

    def open(self, plan: SinkPlan) -> SegmentWriter:
        full_plan = {"upload options": json.dumps(self._creation), **plan.fingerprint()}
        try:
            again, self._opened = self._opened, True
            resumed = self._continue(full_plan)
            if again:
                if self._marker is not None:
                    settle(self._s3, self.location, self._marker)
                self._begin()
            if self._upload is None:
                return ChecksumWriter()
            self._mark(upload_id=self._upload.id, plan=full_plan, pending=None)
        except OSError as error:
            raise self._sink_error(error) from error
        self._writer = UploadWriter(
            self._upload, self._uploads, plan.workers, plan.lasting, resumed, plan.first, plan.run
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
            self._expected = expect(written)
            etag = None if self._checked else self._expected.etag
            # the manifest is made when the list is written, because it has the list's checksum
            self._announce({**companions, MANIFEST: map(manifest, [etag])})
            kept = self.complete(written)
            self.end(None if kept == etag else manifest(kept))
        except OSError as error:
            raise self._sink_error(error) from error

    def complete(self, written: Written) -> str | None:
        """The second step of ``publish``, after which the ``.rec`` is there. Returns its ETag if
        the store keeps no checksum. Raises OSError."""
        if self._upload is not None:
            self._complete(self._upload, written, self._expected)
        return self._prove(self._expected)

    def end(self, manifest: str | None = None) -> None:
        """The last step: the companions get their keys. Raises OSError."""
        assert self._marker is not None
        finish(self._s3, self.location, self._marker, manifest)
        self._published = True
        self._dismiss_writer()
        self._tidy()

    def abort(self) -> None:
        """Abort the upload, unless ``resume`` keeps it, and remove what is pending; an output whose
        ``.rec`` was completed stays. Raises S3Error when the store refuses."""
        if self._published:
            self._tidy()  # if that was interrupted
        if self._marker is None or self._published or self._whole:
            return
        self._dismiss_writer()
        if self._keeps_upload:
            return
        if not self._end_upload() and self._asked:
            return  # it can begin when nobody looks any more: then the marker tells of it
        self._whole = is_completed(self._s3, self.location, self._marker)
        if not self._whole:
            withdraw(self._s3, self.location, self._marker)
            self._marker = None

    def _tidy(self) -> None:
        """Remove what a published output needs no more; what stays there does it no harm."""
        if self._marker is not None:
            with suppress(OSError):
                forget(self._s3, self.location, self._marker)
            self._marker = None

    @property
    def _keeps_upload(self) -> bool:
        return self._resume and (self._opened or self._resumed is not None)

    def _preflight(self) -> None:
        """Check within seconds that the output can be written, and begin the upload."""
        patience = min(PREFLIGHT_PATIENCE, self._s3.patience)
        demand_bucket(self._s3, self.location, patience=patience)
        marker = earlier_marker(self._s3, self.location, patience=patience)
        if marker is not None and marker.shards:
            settle_any(self._s3, self.location, marker)
            marker = None
        resumable = self._resume and marker is not None and bool(marker.plan)
        completed = marker is not None and is_completed(self._s3, self.location, marker)
        if marker is not None and completed and not resumable:
            settle(self._s3, self.location, marker)
            marker, completed = None, False
        if not completed and self._overwrite:
            self._demand_no_set()
        elif not completed:
            for one in (self.location, *map(self.location.companion, (*SUFFIXES, *self.extra))):
                if find(self._s3, one, patience=patience) is not None:
                    if one == self.location.companion(MANIFEST):
                        self._demand_no_set()
                    whose = "" if one == self.location else " (maybe of a .rec in another folder)"
                    raise SinkError(
                        f"{one} exists{whose}; choose another name or replace it with --overwrite"
                    )
        if marker is not None:
            uploads = uploads_of_marker(self._s3, self.location, marker)
            if resumable and (uploads or completed):
                token = marker.token or new_token()  # older versions had none
                self._marker = self._resumed = replace(marker, token=token)
                self._whole = completed and not uploads
                return
            settle(self._s3, self.location, marker)
        self._begin(patience)
        # where reading is not allowed, nothing could be proven after all has been sent
        head(self._s3, self.location.companion(MARKER), patience=patience)

    def _demand_no_set(self) -> None:
        demand_no_set(self._s3, self.location)

    def _begin(self, patience: float | None = None) -> None:
        self._whole = False
        self._marker = Marker(self.location.key, token=new_token(), extra=self.extra)
        self._mark(patience)
        request = {"Bucket": self.location.bucket, "Key": self.location.key, **self._s3.payer}
        attempts = 0

        def create(client: Any) -> str:
            nonlocal attempts
            attempts += 1
            answer = client.create_multipart_upload(**request, **self._creation)
            return str(answer["UploadId"])

        try:
            upload_id = self._s3.attempt(create, patience=patience)
        except KeyboardInterrupt:
            self._asked = True  # the request can be on its way
            raise
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
        elif not is_completed(self._s3, self.location, marker):
            self._begin()  # the upload is gone; a completed one only needs publication
        return bool(uploads)

    def _announce(self, companions: Mapping[str, Iterable[str]]) -> None:
        """The first step: write the companions under pending keys, and the marker that describes
        them."""
        assert self._marker is not None
        if self._upload is None:  # before its companions change
            prove_completed(self._s3, self.location, self._expected)
        crc32 = put_pending(
            self._s3, self.location, self._marker.token, companions,
            checked=self._checked, **self._encryption,
        )  # fmt: skip
        demand_own(self._s3, self.location, self._marker)
        self._expected = replace(
            self._expected, crc32=crc32, checked=self._checked, encryption=self._encryption
        )
        self._mark(pending=self._expected)

    def _complete(self, upload: Upload, written: Written, expected: Pending) -> None:
        condition = {} if self._overwrite else {"IfNoneMatch": "*"}
        try:
            upload.complete(written, **condition)
        except S3Error as error:
            if not error.in_doubt or not is_proven(self._s3, self.location, expected):
                if error.code == "PreconditionFailed":
                    raise SinkError(
                        f"{self.location}: another program wrote it during this run; choose "
                        "another name or replace it with --overwrite"
                    ) from error
                raise
            # an equal object can have been there before
            abort_upload(self._s3, self.location, upload.id)

    def _prove(self, expected: Pending) -> str | None:
        try:
            return prove(self._s3, self.location, expected)
        except SinkError:
            if self._upload is not None and not self._overwrite:
                delete(self._s3, self.location)  # this run put it where nothing was
            raise

    def _mark(self, patience: float | None = None, **changes: Any) -> None:
        assert self._marker is not None
        self._marker = replace(self._marker, **changes)
        self._marker.write(
            self._s3, self.location, checked=self._checked, patience=patience,
            **self._encryption,
        )  # fmt: skip

    def _end_upload(self) -> bool:
        """Abort the upload; returns whether there was one."""
        upload, self._upload = self._upload, None
        if upload is None:
            return self._end_marked_uploads()
        abort_upload(self._s3, self.location, upload.id)
        return True

    def _end_marked_uploads(self, *, but: str | None = None) -> bool:
        assert self._marker is not None
        uploads = uploads_of_marker(self._s3, self.location, self._marker)
        ended = [upload.id for upload in uploads if upload.id != but]
        for id_ in ended:
            abort_upload(self._s3, self.location, id_)
        return bool(ended)

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
        if error is None or self._marker is None or self._published:
            return
        if self._whole:
            error.add_note(
                f"{self.location}: all of it arrived, but its companions do not have their keys "
                f"yet; finish it with recpack s3-cleanup {self.location}"
            )
        elif self._asked:
            error.add_note(
                f"{self.location}: the store was asked for an upload, which can have begun; abort "
                f"it with recpack s3-cleanup {self.location}"
            )
        elif self._keeps_upload:
            error.add_note(
                f"{self.location}: the upload stays open; run again with --resume, or abort it "
                f"with recpack s3-cleanup {self.location}"
            )
