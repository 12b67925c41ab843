"""S3 objects: describe, read, write, delete, list."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple

from recpack.storage.checksums import Checksum
from recpack.storage.regular import demand_size
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.retry import DamagedError, S3Error, S3NotFoundError

CHUNK = 16 << 20
"""Bytes of a long object that are in memory at once."""


class Head(NamedTuple):
    """A store's description of an object. ``checksums`` of the whole object, by algorithm."""

    size: int
    etag: str
    checksums: dict[Checksum, str]
    modified: datetime


def checksum_field(checksum: Checksum) -> str:
    """Its name in requests and answers: ``ChecksumCRC32``."""
    return f"Checksum{checksum.name}"


def head(s3: S3Client, location: Location, *, patience: float | None = None) -> Head:
    """Describe an object. Raises S3NotFoundError when it does not exist."""
    answer = s3.call(
        "head_object", Bucket=location.bucket, Key=location.key, ChecksumMode="ENABLED",
        patience=patience,
    )  # fmt: skip
    whole = answer.get("ChecksumType") == "FULL_OBJECT"
    checksums = {
        checksum: answer[checksum_field(checksum)]
        for checksum in Checksum
        if whole and _is_of(checksum, answer.get(checksum_field(checksum), ""))
    }
    etag = answer.get("ETag", "").strip('"')
    return Head(int(answer["ContentLength"]), etag, checksums, answer["LastModified"])


def find(s3: S3Client, location: Location, *, patience: float | None = None) -> Head | None:
    """Describe an object; None when it does not exist."""
    try:
        return head(s3, location, patience=patience)
    except S3NotFoundError:
        return None
    except S3Error as error:
        if error.code != "403":  # also the answer for a missing object if listing is not allowed
            raise
        return None


def read(
    s3: S3Client,
    location: Location,
    start: int = 0,
    length: int | None = None,
    *,
    etag: str | None = None,
    patience: float | None = None,
    limit: int | None = None,
) -> bytes:
    """Read ``length`` bytes of an object from ``start``, or all of it. With ``etag``, the read
    fails when the object has changed, with ``limit`` when it has more bytes."""
    parameters = _address(s3, location)
    if length is not None:
        parameters["Range"] = f"bytes={start}-{start + length - 1}"
    if etag:
        parameters["IfMatch"] = f'"{etag}"'

    def get(client: Any) -> bytes:
        answer = client.get_object(**parameters)
        demand_size(answer["ContentLength"], limit)
        data: bytes = answer["Body"].read()
        expected = answer["ContentLength"] if length is None else length
        if len(data) != expected:
            raise DamagedError(f"{location}: {len(data):,} of {expected:,} bytes came")
        return data

    try:
        return s3.attempt(get, patience=patience)
    except S3Error as error:
        if error.code != "PreconditionFailed":
            raise
        text = f"{location} has changed during the run; run again ({error.code})"
        raise S3Error(text, error.code) from error


def checksum_of(s3: S3Client, location: Location, found: Head, checksum: Checksum) -> int:
    """Read an object and compute its checksum."""
    value = 0
    for start in range(0, found.size, CHUNK):
        length = min(CHUNK, found.size - start)
        value = checksum.of(read(s3, location, start, length, etag=found.etag), value)
    return value


def read_head(
    s3: S3Client, location: Location, length: int, *, patience: float | None = None
) -> tuple[bytes, int, str]:
    """Read the first ``length`` bytes of an object, or all of it if shorter; also its size and its
    ETag."""
    parameters = _address(s3, location) | {"Range": f"bytes=0-{max(length, 1) - 1}"}

    def get(client: Any) -> tuple[bytes, int, str]:
        answer = client.get_object(**parameters)
        data: bytes = answer["Body"].read()
        size = int(answer["ContentRange"].rpartition("/")[2])
        if len(data) != min(max(length, 1), size):
            raise DamagedError(f"{location}: {len(data):,} bytes of the first {length:,} came")
        return data, size, answer.get("ETag", "").strip('"')

    try:
        return s3.attempt(get, patience=patience)
    except S3Error as error:
        if error.code != "InvalidRange":
            raise
        return b"", 0, ""  # an empty object has no valid range


def put(
    s3: S3Client,
    location: Location,
    data: bytes | bytearray,
    *,
    checked: bool = True,
    patience: float | None = None,
    **parameters: Any,
) -> None:
    """Write a small object. With ``checked`` the store checks its CRC-32; else its MD5, which many
    stores check: its ETag is compared with it and, if they differ, the object is read back, because
    an ETag can be of another kind."""
    data = bytearray(data)  # for bytes, boto3 would first ask the store, which takes a round trip
    parameters |= _address(s3, location) | {"Body": data}
    md5 = None
    if checked:
        parameters["ChecksumCRC32"] = Checksum.CRC32.base64(Checksum.CRC32.of(data))
    else:
        digest = hashlib.md5(data, usedforsecurity=False)
        parameters["ContentMD5"] = base64.b64encode(digest.digest()).decode()
        md5 = digest.hexdigest()

    def send(client: Any) -> None:
        etag = client.put_object(**parameters).get("ETag", "").strip('"')
        if md5 not in (None, etag) and read(s3, location, patience=patience) != data:
            raise DamagedError(f"{location} arrived damaged")

    s3.attempt(send, patience=patience)


def put_lines(s3: S3Client, location: Location, lines: Iterable[str], **parameters: Any) -> int:
    """Write a text of any length, with a few ``CHUNK`` of it in memory. Returns its CRC-32."""
    return _put_chunks(s3, location, _chunks(lines), **parameters)


