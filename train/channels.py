"""A job's data on S3, looked at before anything is paid for."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import SpecError
from .request import prefix
from .service import Service

if TYPE_CHECKING:
    from recpack import Manifest

_SHOWN = 5
_OBJECT_WIDTH = 5
"""Numbers of an object: its class and four edges, at least."""


@dataclass(frozen=True)
class Channel:
    """A prefix with one ``.rec`` below it, and the manifest of that."""

    place: str
    rec: str
    manifest: Manifest


def split(place: str) -> tuple[str, str]:
    """``s3://bucket/key`` → bucket, key."""
    bucket, _, key = place.removeprefix("s3://").partition("/")
    return bucket, key


def manifest_key(rec_key: str) -> str:
    """Where recpack puts the manifest of a ``.rec``: in the sibling prefix ``_recpack/``."""
    folder, _, name = rec_key.rpartition("/")
    above = folder.rpartition("/")[0]
    stem = name.removesuffix(".rec")
    return f"{above}/_recpack/{stem}.json" if above else f"_recpack/{stem}.json"


def read_channel(name: str, place: str, service: Service) -> Channel:
    """Find the ``.rec`` of a channel and prove that it is the one its manifest describes.

    ``place`` is the ``.rec`` or its prefix. Raises SpecError: no bucket, another region, no object,
    several objects (the service would take them all), no manifest, another size or checksum.
    """
    client = service.client("s3")
    where = prefix(place)
    bucket, folder = split(where)
    demand_region(name, bucket, service)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
    found = [one for page in pages for one in page.get("Contents", [])]
    # the console makes an empty object for a folder, which is no data
    keys = [one["Key"] for one in found if one["Size"] or not one["Key"].endswith("/")]
    recs = [key for key in keys if key.endswith(".rec")]
    if not recs:
        raise SpecError(
            f"{name}: there is no .rec below {where} "
            f"({len(keys)} objects in all); write one with recpack convert DEVKIT {where}{name}.rec"
        )
    if len(keys) > 1:
        others = ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
        raise SpecError(
            f"{name}: {len(keys)} objects lie below {where}, and the service would take all of "
            f"them: {others}; leave one .rec"
        )
    rec = f"s3://{bucket}/{recs[0]}"
    manifest = _proven(name, rec, service)
    _demand_boxes(name, rec, manifest)
    return Channel(where, rec, manifest)


def manifest_below(place: str, service: Service) -> Manifest | None:
    """The manifest of a channel as it is now, if it can still be found."""
    try:
        return read_channel("train", place, service).manifest
    except SpecError:
        return None


def demand_region(name: str, bucket: str, service: Service) -> None:
    """Refuse a bucket that there is not, or not in the job's region."""
    client = service.client("s3")
    try:
        headers = client.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
    except client.exceptions.ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        headers = error.response["ResponseMetadata"]["HTTPHeaders"]
        if status == 404:
            raise SpecError(f"{name}: there is no bucket {bucket}") from error
        if status == 403:
            raise SpecError(f"{name}: you may not look into bucket {bucket}") from error
    region = headers.get("x-amz-bucket-region", service.region)
    if region != service.region:
        raise SpecError(
            f"{name}: bucket {bucket} is in {region}, the job in {service.region}; a job reads "
            "from its own region only"
        )


def _demand_boxes(name: str, rec: str, manifest: Manifest) -> None:
    """Refuse what was packed from a list of another template: the job would end in its reader."""
    remedy = "pack it with recpack convert, or from a list of the detection template"
    if manifest.object_width < _OBJECT_WIDTH:
        raise SpecError(f"{name}: {rec} holds no boxes but single labels; {remedy}")
    kept = manifest.problems.get("kept", {})
    for code, what in (
        ("box-pixels", "images have boxes in pixels, not in ratios"),
        ("label-scalar", "images have a single label and no boxes"),
    ):
        if code in kept:
            raise SpecError(f"{name}: {kept[code]:,} of its {what}: {rec}; {remedy}")


def _proven(name: str, rec: str, service: Service) -> Manifest:
    from recpack import Manifest

    client = service.client("s3")
    bucket, key = split(rec)
    place = manifest_key(key)
    try:
        text = client.get_object(Bucket=bucket, Key=place)["Body"].read().decode()
    except client.exceptions.NoSuchKey as error:
        raise SpecError(
            f"{name}: {rec} has no manifest, s3://{bucket}/{place}; recpack convert writes both"
        ) from error
    try:
        manifest = Manifest.from_json(text)
    except ValueError as error:
        raise SpecError(f"{name}: s3://{bucket}/{place}: {error}") from error
    found = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    if found["ContentLength"] != manifest.rec["bytes"]:
        raise SpecError(
            f"{name}: {rec} has {found['ContentLength']:,} bytes, its manifest says "
            f"{manifest.rec['bytes']:,}: it is another file; pack it anew"
        )
    there, stated = _stored(found, manifest)
    if there != stated:
        raise SpecError(
            f"{name}: {rec} has {there}, its manifest says {stated}: it is another file; pack it "
            "anew"
        )
    return manifest


def _stored(found: dict[str, Any], manifest: Manifest) -> tuple[str, str]:
    """What the store and the manifest say of the object, by the proof that both have; two equal
    texts where there is none beside the size."""
    kind, _, digits = (manifest.rec["checksum"] or "").partition(":")
    stored = found.get({"crc32": "ChecksumCRC32", "crc64nvme": "ChecksumCRC64NVME"}.get(kind, ""))
    # a checksum of parts' checksums is no checksum of the object
    if stored and found.get("ChecksumType") != "COMPOSITE" and "-" not in stored:
        return f"{kind}:{base64.b64decode(stored).hex()}", f"{kind}:{digits}"
    if "etag" in manifest.rec:
        return found["ETag"].strip('"'), manifest.rec["etag"].strip('"')
    return "", ""
