"""Checks a job's data on S3 before anything is paid for."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import SpecError, UsageError
from .kinds import Kind, kind_of_labels
from .names import name_of_set
from .service import Service, message_of
from .spec import RECORDS, S3_URL, Data, channel_prefix

if TYPE_CHECKING:
    from recpack import Manifest

_SHOWN = 5
_MAX_MANIFEST = 64 << 20


_THREADS = 8


@dataclass(frozen=True)
class Channel:
    """A prefix, the one ``.rec`` below it, and that file's manifest. Of a set of shards ``rec`` is
    the name of the set. For other formats ``data`` tells them: ``prefix`` and ``rec`` are the
    augmented manifest's URL, or the images' prefix."""

    prefix: str
    rec: str
    manifest: Manifest
    data: Data = RECORDS

    @property
    def kind(self) -> Kind:
        """Of the model that learns it."""
        return kind_of_labels(self.manifest)

    @property
    def checksum(self) -> str | None:
        """The same for the same bytes; None where nobody knows."""
        return self.manifest.rec.checksum or self.manifest.rec.etag


def split_url(url: str) -> tuple[str, str]:
    """``s3://bucket/key`` → bucket, key."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def demand_url(name: str, url: str, local: str = "") -> None:
    """Raise UsageError for what is no S3 URL. ``local``: what to do with a path."""
    if not S3_URL.fullmatch(url):
        raise UsageError(f"{name}: {url!r}; write s3://bucket/…{local}")


def manifest_key(rec_key: str) -> str:
    """The key of a ``.rec``'s manifest, below the sibling prefix ``_recpack/``."""
    folder, _, name = rec_key.rpartition("/")
    above = folder.rpartition("/")[0]
    stem = name.removesuffix(".rec")
    return f"{above}/_recpack/{stem}.json" if above else f"_recpack/{stem}.json"


def read_channel(name: str, url: str, service: Service) -> Channel:
    """Find the data of a channel, and check that a ``.rec`` is the file of its manifest.

    ``url`` is the ``.rec`` (or the name of a set of shards) or its prefix, an augmented
    ``….manifest``, or a prefix of images that has one with ``_annotation`` for JSON files beside
    it. Raises SpecError: no bucket, another region, no object, several objects that are not just
    the shards of one set (the service would use all of them), no manifest, another size or
    checksum; UsageError for another kind of URL.
    """
    from .documents import ANNOTATION, read_augmented, read_images

    demand_url(name, url)
    bucket, _ = split_url(url)
    demand_region(name, bucket, service)
    if url.endswith(".manifest"):
        return Channel(url, url, *read_augmented(name, url, service))
    prefix = channel_prefix(url)
    found = objects_below(prefix, service)
    keys = [one["Key"] for one in found]
    recs = [key for key in keys if key.endswith(".rec")]
    if keys and not recs:
        annotations = objects_below(f"{prefix[:-1]}{ANNOTATION}/", service)
        if annotations:
            images = read_images(name, prefix, found, annotations, service)
            return Channel(prefix, prefix, *images)
    if not recs:
        raise SpecError(
            f"{name}: there is no .rec below {prefix} ({len(keys)} other objects); write one with "
            f"recpack convert DEVKIT {prefix}{name}.rec"
        )
    names = set(map(name_of_set, keys))
    if len(names) > 1:
        raise SpecError(
            f"{name}: {len(keys)} objects are below {prefix}, and the service would use all of "
            f"them: {_some(keys)}; keep only one .rec there, or the shards of one set"
        )
    rec = f"s3://{bucket}/{names.pop()}"
    manifest = _read_manifest(name, rec, service)
    _demand_files(name, rec, keys, manifest, service)
    demand_labels(name, rec, manifest)
    return Channel(prefix, rec, manifest)


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")


