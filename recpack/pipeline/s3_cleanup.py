"""``recpack s3-cleanup``: abort the uploads that a killed run or a power cut left open."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from recpack.errors import SinkError
from recpack.options import CleanupSettings
from recpack.settings import takes
from recpack.storage.s3.client import PREFLIGHT_PATIENCE, S3Client
from recpack.storage.s3.location import SIBLING, Location, parse_location
from recpack.storage.s3.objects import delete, list_objects
from recpack.storage.s3.retry import S3Error
from recpack.storage.s3.uploads import (
    MARKER,
    abort_upload,
    list_parts,
    marker_at,
    open_uploads,
    read_marker,
    uploads_of_marker,
)


@dataclass(frozen=True)
class LeftUpload:
    """An open upload: its location, its id, its start (ISO 8601, UTC), its bytes, whether recpack
    began it, and whether this call aborted it."""

    location: str
    id: str
    initiated: str
    bytes: int
    own: bool
    aborted: bool


@takes(CleanupSettings)
def cleanup(prefix: str, settings: CleanupSettings) -> list[LeftUpload]:
    """List the open uploads below ``s3://bucket/prefix`` and abort those of recpack; with ``all``,
    also those of other programs.

    A run that still works loses its upload too, because it looks like a killed run. Markers without
    an upload are removed. Raises SinkError when the store refuses.
    """
    s3 = S3Client.of(settings, PREFLIGHT_PATIENCE)
    try:
        return _clean(parse_location(prefix), s3, others=settings.all, dry_run=settings.dry_run)
    except OSError as error:
        raise SinkError(f"{prefix}: {error}") from error


def _clean(prefix: Location, s3: S3Client, *, others: bool, dry_run: bool) -> list[LeftUpload]:
    uploads = []
    for upload in open_uploads(s3, prefix):
        marker = read_marker(s3, upload.location)
        own = marker is not None and upload in uploads_of_marker(s3, upload.location, marker)
        try:
            parts = list_parts(s3, upload.location, upload.id)
        except S3Error as error:
            if error.code == "NoSuchUpload":
                continue  # it has just ended
            raise
        size = sum(part["Size"] for part in parts.values())
        abort = (own or others) and not dry_run
        if abort:
            abort_upload(s3, upload.location, upload.id)
            if own:
                delete(s3, upload.location.companion(MARKER))
        since = upload.initiated.strftime("%Y-%m-%dT%H:%M:%SZ")
        uploads.append(LeftUpload(str(upload.location), upload.id, since, size, own, abort))
    if not dry_run:
        for rec in _marked_below(s3, prefix):
            marker = read_marker(s3, rec)
            if marker is not None and not uploads_of_marker(s3, rec, marker):
                delete(s3, rec.companion(MARKER))
    return uploads


def _marked_below(s3: S3Client, prefix: Location) -> Iterator[Location]:
    """The outputs below a prefix that have a marker, in the folder's own ``_recpack`` or in that of
    the folder above."""
    here = prefix.key.rstrip("/")
    for folder in {posixpath.dirname(here), here}:
        markers = prefix._replace(key=posixpath.join(folder, SIBLING, ""))
        for name, _ in list_objects(s3, markers):
            if name.endswith(MARKER):
                marker = marker_at(s3, markers._replace(key=markers.key + name))
                if marker is not None and marker.key.startswith(prefix.key):
                    yield prefix._replace(key=marker.key)
