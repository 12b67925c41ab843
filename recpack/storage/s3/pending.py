"""Publication on S3: a ``.rec`` and its companions are replaced in one step.

The companions of a new output first get pending keys, ``_recpack/train.<token>.idx``, and the
marker describes the new ``.rec``. Then the upload is completed. From that moment the output is
published, even if the run is killed: readers ask ``readable``, and the next run or ``recpack
s3-cleanup`` gives the companions their final keys. Before it, an older output is not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from shlex import quote
from typing import Any

from recpack.errors import SinkError
from recpack.storage.checksums import Checksum, parse_checksum
from recpack.storage.files import new_token
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import COMPANIONS, MANIFEST, MAX_KEY, Location
from recpack.storage.s3.objects import Head, checksum_of, copy, delete, find, head, put_lines
from recpack.storage.s3.retry import S3Error, S3NotFoundError
from recpack.storage.s3.uploads import (
    MARKER,
    Marker,
    Pending,
    abort_upload,
    marker_at,
    open_uploads,
    read_marker,
    uploads_of_marker,
)

SUFFIXES = (*COMPANIONS, MANIFEST)
"""Of the companions that every output can have."""


def demand_room(rec: Location) -> None:
    """Raise SinkError when the keys of the companions would be too long."""
    longest = pending_location(rec, new_token(), max(SUFFIXES, key=len)).key
    if (excess := len(longest.encode()) - MAX_KEY) > 0:
        raise SinkError(
            f"{rec}: {excess} bytes too long: S3's keys have at most {MAX_KEY:,} bytes, and those "
            "of its companions are longer; choose a shorter key"
        )


def pending_location(rec: Location, token: str, suffix: str) -> Location:
    """Where a companion of a new output waits."""
    return rec.companion(f".{token}{suffix}")


def is_pending(location: Location, rec: Location, token: str) -> bool:
    """Whether this is a pending key of that run."""
    return bool(token) and location.key.startswith(pending_location(rec, token, ".").key)


def earlier_marker(s3: S3Client, rec: Location, *, patience: float | None = None) -> Marker | None:
    """The marker that an earlier run of this output left. Raises SinkError when its place has the
    marker of another output, whose companions can be pending."""
    place = rec.companion(MARKER)
    marker = marker_at(s3, place, patience=patience)
    if marker is None or marker.key == rec.key:
        return marker
    other = rec._replace(key=marker.key)
    if other.companion(MARKER) == place:
        raise SinkError(
            f"{rec}: {other} has the same companions, and a run of it works or was killed; choose "
            f"another name, or end that run with recpack s3-cleanup {quote(str(other))}"
        )
    return None


def demand_own(s3: S3Client, rec: Location, marker: Marker) -> None:
    """Raise SinkError when the marker there is of another run: of two that began in the same moment
    only the last may complete its upload."""
    current = read_marker(s3, rec)
    if current is None or current.token != marker.token:
        raise SinkError(
            f"{rec}: another run on it began meanwhile, or s3-cleanup ended this one; run again"
        )


def readable(s3: S3Client, rec: Location, suffix: str) -> Location:
    """Where a companion of the ``.rec`` is to be read. Of an output that was just published it can
    still have its pending key; one that the output does not have has a key without an object, even
    if an older output left one. Raises S3Error."""
    marker = read_marker(s3, rec)
    final = rec.companion(suffix)
    if marker is None or marker.pending is None or not is_completed(s3, rec, marker):
        return final
    location = pending_location(rec, marker.token, suffix)
    published = suffix in marker.pending.crc32 and find(s3, location) is None
    return final if published else location


def is_completed(s3: S3Client, rec: Location, marker: Marker) -> bool:
    """Whether the ``.rec`` there is the one that the marker describes. Raises S3Error."""
    if marker.pending is None:
        return False
    try:
        return not difference(s3, rec, head(s3, rec), marker.pending)
    except S3NotFoundError:
        return False


def difference(s3: S3Client, rec: Location, stored: Head, expected: Pending) -> str:
    """How the object differs from the expected ``.rec`` by the best proof that the store keeps: the
    checksum of the whole object, the ETag of the parts' ETags, or else all bytes, read back. Empty
    when it does not."""
    if stored.size != expected.bytes:
        return f"it has {stored.size:,} bytes, {expected.bytes:,} were packed"
    checksum, value = parse_checksum(expected.checksum)
    kept = stored.checksums.get(checksum)
    if kept is None and stored.etag == expected.etag:
        return ""
    actual = kept or checksum.base64(checksum_of(s3, rec, stored, checksum))
    if actual == checksum.base64(value):
        return ""
    return f"its {checksum.value} is {actual}, {checksum.base64(value)} was packed"


def put_pending(
    s3: S3Client, rec: Location, token: str, companions: Mapping[str, Iterable[str]], **options: Any
) -> dict[str, int]:
    """Write the companions of a new output under pending keys. Returns their CRC-32, by suffix."""
    return {
        suffix: put_lines(s3, pending_location(rec, token, suffix), lines, **options)
        for suffix, lines in companions.items()
    }


def finish(s3: S3Client, rec: Location, marker: Marker, manifest: str | None = None) -> None:
    """Give the companions of a completed ``.rec`` their final keys, the manifest last. Without
    ``manifest`` it is the pending one. Raises S3NotFoundError when one has been removed."""
    assert marker.pending is not None
    pending = marker.pending
    for suffix in marker.suffixes:
        final = rec.companion(suffix)
        if suffix not in pending.crc32:
            _delete_if_there(s3, final)
        elif suffix == MANIFEST and manifest is not None:
            put_lines(s3, final, [manifest], checked=pending.checked, **pending.encryption)
        else:
            try:
                copy(
                    s3, pending_location(rec, marker.token, suffix), final, pending.crc32[suffix],
                    checked=pending.checked, **pending.encryption,
                )  # fmt: skip
            except S3NotFoundError as error:
                if not _is_final(s3, final, suffix, pending):
                    raise S3NotFoundError(
                        f"another program removed {final} before it was in place; run again with "
                        "--overwrite"
                    ) from error


def _delete_if_there(s3: S3Client, location: Location) -> None:
    """Delete an object; where there is none, no permission to delete is needed."""
    try:
        delete(s3, location)
    except S3Error as error:
        if error.code not in ("403", "AccessDenied") or find(s3, location) is not None:
            raise


def _is_final(s3: S3Client, final: Location, suffix: str, pending: Pending) -> bool:
    """Whether somebody else, or an earlier try, has put this companion, and removed the pending."""
    found = find(s3, final)
    if found is None:
        return False
    if suffix == MANIFEST and pending.etag is None:
        return True  # it can hold an ETag that was not known before
    return checksum_of(s3, final, found, Checksum.CRC32) == pending.crc32[suffix]


def forget(s3: S3Client, rec: Location, marker: Marker) -> None:
    """Remove the pending keys of a run, and its marker, unless another run has replaced it."""
    for suffix in marker.suffixes if marker.token else ():
        delete(s3, pending_location(rec, marker.token, suffix))
    current = read_marker(s3, rec)
    if current is not None and current.token == marker.token:
        delete(s3, rec.companion(MARKER))


def withdraw(s3: S3Client, rec: Location, marker: Marker) -> None:
    """Remove what an output without a completed ``.rec`` left, but for its upload."""
    _abort_companions(s3, rec, marker)
    forget(s3, rec, marker)


def settle(s3: S3Client, rec: Location, marker: Marker) -> None:
    """End what a dead run left: abort its upload; if it was completed, finish the publication, else
    remove what is pending, and an older output stays as it is."""
    for upload in uploads_of_marker(s3, rec, marker):
        abort_upload(s3, upload.location, upload.id)
    current = read_marker(s3, rec)
    if current is None or current.token != marker.token:
        return  # its run was not dead, and has ended
    if current != marker:  # its run was not dead, and went on until its upload was aborted
        settle(s3, rec, current)
    elif is_completed(s3, rec, marker):
        with suppress(S3NotFoundError):
            finish(s3, rec, marker)
        _abort_companions(s3, rec, marker)
        forget(s3, rec, marker)
    else:
        withdraw(s3, rec, marker)


def _abort_companions(s3: S3Client, rec: Location, marker: Marker) -> None:
    """Abort the uploads of companions so long that they are sent in parts."""
    final = [rec.companion(suffix) for suffix in marker.suffixes]
    for upload in open_uploads(s3, rec.companion("")):
        if upload.location in final or is_pending(upload.location, rec, marker.token):
            abort_upload(s3, upload.location, upload.id)


def roll_forward(s3: S3Client, rec: Location) -> None:
    """Finish the publication of a completed ``.rec``, before a companion is replaced. Raises
    SinkError."""
    try:
        marker = read_marker(s3, rec)
        if marker is not None and is_completed(s3, rec, marker):
            settle(s3, rec, marker)
    except OSError as error:
        raise SinkError(f"{rec}: {error}") from error
