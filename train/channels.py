"""Checks a job's data on S3 before anything is paid for."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import SpecError
from .request import channel_prefix
from .service import Service, message_of

if TYPE_CHECKING:
    from recpack import Manifest

_SHOWN = 5
_OBJECT_WIDTH = 5
"""Least numbers per object: its class and four edges."""


@dataclass(frozen=True)
class Channel:
    """A prefix, the one ``.rec`` below it, and that file's manifest."""

    prefix: str
    rec: str
    manifest: Manifest


def split_url(url: str) -> tuple[str, str]:
    """``s3://bucket/key`` → bucket, key."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def manifest_key(rec_key: str) -> str:
    """The key of a ``.rec``'s manifest, below the sibling prefix ``_recpack/``."""
    folder, _, name = rec_key.rpartition("/")
    above = folder.rpartition("/")[0]
    stem = name.removesuffix(".rec")
    return f"{above}/_recpack/{stem}.json" if above else f"_recpack/{stem}.json"


def read_channel(name: str, url: str, service: Service) -> Channel:
    """Find the ``.rec`` of a channel, and check that it is the file of its manifest.

    ``url`` is the ``.rec`` or its prefix. Raises SpecError: no bucket, another region, no object,
    several objects (the service would use all of them), no manifest, another size or checksum.
    """
    client = service.client("s3")
    prefix = channel_prefix(url)
    bucket, folder = split_url(prefix)
    demand_region(name, bucket, service)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
    found = [one for page in pages for one in page.get("Contents", [])]
    # a folder made in the AWS console is an empty object
    keys = [one["Key"] for one in found if one["Size"] or not one["Key"].endswith("/")]
    recs = [key for key in keys if key.endswith(".rec")]
    if not recs:
        raise SpecError(
            f"{name}: there is no .rec below {prefix} ({len(keys)} other objects); write one with "
            f"recpack convert DEVKIT {prefix}{name}.rec"
        )
    if len(keys) > 1:
        others = ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
        raise SpecError(
            f"{name}: {len(keys)} objects are below {prefix}, and the service would use all of "
            f"them: {others}; keep only one .rec there"
        )
    rec = f"s3://{bucket}/{recs[0]}"
    manifest = _read_manifest(name, rec, service)
    _demand_boxes(name, rec, manifest)
    return Channel(prefix, rec, manifest)


def manifest_below(url: str, service: Service) -> Manifest | None:
    """The current manifest of a channel; None when it can't be found."""
    try:
        return read_channel("train", url, service).manifest
    except SpecError:
        return None


def demand_region(name: str, bucket: str, service: Service) -> None:
    """Raise SpecError when a bucket does not exist or is in another region than the job."""
    client = service.client("s3")
    try:
        headers = client.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
    except client.exceptions.ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        headers = error.response["ResponseMetadata"]["HTTPHeaders"]
        if status == 404:
            raise SpecError(
                f"{name}: there is no bucket {bucket}; make it, or correct the name"
            ) from error
        if status == 403:
            raise SpecError(
                f"{name}: no access to bucket {bucket}; use credentials that have it"
            ) from error
    region = headers.get("x-amz-bucket-region", service.region)
    if region != service.region:
        raise SpecError(
            f"{name}: bucket {bucket} is in {region}, but the job is in {service.region}; use a "
            "bucket in the job's region"
        )


def demand_model(url: str, service: Service) -> None:
    """Raise SpecError when a ``model.tar.gz`` is not there or in another region."""
    bucket, key = split_url(url)
    demand_region("model", bucket, service)
    client = service.client("s3")
    try:
        found = client.head_object(Bucket=bucket, Key=key)
    except client.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            raise SpecError(f"model: there is no {url}") from error
        raise SpecError(f"model: {url} can't be read: {message_of(error)}") from error
    if not found["ContentLength"]:
        raise SpecError(f"model: {url} is empty")


def _demand_boxes(name: str, rec: str, manifest: Manifest) -> None:
    """Raise SpecError for a ``.rec`` without detection labels: the job would fail on reading it."""
    remedy = "pack it with recpack convert, or from a list with detection labels"
    if manifest.object_width < _OBJECT_WIDTH:
        raise SpecError(f"{name}: {rec} has single labels and no boxes; {remedy}")
    kept = manifest.problems.get("kept", {})
    for code, what in (
        ("box-pixels", "images have boxes in pixels, not in ratios"),
        ("label-scalar", "images have a single label and no boxes"),
    ):
        if code in kept:
            raise SpecError(f"{name}: {kept[code]:,} of its {what}: {rec}; {remedy}")


def _read_manifest(name: str, rec: str, service: Service) -> Manifest:
    from recpack import Manifest

    client = service.client("s3")
    bucket, rec_key = split_url(rec)
    key = manifest_key(rec_key)
    try:
        text = client.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    except client.exceptions.NoSuchKey as error:
        raise SpecError(
            f"{name}: {rec} has no manifest, s3://{bucket}/{key}; recpack convert writes both"
        ) from error
    try:
        manifest = Manifest.from_json(text)
    except ValueError as error:
        raise SpecError(f"{name}: s3://{bucket}/{key}: {error}") from error
    found = client.head_object(Bucket=bucket, Key=rec_key, ChecksumMode="ENABLED")
    if found["ContentLength"] != manifest.rec["bytes"]:
        raise SpecError(
            f"{name}: {rec} has {found['ContentLength']:,} bytes, its manifest says "
            f"{manifest.rec['bytes']:,}: it is another file; pack it again"
        )
    actual, expected = _checksums(found, manifest)
    if actual != expected:
        raise SpecError(
            f"{name}: {rec} has {actual}, its manifest says {expected}: it is another file; pack "
            "it again"
        )
    return manifest


def _checksums(found: dict[str, Any], manifest: Manifest) -> tuple[str, str]:
    """The object's checksum or ETag, from the store and from the manifest; two empty strings when
    they have only the size in common."""
    kind, _, digits = (manifest.rec["checksum"] or "").partition(":")
    stored = found.get({"crc32": "ChecksumCRC32", "crc64nvme": "ChecksumCRC64NVME"}.get(kind, ""))
    # a checksum of the parts' checksums is not the object's checksum
    if stored and found.get("ChecksumType") != "COMPOSITE" and "-" not in stored:
        return f"{kind}:{base64.b64decode(stored).hex()}", f"{kind}:{digits}"
    if "etag" in manifest.rec:
        return found["ETag"].strip('"'), manifest.rec["etag"].strip('"')
    return "", ""
