"""``recpack s3-cleanup``: abort the uploads that a killed run or a power cut left open."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from recpack.errors import SinkError
from recpack.options import CleanupSettings
from recpack.settings import takes
from recpack.sinks.s3_set_journal import settle_any
from recpack.storage.s3.client import PREFLIGHT_PATIENCE, S3Client
from recpack.storage.s3.location import SIBLING, Location, parse_location
from recpack.storage.s3.objects import list_objects
from recpack.storage.s3.pending import is_pending
from recpack.storage.s3.retry import S3Error
from recpack.storage.s3.uploads import (
    MARKER,
    Marker,
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

    A run that still works loses its upload too, because it looks like a killed run. What else a
    run of recpack left is finished if its ``.rec`` was completed, else removed (see
    ``recpack.storage.s3.pending``). Raises SinkError when the store refuses.
    """
    s3 = S3Client.of(settings, PREFLIGHT_PATIENCE)
    try:
        return _clean(parse_location(prefix), s3, others=settings.all, dry_run=settings.dry_run)
    except OSError as error:
        raise SinkError(f"{prefix}: {error}") from error


def _clean(prefix: Location, s3: S3Client, *, others: bool, dry_run: bool) -> list[LeftUpload]:
    uploads = []
    marked = dict(_marked_below(s3, prefix))
    for rec in [rec for rec, one in marked.items() if one.shards and one.pending and not dry_run]:
        settle_any(s3, rec, marked.pop(rec))  # it can be published: its uploads are completed
    for upload in open_uploads(s3, prefix):
        marker = marked.get(upload.location) or read_marker(s3, upload.location)
        own = any(is_pending(upload.location, rec, one.token) for rec, one in marked.items())
        if marker is not None:
            marked[upload.location] = marker
            own = upload in uploads_of_marker(s3, upload.location, marker)
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
        since = upload.initiated.strftime("%Y-%m-%dT%H:%M:%SZ")
        uploads.append(LeftUpload(str(upload.location), upload.id, since, size, own, abort))
    if not dry_run:
        for rec, marker in marked.items():
            settle_any(s3, rec, marker)
    return uploads


def _marked_below(s3: S3Client, prefix: Location) -> Iterator[tuple[Location, Marker]]:
    """The outputs below a prefix that have a marker, and the marker. It lies in the ``_recpack`` of
    the folder, or of the folder above, or of that above a ``.rec``'s own folder."""
    here = prefix.key.rstrip("/")
    above = posixpath.dirname(here)
    for folder in {here, above, posixpath.dirname(above)}:
        markers = prefix._replace(key=posixpath.join(folder, SIBLING, ""))
        for name, _ in list_objects(s3, markers):
            if name.endswith(MARKER):
                location = markers._replace(key=markers.key + name)
                marker = marker_at(s3, location)
                rec = prefix._replace(key=marker.key if marker is not None else "")
                if (
                    marker is not None
                    and rec.key.startswith(prefix.key)
                    and rec.companion(MARKER) == location
                ):
                    yield rec, marker