def copy(s3: S3Client, source: Location, target: Location, crc32: int, **parameters: Any) -> None:
    """Write an object of this CRC-32 under another key. Raises S3NotFoundError when there is no
    source."""

    def chunks() -> Iterator[bytearray]:
        data, size, _ = read_head(s3, source, CHUNK)
        value = Checksum.CRC32.of(data)
        yield bytearray(data)
        for start in range(CHUNK, size, CHUNK):
            data = read(s3, source, start, min(CHUNK, size - start))
            value = Checksum.CRC32.of(data, value)
            yield bytearray(data)
        if value != crc32:
            raise DamagedError(
                f"{source}: its CRC-32 is {value:08x}, {crc32:08x} was written; delete it, and run "
                "again with --overwrite"
            )

    s3.attempt(lambda _: _put_chunks(s3, target, chunks(), **parameters))


def _put_chunks(
    s3: S3Client,
    location: Location,
    chunks: Iterator[bytearray],
    *,
    checked: bool = True,
    **parameters: Any,
) -> int:
    first, second = next(chunks), next(chunks, None)
    value = Checksum.CRC32.of(first)
    if second is None:
        put(s3, location, first, checked=checked, **parameters)
        return value
    upload: dict[str, Any] = {"Bucket": location.bucket, "Key": location.key}
    size = value = 0
    md5s: list[bytes] = []
    try:
        upload["UploadId"] = _begin_upload(s3, location, **parameters)
        parts = []
        for number, chunk in enumerate(chain((first, second), chunks), 1):
            size, value = size + len(chunk), Checksum.CRC32.of(chunk, value)
            md5s.append(hashlib.md5(chunk, usedforsecurity=False).digest())
            answer = s3.call(
                "upload_part", **upload, PartNumber=number, Body=chunk,
                ContentMD5=base64.b64encode(md5s[-1]).decode(),
            )  # fmt: skip
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        doubt = None
        try:
            s3.call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
        except S3Error as error:
            if not error.in_doubt:
                raise
            doubt = error
        stored = find(s3, location)
        if (
            stored is None
            or stored.size != size
            or not (
                stored.etag == multipart_etag(md5s)
                or checksum_of(s3, location, stored, Checksum.CRC32) == value
            )
        ):
            raise doubt or S3Error(f"{location} arrived damaged; run again")
    except BaseException as error:
        try:
            if "UploadId" not in upload:
                raise S3Error("its id is not known")
            s3.call("abort_multipart_upload", **upload)
        except S3Error as failure:
            if failure.code != "NoSuchUpload":
                error.add_note(
                    f"{location}: can't abort its upload: {failure}; run "
                    f"recpack s3-cleanup --all {location}"
                )
        raise
    return value


def _begin_upload(s3: S3Client, location: Location, **parameters: Any) -> str:
    """Begin an upload, and return its id. Where the answer to an earlier attempt was lost, the
    upload that it began is aborted."""
    attempts: list[float] = []
    address: dict[str, Any] = {"Bucket": location.bucket, "Key": location.key}

    def create(client: Any) -> str:
        attempts.append(time.monotonic())
        answer = client.create_multipart_upload(**address, **s3.payer, **parameters)
        return str(answer["UploadId"])

    id = s3.attempt(create)
    if len(attempts) > 1:
        page = s3.call("list_multipart_uploads", Bucket=location.bucket, Prefix=location.key)
        begun = {one["UploadId"]: one["Initiated"] for one in page.get("Uploads", ())
                 if one["Key"] == location.key}  # fmt: skip
        since = begun.pop(id) - timedelta(seconds=attempts[-1] - attempts[0] + 1)
        for other in [other for other in begun if begun[other] >= since]:
            s3.call("abort_multipart_upload", **address, UploadId=other)
    return id


def multipart_etag(md5s: Sequence[bytes]) -> str:
    """The ETag of an object from parts with these MD5s, unless the store has its own kind."""
    digest = hashlib.md5(b"".join(md5s), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(md5s)}"


def delete(s3: S3Client, location: Location, *, patience: float | None = None) -> None:
    """Delete an object, if it exists."""
    s3.call("delete_object", Bucket=location.bucket, Key=location.key, patience=patience)


def list_objects(
    s3: S3Client, prefix: Location, *, deep: bool = False, most: int = 1000
) -> Iterator[tuple[str, int]]:
    """List the objects whose keys begin with ``prefix``: the rest of each key, and its size in
    bytes. One request lists up to ``most``. Unless ``deep``, all keys with the same part before a
    further ``/`` are one entry, which ends with ``/`` and has size -1."""
    parameters: dict[str, Any] = {
        "Bucket": prefix.bucket,
        "Prefix": prefix.key,
        "MaxKeys": most,
    }
    if not deep:
        parameters["Delimiter"] = "/"
    while True:
        page = s3.call("list_objects_v2", **parameters)
        for item in page.get("Contents", ()):
            yield item["Key"][len(prefix.key) :], int(item["Size"])
        for item in page.get("CommonPrefixes", ()):
            yield item["Prefix"][len(prefix.key) :], -1
        if not page.get("IsTruncated"):
            return
        parameters["ContinuationToken"] = page["NextContinuationToken"]


def _is_of(checksum: Checksum, text: str) -> bool:
    # a real store answered with another algorithm's checksum
    return len(base64.b64decode(text)) == checksum.width


def _address(s3: S3Client, location: Location) -> dict[str, Any]:
    return {"Bucket": location.bucket, "Key": location.key, **s3.payer}


def _chunks(lines: Iterable[str]) -> Iterator[bytearray]:
    """At least one chunk, which can be empty."""
    chunk = bytearray()
    for line in lines:
        if len(chunk) >= CHUNK:
            yield chunk
            chunk = bytearray()
        chunk += line.encode(errors="surrogateescape")
    yield chunk
