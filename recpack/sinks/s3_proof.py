"""Check that the object in the store has the packed bytes."""

from __future__ import annotations

import hashlib

from recpack.errors import SinkError
from recpack.sinks.base import Written
from recpack.sinks.s3_writer import MD5
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import checksum_of, head


def prove(s3: S3Client, location: Location, written: Written) -> str | None:
    """Compare the object with the written segments by the best proof that the store keeps: the
    checksum of the whole object, the ETag of the parts' ETags, or else all bytes, read back.

    Returns the object's ETag if the store keeps no checksum for a later comparison. Raises
    SinkError when the object differs, S3Error when there is none.
    """
    stored = head(s3, location)
    if stored.size != written.size:
        raise SinkError(f"{location}: it has {stored.size:,} bytes, {written.size:,} were packed")
    checksum = written.checksum
    kept = stored.checksums.get(checksum)
    if kept is None and stored.etag == _etag_of_etags(written):
        return stored.etag
    expected = checksum.base64(written.value)
    actual = kept or checksum.base64(checksum_of(s3, location, stored, checksum))
    if actual != expected:
        raise SinkError(f"{location}: its {checksum.value} is {actual}, {expected} was packed")
    return stored.etag if kept is None else None


def _etag_of_etags(written: Written) -> str | None:
    """The ETag of an upload whose parts' ETags are their MD5."""
    etags = [written.receipts[segment.number] for segment in written.segments]
    if not all(MD5.fullmatch(etag) for etag in etags):
        return None
    digest = hashlib.md5(b"".join(map(bytes.fromhex, etags)), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(etags)}"
