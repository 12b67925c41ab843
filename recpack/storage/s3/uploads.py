"""Open multipart uploads, and the markers that say which of them are recpack's.

A store knows only the key, the id and the start time of an open upload. So before recpack starts
one, it writes a small object beside the companions, ``_recpack/train.upload.json``, with the key,
the id once it is known, and digests of everything that shapes the bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from recpack.storage.checksums import parse_checksum
from recpack.storage.decode import decode_json
from recpack.storage.limits import MAX_MARKER
from recpack.storage.regular import TooLargeError
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import COMPANIONS, MANIFEST, PROPERTY, Location
from recpack.storage.s3.objects import head, put, read
from recpack.storage.s3.retry import S3Error, S3NotFoundError
from recpack.storage.shards import MOST_SHARDS

MARKER = ".upload.json"

_ABORTS = 5
_TOKEN = re.compile(r"[0-9a-f]*")
_ENCRYPTION = {"ServerSideEncryption", "SSEKMSKeyId"}


class OpenUpload(NamedTuple):
    """An upload that is neither completed nor aborted."""

    location: Location
    id: str
    initiated: datetime


@dataclass(frozen=True)
class Pending:
    """An output that is ready: its companions have pending keys, and its ``.rec`` is completed next
    (see ``pending``).

    ``bytes``, ``checksum`` (as in manifests) and ``etag`` (if it can be known) of the ``.rec`` ·
    ``crc32``: of the companions, by suffix · ``checked``, ``encryption``: how they are put ·
    ``unused``: numbers of parts that were sent, but are not of the object.
    """

    bytes: int
    checksum: str
    etag: str | None = None
    crc32: Mapping[str, int] = field(default_factory=dict)
    checked: bool = True
    encryption: Mapping[str, str] = field(default_factory=dict)
    unused: Sequence[int] = ()


@dataclass(frozen=True)
class Marker:
    """``upload_id`` None: the upload has not started. ``plan``: digests by topic. ``token``: random
    hex digits of the run that began it, in its pending keys. ``shards``: it is of a set of so many,
    each of which has a marker of its own. ``extra``: suffixes of companions that only some outputs
    have."""

    key: str
    upload_id: str | None = None
    plan: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    pending: Pending | None = None
    shards: int = 0
    extra: tuple[str, ...] = ()

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of its companions, in the order in which they get their final keys."""
        return (*COMPANIONS, *self.extra, MANIFEST)

    @classmethod
    def from_json(cls, text: bytes) -> Marker:
        """Parse a marker. Raises ValueError when it is not one."""
        try:
            marker = decode_json(text, cls)
            marker._check()
        except ValueError as error:
            raise ValueError(f"this is not a marker of an upload: {error}") from None
        return marker

    def _check(self) -> None:
        """Raise ValueError for a value that is not recpack's. (Who can write a marker decides
        neither another key nor who may read what is put.)"""
        if self.pending is not None:
            parse_checksum(self.pending.checksum)
        encryption = {} if self.pending is None else self.pending.encryption
        sound = _TOKEN.fullmatch(self.token) and 0 <= self.shards <= MOST_SHARDS
        if not sound or encryption.keys() - _ENCRYPTION or set(self.extra) - {PROPERTY}:
            raise ValueError("a field has a wrong value")

    def write(self, s3: S3Client, rec: Location, **parameters: Any) -> None:
        """Write it beside the ``.rec``'s companions."""
        data = json.dumps(asdict(self), indent=2).encode()
        put(s3, rec.companion(MARKER), data, **parameters)


def read_marker(s3: S3Client, rec: Location, *, patience: float | None = None) -> Marker | None:
    """The marker of an upload of this ``.rec``, if there is one."""
    marker = marker_at(s3, rec.companion(MARKER), patience=patience)
    # ``b/x/train.rec`` and ``b/y/train.rec`` have the same companions, and so the same marker
    return marker if marker is not None and marker.key == rec.key else None


def marker_at(s3: S3Client, location: Location, *, patience: float | None = None) -> Marker | None:
    """The marker at this location, if there is one."""
    try:
        return Marker.from_json(read(s3, location, patience=patience, limit=MAX_MARKER))
    except S3NotFoundError:
        return None
    except (ValueError, TooLargeError) as error:
        raise S3Error(f"{location}: {error}; delete it") from error
    except S3Error as error:
        if error.code == "AccessDenied":  # S3 says this for a missing object if listing is denied
            return None
        raise


def list_parts(s3: S3Client, location: Location, id: str) -> dict[int, dict[str, Any]]:
    """The parts of an open upload, by part number. Raises S3Error when there is no such upload."""
    found: dict[int, dict[str, Any]] = {}
    parameters: dict[str, Any] = {
        "Bucket": location.bucket,
        "Key": location.key,
        "UploadId": id,
        "PartNumberMarker": 0,
    }
    while True:
        page = s3.call("list_parts", **parameters)
        parts = page.get("Parts", ())
        found |= {part["PartNumber"]: part for part in parts}
        if not page.get("IsTruncated") or not parts:
            return found
        parameters["PartNumberMarker"] = parts[-1]["PartNumber"]


def open_uploads(s3: S3Client, prefix: Location) -> Iterator[OpenUpload]:
    """All open uploads below a prefix, also those of other programs."""
    parameters: dict[str, Any] = {"Bucket": prefix.bucket, "Prefix": prefix.key}
    while True:
        page = s3.call("list_multipart_uploads", **parameters)
        for item in page.get("Uploads", ()):
            location = Location(prefix.bucket, item["Key"])
            yield OpenUpload(location, item["UploadId"], item["Initiated"])
        if not page.get("IsTruncated"):
            return
        parameters["KeyMarker"] = page["NextKeyMarker"]
        parameters["UploadIdMarker"] = page["NextUploadIdMarker"]


def uploads_of_marker(s3: S3Client, rec: Location, marker: Marker) -> list[OpenUpload]:
    """The open uploads of the ``.rec`` that belong to its marker: the one with its upload id or,
    when it has no id, those that started after it was written."""
    found = [upload for upload in open_uploads(s3, rec) if upload.location == rec]
    if marker.upload_id is not None:
        return [upload for upload in found if upload.id == marker.upload_id]
    if not found:
        return []
    written = head(s3, rec.companion(MARKER)).modified - timedelta(seconds=1)
    return [upload for upload in found if upload.initiated >= written]


def abort_upload(s3: S3Client, location: Location, id: str) -> None:
    """Abort an upload; no error when it no longer exists."""
    for _ in range(_ABORTS):
        try:
            s3.call("abort_multipart_upload", Bucket=location.bucket, Key=location.key, UploadId=id)
        except S3Error as error:
            if error.code != "NoSuchUpload":
                raise
        # a part that was on its way can arrive after the first abort, and would be paid for
        if all(upload.id != id for upload in open_uploads(s3, location)):
            return
    raise S3Error(f"the upload {id} is still open after {_ABORTS} aborts; abort it again later")
