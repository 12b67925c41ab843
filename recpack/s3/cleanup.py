"""``recpack s3-cleanup``: ends the uploads that a killed run or a power cut left open."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from recpack.s3.access import Access
from recpack.s3.location import SIBLING, Location, parse_location
from recpack.s3.objects import delete, listed
from recpack.s3.retry import S3Error
from recpack.s3.uploads import (
    MARKER,
    abort_upload,
    arrived_parts,
    marked_uploads,
    marker_at,
    open_uploads,
    read_marker,
)


@dataclass(frozen=True)
class LeftUpload:
    """An open upload that was found: where, since when (ISO 8601, UTC), the bytes that it holds,
    whether recpack began it, and whether it was aborted now."""

    location: str
    id: str
    initiated: str
    bytes: int
    own: bool
    aborted: bool


def clean_up(
    url: str, access: Access, *, others: bool = False, dry_run: bool = False
) -> list[LeftUpload]:
    """List the uploads open below ``url`` and abort recpack's own, with ``others`` all of them.

    A run that is still going loses its upload too: nothing tells it from one that was killed.
    Markers without an upload are removed. Raises S3Error.
    """
    prefix = parse_location(url)
    found = []
    for upload in open_uploads(access, prefix):
        marker = read_marker(access, upload.location)
        own = marker is not None and upload in marked_uploads(access, upload.location, marker)
        try:
            parts = arrived_parts(access, upload.location, upload.id)
        except S3Error as error:
            if error.code == "NoSuchUpload":
                continue  # it ended in this moment
            raise
        size = sum(part["Size"] for part in parts.values())
        abort = (own or others) and not dry_run
        if abort:
            abort_upload(access, upload.location, upload.id)
            if own:
                delete(access, upload.location.companion(MARKER))
        since = upload.initiated.strftime("%Y-%m-%dT%H:%M:%SZ")
        found.append(LeftUpload(str(upload.location), upload.id, since, size, own, abort))
    if not dry_run:
        for rec in _marked_below(access, prefix):
            marker = read_marker(access, rec)
            if marker is not None and not marked_uploads(access, rec, marker):
                delete(access, rec.companion(MARKER))
    return found


def _marked_below(access: Access, prefix: Location) -> Iterator[Location]:
    """The outputs below a prefix whose markers are where those of its uploads are."""
    here = prefix.key.rstrip("/")
    for folder in {posixpath.dirname(here), here}:
        place = prefix._replace(key=posixpath.join(folder, SIBLING, ""))
        for name, _ in listed(access, place):
            if name.endswith(MARKER):
                marker = marker_at(access, place._replace(key=place.key + name))
                if marker is not None and marker.key.startswith(prefix.key):
                    yield prefix._replace(key=marker.key)
