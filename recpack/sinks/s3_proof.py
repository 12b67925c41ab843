"""Is the object in the store what was packed?"""

from __future__ import annotations

import hashlib

from recpack.errors import SinkError
from recpack.sinks.base import Written
from recpack.sinks.s3_writer import MD5
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import checksum_of, head


def prove(s3: S3Client, location: Location, written: Written) -> str | None:
    """Demand it, by the best that the store keeps: the checksum of the whole object, the ETag that
    the parts' ETags make, or else all its bytes, read back.

    Returns the object's ETag where the store keeps no checksum that could be compared later.
    Raises SinkError when the object is another one, S3Error when there is none.
    """
    found = head(s3, location)
    if found.size != written.size:
        raise SinkError(f"{location}: it has {found.size:,} bytes, {written.size:,} were packed")
    checksum = written.checksum
    stored = found.checksums.get(checksum)
    if stored is None and found.etag == _etag_of_etags(written):
        return found.etag
    expected = checksum.base64(written.value)
    seen = stored or checksum.base64(checksum_of(s3, location, found, checksum))
    if seen != expected:
        raise SinkError(f"{location}: its {checksum.value} is {seen}, {expected} was packed")
    return found.etag if stored is None else None


def _etag_of_etags(written: Written) -> str | None:
    """The ETag of an upload whose parts' ETags are their MD5."""
    etags = [written.receipts[segment.number] for segment in written.segments]
    if not all(MD5.fullmatch(etag) for etag in etags):
        return None
    digest = hashlib.md5(b"".join(map(bytes.fromhex, etags)), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(etags)}"
