"""Publication of a set of shards on S3: no manifest ever names a shard of another run.

Each shard is an upload with a marker and pending companions of its own (see
``recpack.storage.s3.pending``), and the set has a marker too. When all parts of all shards have
arrived, the set's marker says so (``pending``): from this moment the set will be published, even if
the run is killed. First the older set's manifest goes, then the uploads are completed, and the new
manifest comes last. ``settle_any`` does it for a run that was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from recpack.errors import DataError, SinkError
from recpack.formats.manifest import Manifest
from recpack.storage.checksums import parse_checksum
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import INDEX, LIST, MANIFEST, Location
from recpack.storage.s3.objects import checksum_field, delete, find, list_objects
from recpack.storage.s3.pending import (
    finish,
    forget,
    is_completed,
    pending_location,
    settle,
    withdraw,
)
from recpack.storage.s3.retry import S3Error
from recpack.storage.s3.uploads import Marker, list_parts, read_marker, uploads_of_marker
from recpack.storage.shards import files_of_set, set_name, shard_names

_REQUESTS = 16
"""Shards that are settled at a time."""
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def in_threads(
    work: Callable[[Item], Outcome], items: Iterable[Item], threads: int = _REQUESTS
) -> list[Outcome]:
    """``work`` of each item, some at a time. After an error or Ctrl-C, those that have begun end
    before it is raised."""
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def named_shards(s3: S3Client, rec: Location) -> list[str]:
    """The names of the shards that the manifest of this set names; none without one."""
    try:
        return [str(one.name) for one in Manifest.read(str(rec.companion(MANIFEST)), s3).shards]
    except DataError:
        return []


def demand_no_set(s3: S3Client, rec: Location) -> None:
    """Raise SinkError when a set of shards has this name, or one of its shards."""
    if shards := named_shards(s3, rec):
        raise SinkError(
            f"{rec} is a set of {len(shards)} shards, which one file can't replace; choose another "
            f"name, or delete {rec.companion(MANIFEST)} and {shards[0]} to {shards[-1]}"
        )
    owner = set_name(rec.key)
    if owner is not None:
        name = rec.key.rpartition("/")[2]
        if name in named_shards(s3, rec._replace(key=owner)):
            raise SinkError(f"{rec} is a shard of the set {owner}; choose another name")


def shard_locations(rec: Location, count: int) -> list[Location]:
    """Where the shards of a set are."""
    return [rec._replace(key=key) for key in shard_names(rec.key, count)]


def present_shards(s3: S3Client, rec: Location) -> Iterator[str]:
    """The keys of the shards there, in any number of shards."""
    start = rec._replace(key=rec.key.removesuffix(".rec") + "-")
    keys = (start.key + rest for rest, _ in list_objects(s3, start))
    return files_of_set(rec.key, keys)


def settle_any(s3: S3Client, rec: Location, marker: Marker) -> None:
    """``pending.settle``, also of a set of shards: if all of it had arrived, publish it, else
    remove what is pending, and an older set stays as it is."""
    if not marker.shards:
        settle(s3, rec, marker)
        return
    shards = shard_locations(rec, marker.shards)
    if (
        marker.pending is not None
        and find(s3, pending_location(rec, marker.token, MANIFEST)) is None
    ):
        forget(s3, rec, marker)  # it is published
        return
    if marker.pending is not None and all(in_threads(lambda one: _can_end(s3, one), shards)):
        clear_older(s3, rec, marker.shards)
        in_threads(lambda one: _end(s3, one), shards)
        finish(s3, rec, marker)
        forget(s3, rec, marker)
        return
    in_threads(lambda one: _withdraw(s3, one), shards)
    withdraw(s3, rec, marker)


def clear_older(s3: S3Client, rec: Location, count: int) -> None:
    """Remove the manifest of an older set, then its shards of another number."""
    delete(s3, rec.companion(MANIFEST))
    kept = {one.key for one in shard_locations(rec, count)}
    for key in list(present_shards(s3, rec)):
        if key not in kept:
            old = rec._replace(key=key)
            for one in (old, *map(old.companion, (INDEX, LIST))):
                delete(s3, one)


def _can_end(s3: S3Client, shard: Location) -> bool:
    """Whether a shard of a set that had arrived is completed, or can be."""
    marker = read_marker(s3, shard)
    if marker is None:  # it has ended
        return find(s3, shard) is not None
    return is_completed(s3, shard, marker) or (
        marker.pending is not None and bool(uploads_of_marker(s3, shard, marker))
    )


def _end(s3: S3Client, shard: Location) -> None:
    marker = read_marker(s3, shard)
    if marker is None:
        return
    if not is_completed(s3, shard, marker):
        for upload in uploads_of_marker(s3, shard, marker):
            _complete(s3, shard, upload.id, marker)
    settle(s3, shard, marker)


def _withdraw(s3: S3Client, shard: Location) -> None:
    marker = read_marker(s3, shard)
    if marker is not None:
        settle(s3, shard, marker)


def _complete(s3: S3Client, shard: Location, id: str, marker: Marker) -> None:
    """Complete an upload by the parts that the store has."""
    pending = marker.pending
    assert pending is not None
    checksum, value = parse_checksum(pending.checksum)
    field = checksum_field(checksum)
    parts = [
        {"PartNumber": number, "ETag": part["ETag"]}
        | ({field: part[field]} if pending.checked and field in part else {})
        for number, part in sorted(list_parts(s3, shard, id).items())
        if number not in pending.unused
    ]
    parameters: dict[str, Any] = {"MultipartUpload": {"Parts": parts}}
    if pending.checked:
        parameters |= {field: checksum.base64(value), "ChecksumType": "FULL_OBJECT"}
        parameters["MpuObjectSize"] = pending.bytes
    try:
        s3.call(
            "complete_multipart_upload", Bucket=shard.bucket, Key=shard.key, UploadId=id,
            **parameters,
        )  # fmt: skip
    except S3Error as error:
        if not error.in_doubt:
            raise