def _demand_files(
    name: str, rec: str, keys: Sequence[str], manifest: Manifest, service: Service
) -> None:
    """Raise SpecError when the objects are not those of the manifest: one, or all of its shards."""
    bucket, key = split_url(rec)
    folder = key.rpartition("/")[0]
    files = {
        f"{folder}/{one.name}" if folder else str(one.name): one for one in manifest.shards
    } or {key: manifest.rec}
    if missing := sorted(files.keys() - set(keys)):
        raise SpecError(
            f"{name}: {_some(missing)}: not there, and the manifest of {rec} names it; pack it "
            "again"
        )
    if more := sorted(set(keys) - files.keys()):
        raise SpecError(
            f"{name}: {_some(more)}: not of {rec}, by its manifest, and the service would use it "
            "too; move it to another prefix"
        )
    client = service.client("s3")  # here: making one is not for threads
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(
            lambda key: _demand_file(name, bucket, key, files[key], client), sorted(files)
        ):
            pass


def objects_below(prefix: str, service: Service, most: int | None = None) -> list[dict[str, Any]]:
    """The objects below a prefix, ``most`` at most, as S3 lists them."""
    bucket, folder = split_url(prefix)
    pages = service.client("s3").get_paginator("list_objects_v2")
    found = (
        one
        for page in pages.paginate(
            Bucket=bucket, Prefix=folder, PaginationConfig={"MaxItems": most}
        )
        for one in page.get("Contents", [])
    )
    # a folder made in the AWS console is an empty object
    return [one for one in found if one["Size"] or not one["Key"].endswith("/")]


def manifest_below(url: str, service: Service) -> Manifest | None:
    """The current manifest of a channel; None when it can't be found."""
    try:
        return read_channel("train", url, service).manifest
    except SpecError:
        return None


def demand_region(name: str, bucket: str, service: Service) -> None:
    """Raise SpecError when a bucket does not exist, is in another region than the job, or is closed
    to the caller."""
    if not _is_open(name, bucket, service):
        raise SpecError(f"{name}: no access to bucket {bucket}; use credentials that have it")


def _is_open(name: str, bucket: str, service: Service) -> bool:
    """Whether the caller has access to a bucket. Raises SpecError when it does not exist or is in
    another region than the job."""
    client = service.client("s3")
    try:
        answer = client.head_bucket(Bucket=bucket)
    except client.exceptions.ClientError as error:
        answer = error.response
    found = answer["ResponseMetadata"]
    if found["HTTPStatusCode"] == 404:
        raise SpecError(f"{name}: there is no bucket {bucket}; make it, or correct the name")
    region = found["HTTPHeaders"].get("x-amz-bucket-region", service.region)
    if region != service.region:
        raise SpecError(
            f"{name}: bucket {bucket} is in {region}, but the job is in {service.region}; use a "
            "bucket in the job's region"
        )
    return bool(found["HTTPStatusCode"] != 403)


def demand_output(name: str, url: str, role: str, service: Service) -> bool:
    """``demand_region`` of what a job's role writes: a bucket that is closed to the caller is a
    warning, when IAM does not say that the role may write there either. Returns whether the caller
    may look into it."""
    bucket, key = split_url(url)
    if _is_open(name, bucket, service):
        return True
    client = service.client("iam")
    partition = role.split(":")[1]
    try:
        answer = client.simulate_principal_policy(
            PolicySourceArn=role,
            ActionNames=["s3:PutObject"],
            ResourceArns=[f"arn:{partition}:s3:::{bucket}/{key.rstrip('/')}/x"],
        )
        decision = answer["EvaluationResults"][0]["EvalDecision"]
    except client.exceptions.ClientError as error:
        decision = message_of(error)
    if decision == "explicitDeny":
        raise SpecError(f"{name}: {role} may not write to {url}; use another --{name} or --role")
    if decision != "allowed":  # a policy of the bucket can still allow it
        warnings.warn(
            f"{name}: you have no access to bucket {bucket}, and it is not known whether {role} "
            f"may write there ({decision}); if not, the job fails when it has trained",
            stacklevel=4,
        )
    return False


