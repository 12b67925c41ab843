"""Multipart uploads that are open, and the markers that say which of them are recpack's.

A store tells of an open upload no more than its key, its id and when it began. So recpack writes
a small object beside the companions before it begins one, ``_recpack/train.upload.json``: the
key, the id once it is known, and digests of all that shapes the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import head, put, read
from recpack.storage.s3.retry import S3Error, S3NotFoundError

MARKER = ".upload.json"

_ABORTS = 5


class OpenUpload(NamedTuple):
    """An upload neither completed nor aborted."""

    location: Location
    id: str
    initiated: datetime


@dataclass(frozen=True)
class Marker:
    """``upload_id`` None: it was about to begin. ``plan``: digests by topic. ``fresh``: nothing of
    the output was there before, so that whatever is there without a manifest is its own."""

    key: str
    upload_id: str | None = None
    plan: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False

    @classmethod
    def from_json(cls, text: bytes) -> Marker:
        """The text of a marker; ValueError when it is none."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"this is no marker of an upload: {error}") from None

    def write(self, s3: S3Client, rec: Location, **parameters: Any) -> None:
        """Put it where the ``.rec``'s companions are."""
        data = json.dumps(asdict(self), indent=2).encode()
        put(s3, rec.companion(MARKER), data, **parameters)


def read_marker(s3: S3Client, rec: Location, *, patience: float | None = None) -> Marker | None:
    """The marker of an upload of this ``.rec``, if there is one."""
    marker = marker_at(s3, rec.companion(MARKER), patience=patience)
    # ``b/x/train.rec`` and ``b/y/train.rec`` have their companions, and so the marker, in one place
    return marker if marker is not None and marker.key == rec.key else None


def marker_at(s3: S3Client, place: Location, *, patience: float | None = None) -> Marker | None:
    """The marker that lies there, if one does."""
    try:
        return Marker.from_json(read(s3, place, patience=patience))
    except S3NotFoundError:
        return None
    except ValueError as error:
        raise S3Error(f"{place}: {error}; delete it") from error
    except S3Error as error:
        if error.code == "AccessDenied":  # so it is told where listing is not allowed
            return None
        raise


def arrived_parts(s3: S3Client, location: Location, id: str) -> dict[int, dict[str, Any]]:
    """What an open upload holds, by part number; S3Error when there is no such upload."""
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
    """All uploads open below a prefix, whoever began them."""
    parameters: dict[str, Any] = {"Bucket": prefix.bucket, "Prefix": prefix.key}
    while True:
        page = s3.call("list_multipart_uploads", **parameters)
        for item in page.get("Uploads", ()):
            place = Location(prefix.bucket, item["Key"])
            yield OpenUpload(place, item["UploadId"], item["Initiated"])
        if not page.get("IsTruncated"):
            return
        parameters["KeyMarker"] = page["NextKeyMarker"]
        parameters["UploadIdMarker"] = page["NextUploadIdMarker"]


def marked_uploads(s3: S3Client, rec: Location, marker: Marker) -> list[OpenUpload]:
    """The uploads of the ``.rec`` that are open and that its marker speaks for: the one it names
    or, where it names none, those begun since it was written."""
    found = [upload for upload in open_uploads(s3, rec) if upload.location == rec]
    if marker.upload_id is not None:
        return [upload for upload in found if upload.id == marker.upload_id]
    if not found:
        return []
    written = head(s3, rec.companion(MARKER)).modified - timedelta(seconds=1)
    return [upload for upload in found if upload.initiated >= written]


def abort_upload(s3: S3Client, location: Location, id: str) -> None:
    """Abort an upload; one that is gone already is no error."""
    for _ in range(_ABORTS):
        try:
            s3.call("abort_multipart_upload", Bucket=location.bucket, Key=location.key, UploadId=id)
        except S3Error as error:
            if error.code != "NoSuchUpload":
                raise
        # a part that was on its way may have arrived behind the first abort, and is paid for
        if all(upload.id != id for upload in open_uploads(s3, location)):
            return
    raise S3Error(f"the upload {id} is still open after {_ABORTS} aborts")
