"""The channels without a ``.rec``: images with JSON files, and augmented manifests. They have no
manifest of recpack; a dry run of its ``convert`` counts what is in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .errors import SpecError
from .service import Service, is_missing, message_of
from .spec import Data

if TYPE_CHECKING:
    from recpack import Manifest

ANNOTATION = "_annotation"
"""What the name of a prefix with JSON files has more than that of its images."""

_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png"}
_FIRST_LINE = 1 << 20
Listed = Sequence[dict[str, Any]]
"""Objects, as S3 lists them."""


def read_images(
    name: str, prefix: str, images: Listed, annotations: Listed, service: Service
) -> tuple[Manifest, Data]:
    """The numbers of images and their JSON files. Raises SpecError for what recpack can't read."""
    if len(images) != len(annotations):
        raise SpecError(
            f"{name}: {len(images):,} objects are below {prefix}, and {len(annotations):,} below "
            f"{prefix[:-1]}{ANNOTATION}/; the service needs one JSON file for each image"
        )
    above, _, folder = prefix[:-1].rpartition("/")
    manifest = _count(name, above, service, source_format="image-json", set=folder)
    endings = {one["Key"].rpartition(".")[2].lower() for one in images}
    types = {_TYPES.get(ending, "application/x-image") for ending in endings}
    kind = types.pop() if len(types) == 1 else "application/x-image"
    return _identified(manifest, [*images, *annotations]), Data("images", kind)


def read_augmented(name: str, url: str, service: Service) -> tuple[Manifest, Data]:
    """The numbers of an augmented manifest. Raises SpecError for what recpack can't read."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    client = service.client("s3")
    try:
        start = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{_FIRST_LINE - 1}")
        first = json.loads(start["Body"].read().partition(b"\n")[0])
        labels = [one for one in first if f"{one}-metadata" in first]
    except client.exceptions.ClientError as error:
        why = "there is no" if is_missing(error) else message_of(error)
        raise SpecError(f"{name}: {why} {url}") from error
    except (ValueError, TypeError) as error:
        raise SpecError(f"{name}: {url}: its first line is not JSON") from error
    if "source-ref" not in first or len(labels) != 1:
        raise SpecError(
            f"{name}: {url}: its first line needs source-ref and one label with its metadata; "
            "write one with recpack convert DEVKIT OUT.manifest"
        )
    manifest = _count(name, url, service, source_format="augmented-manifest")
    found = {"Key": key, "ETag": start["ETag"], "Size": 0}  # its images are streamed, not stored
    return _identified(manifest, [found]), Data("augmented", attributes=("source-ref", *labels))


def _count(name: str, url: str, service: Service, **options: Any) -> Manifest:
    import recpack

    try:
        return recpack.convert(
            url, recpack.MemorySink(), dry_run=True, negatives="keep",
            endpoint_url=service.endpoint_url, **options,
        ).manifest  # fmt: skip
    except recpack.RecpackError as error:
        raise SpecError(f"{name}: {error}") from error


def _identified(manifest: Manifest, objects: Listed) -> Manifest:
    """With the bytes of the objects, and a checksum that is another one when they are others."""
    lines = sorted(f"{one['Key'].rpartition('/')[2]} {one['ETag']}" for one in objects)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    size = sum(one["Size"] for one in objects)
    return replace(
        manifest, rec=replace(manifest.rec, name=None, bytes=size, checksum=f"etags:{digest}")
    )