def demand_model(url: str, service: Service, name: str = "model") -> None:
    """Raise SpecError when a ``model.tar.gz`` is not there or in another region."""
    bucket, key = split_url(url)
    demand_region(name, bucket, service)
    client = service.client("s3")
    try:
        found = client.head_object(Bucket=bucket, Key=key)
    except client.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            raise SpecError(f"{name}: there is no {url}") from error
        raise SpecError(f"{name}: {url} can't be read: {message_of(error)}") from error
    if not found["ContentLength"]:
        raise SpecError(f"{name}: {url} is empty")


def demand_labels(name: str, rec: str, manifest: Manifest) -> None:
    """Raise SpecError for a ``.rec`` with other labels than boxes, a class for each image, or a
    number for each class: the job would fail on reading it."""
    if kind_of_labels(manifest) == "classification":
        _demand_classes(name, rec, manifest)
        return
    remedy = "pack it with recpack convert, or from a list with detection labels"
    kept = manifest.problems.get("kept", {})
    for code, what in (
        ("box-pixels", "images have boxes in pixels, not in ratios"),
        ("label-scalar", "images have a single label and no boxes"),
    ):
        if code in kept:
            raise SpecError(f"{name}: {kept[code]:,} of its {what}: {rec}; {remedy}")


def _demand_classes(name: str, rec: str, manifest: Manifest) -> None:
    if manifest.source.format == "identities":
        raise SpecError(
            f"{name}: {rec} is in InsightFace's layout, with records that have no image, which the "
            "service can't train on; pack the folder with recpack convert --from folders"
        )
    width, count = manifest.label_width, len(manifest.classes)
    if width == 1:
        if other := manifest.num_samples - sum(manifest.objects.values()):
            raise SpecError(
                f"{name}: {rec} has {other:,} labels that are no class ids; give each image the "
                f"number of its class, 0 to {count - 1}"
            )
    elif width != count:
        raise SpecError(
            f"{name}: {rec} has labels of {width} numbers and {count} classes; give each image one "
            "class id, or 0 or 1 for each class"
        )


def _read_manifest(name: str, rec: str, service: Service) -> Manifest:
    from recpack import Manifest

    client = service.client("s3")
    bucket, rec_key = split_url(rec)
    key = manifest_key(rec_key)
    try:
        answer = client.get_object(Bucket=bucket, Key=key)
    except client.exceptions.NoSuchKey as error:
        raise SpecError(
            f"{name}: {rec} has no manifest, s3://{bucket}/{key}; recpack convert writes both"
        ) from error
    try:
        if answer["ContentLength"] > _MAX_MANIFEST:
            raise ValueError(f"it has more than {_MAX_MANIFEST:,} bytes")
        return Manifest.from_json(answer["Body"].read())
    except ValueError as error:
        raise SpecError(f"{name}: s3://{bucket}/{key}: {error}") from error


def _demand_file(name: str, bucket: str, key: str, file: Any, client: Any) -> None:
    """Raise SpecError when an object is not the ``file`` that the manifest describes."""
    found = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    rec = f"s3://{bucket}/{key}"
    if found["ContentLength"] != file.bytes:
        raise SpecError(
            f"{name}: {rec} has {found['ContentLength']:,} bytes, its manifest says "
            f"{file.bytes}: it is another file; pack it again"
        )
    actual, expected = _checksums(found, file)
    if actual != expected:
        raise SpecError(
            f"{name}: {rec} has {actual}, its manifest says {expected}: it is another file; pack "
            "it again"
        )


def _checksums(found: dict[str, Any], file: Any) -> tuple[str, str]:
    """The object's checksum or ETag, from the store and from the manifest; two empty strings when
    they have only the size in common."""
    kind, _, digits = (file.checksum or "").partition(":")
    stored = found.get({"crc32": "ChecksumCRC32", "crc64nvme": "ChecksumCRC64NVME"}.get(kind, ""))
    # a checksum of the parts' checksums is not the object's checksum
    if stored and found.get("ChecksumType") != "COMPOSITE" and "-" not in stored:
        return f"{kind}:{base64.b64decode(stored).hex()}", f"{kind}:{digits}"
    if file.etag is not None:
        return found["ETag"].strip('"'), file.etag.strip('"')
    return "", ""
