"""S3 objects: describe, read, write, delete, list."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from recpack.storage.checksums import Checksum
from recpack.storage.regular import demand_size
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.retry import DamagedError, S3Error

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

    return s3.attempt(get, patience=patience)


def checksum_of(s3: S3Client, location: Location, found: Head, checksum: Checksum) -> int:
    """Read an object and compute its checksum."""
    value = 0
    for start in range(0, found.size, CHUNK):
        length = min(CHUNK, found.size - start)
        value = checksum.of(read(s3, location, start, length, etag=found.etag), value)
    return value


def read_head(s3: S3Client, location: Location, length: int) -> tuple[bytes, int, str]:
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
        return s3.attempt(get)
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
    """Write a small object. With ``checked`` the store checks its CRC-32."""
    data = bytearray(data)  # for bytes, boto3 would first ask the store, which takes a round trip
    if checked:
        parameters["ChecksumCRC32"] = Checksum.CRC32.base64(Checksum.CRC32.of(data))
    s3.call(
        "put_object", Bucket=location.bucket, Key=location.key, Body=data, patience=patience,
        **parameters,
    )  # fmt: skip


def put_lines(
    s3: S3Client,
    location: Location,
    lines: Iterable[str],
    *,
    checked: bool = True,
    **parameters: Any,
) -> None:
    """Write a text of any length, with a few ``CHUNK`` of it in memory."""
    chunks = _chunks(lines)
    first, second = next(chunks), next(chunks, None)
    if second is None:
        put(s3, location, first, checked=checked, **parameters)
        return
    upload: dict[str, Any] = {"Bucket": location.bucket, "Key": location.key}
    upload["UploadId"] = s3.call("create_multipart_upload", **upload, **parameters)["UploadId"]
    try:
        parts = []
        for number, chunk in enumerate(chain((first, second), chunks), 1):
            md5 = hashlib.md5(chunk, usedforsecurity=False).digest()
            answer = s3.call(
                "upload_part", **upload, PartNumber=number, Body=chunk,
                ContentMD5=base64.b64encode(md5).decode(),
            )  # fmt: skip
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        s3.call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
    except BaseException:
        s3.call("abort_multipart_upload", **upload)
        raise


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
