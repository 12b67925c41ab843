"""Check that the object in the store has the packed bytes."""

from __future__ import annotations

from recpack.errors import SinkError
from recpack.formats.recordio import RecordBuffer
from recpack.sinks.base import Receipts, SegmentWriter, Written
from recpack.sinks.s3_writer import MD5
from recpack.storage.checksums import parse_checksum
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import head, multipart_etag
from recpack.storage.s3.pending import difference
from recpack.storage.s3.retry import S3Error
from recpack.storage.s3.uploads import Pending


def expect(written: Written) -> Pending:
    """The object that the written segments make."""
    etags = [written.receipts[segment.number] for segment in written.segments]
    known = all(MD5.fullmatch(etag) for etag in etags)
    etag = multipart_etag([bytes.fromhex(etag) for etag in etags]) if known else None
    return Pending(written.size, written.checksum.text(written.value), etag)


def prove(s3: S3Client, location: Location, expected: Pending) -> str | None:
    """Compare the object with the expected one (see ``difference``).

    Returns the object's ETag if the store keeps no checksum for a later comparison. Raises
    SinkError when the object differs, S3Error when there is none.
    """
    stored = head(s3, location)
    if text := difference(s3, location, stored, expected):
        raise SinkError(f"{location}: {text}")
    checksum, _ = parse_checksum(expected.checksum)
    return stored.etag if checksum not in stored.checksums else None


def prove_completed(s3: S3Client, location: Location, expected: Pending) -> None:
    """``prove`` what an earlier run completed."""
    try:
        prove(s3, location, expected)
    except SinkError as error:
        raise SinkError(
            f"{error}; an earlier run completed it, and an image has changed since; run again "
            "without --resume"
        ) from error


def is_proven(s3: S3Client, location: Location, expected: Pending) -> bool:
    """Whether ``prove`` succeeds."""
    try:
        prove(s3, location, expected)
    except (SinkError, S3Error):
        return False
    return True


class ChecksumWriter(SegmentWriter):
    """Sends nothing: an earlier run completed the upload, and only its checksums are needed."""

    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        del buffer, checksum
        return {number: ""}
