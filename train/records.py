"""What a job was trained on, kept beside its model: a small object ``JOB/recpack.json`` below the
job's output. The manifest of the data can be another one by now, and the job can be deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .channels import split_url
from .errors import SpecError
from .service import Service, is_missing

if TYPE_CHECKING:
    from recpack import Manifest

_VERSION = 1
_MOST = 16 << 20


@dataclass(frozen=True)
class Trained:
    """``classes`` in the order of their ids; ``data``: for each channel the ``.rec``'s URL,
    ``bytes``, ``checksum`` and number of ``samples``."""

    classes: tuple[str, ...]
    data: Mapping[str, Mapping[str, Any]]

    @classmethod
    def on(cls, channels: Mapping[str, tuple[str, Manifest]]) -> Trained:
        """By the URL and the manifest of each channel's ``.rec``."""
        data = {
            name: {
                "rec": rec,
                "bytes": manifest.rec["bytes"],
                "checksum": manifest.rec["checksum"],
                "samples": manifest.num_samples,
            }
            for name, (rec, manifest) in channels.items()
        }
        return cls(channels["train"][1].classes, data)


def place_of(output: str, job_name: str) -> str:
    """Where the record of a job is, by the job's output."""
    return f"{output.rstrip('/')}/{job_name}/recpack.json"


def write_trained(url: str, trained: Trained, service: Service) -> None:
    """Write a job's record."""
    bucket, key = split_url(url)
    body = json.dumps({"version": _VERSION, **asdict(trained)}, indent=2).encode()
    service.client("s3").put_object(Bucket=bucket, Key=key, Body=body)


def read_trained(model: str, service: Service) -> Trained | None:
    """What the ``model.tar.gz`` of a job was trained on; None where no record is beside it. Raises
    SpecError for one that is damaged."""
    parts = model.split("/")
    if parts[-2:] != ["output", "model.tar.gz"]:
        return None
    url = "/".join([*parts[:-2], "recpack.json"])
    bucket, key = split_url(url)
    client = service.client("s3")
    try:
        answer = client.get_object(Bucket=bucket, Key=key)
    except client.exceptions.ClientError as error:
        if is_missing(error) or error.response["Error"]["Code"] == "AccessDenied":
            return None  # a store that does not list says "denied" for what is not there
        raise
    try:
        values = json.loads(answer["Body"].read(_MOST))
        classes = values["classes"]
        if not all(isinstance(name, str) for name in classes) or not isinstance(classes, list):
            raise ValueError("classes")
        return Trained(tuple(classes), dict(values["data"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SpecError(f"{url}: this is not the record of a job; delete it") from error
