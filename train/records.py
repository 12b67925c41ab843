"""What a job was trained on, kept beside its model: ``JOB/recpack.json``, a small object or file
below the job's output. The manifest of the data can be another one by now, and the job can be
deleted."""

from __future__ import annotations

import json
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from .channels import split_url
from .errors import JobError, SpecError
from .files import open_file
from .kinds import MEASURES, Kind, kind_of_labels
from .service import Service, is_denied, is_missing, message_of

if TYPE_CHECKING:
    from .channels import Channel

_VERSION = 1
_MOST = 16 << 20


@dataclass(frozen=True)
class Used:
    """The data of a channel: the URL of its ``.rec``, manifest or images, their ``bytes`` and
    ``checksum``, and the number of ``samples``; None where nobody knows it."""

    rec: str | None = None
    bytes: int | None = None
    checksum: str | None = None
    samples: int | None = None

    def __str__(self) -> str:
        return f"{self.rec} ({self.samples} images, {self.checksum})"


@dataclass(frozen=True)
class Trained:
    """``classes`` in the order of their ids; the ``data`` of each channel; the ``kind`` of the
    model (None in older records)."""

    classes: tuple[str, ...]
    data: Mapping[str, Used]
    kind: Kind | None = None

    @classmethod
    def on(cls, channels: Mapping[str, Channel]) -> Trained:
        """By the channels ``train`` and ``validation``."""
        data = {
            name: Used(
                channel.rec, channel.manifest.rec.bytes, channel.checksum,
                channel.manifest.num_samples,
            )
            for name, channel in channels.items()
        }  # fmt: skip
        manifest = channels["train"].manifest
        return cls(manifest.classes, data, kind_of_labels(manifest))

    def to_json(self) -> bytes:
        """The record of one job: no two are the same."""
        own = {"version": _VERSION, "id": secrets.token_hex(8)}
        return json.dumps(own | asdict(self), indent=2).encode()

    def differences(self, now: Trained) -> Iterator[str]:
        """What a job that continues has other data in, for people to read."""
        measure = MEASURES[self.kind or "detection"]
        hints = {"validation": f"; {measure} can't be compared with the earlier job's"}
        for name, before in self.data.items():
            after = now.data.get(name, Used())
            if before.checksum != after.checksum:
                yield (
                    f"{name}: other data than the model was trained on: {after}, then "
                    f"{before}{hints.get(name, '')}"
                )


def place_of(output: str, job_name: str) -> str:
    """Where the record of a job is, by the job's output."""
    return f"{output.rstrip('/')}/{job_name}/recpack.json"


def write_trained(url: str, trained: Trained, service: Service, kms_key: str | None = None) -> bool:
    """Write a job's record; False, with a warning, where the caller has no right to. Raises
    JobError when there is one: of another job of this name."""
    body = trained.to_json()
    client = service.client("s3")
    try:
        put_new(url, body, service, kms_key)
    except client.exceptions.ClientError as error:
        if not is_denied(error):
            raise
        warnings.warn(
            f"the classes can't be kept beside the model, {url}: {message_of(error)}; deploy it "
            f"with --classes {','.join(trained.classes)}",
            stacklevel=4,
        )
        return False
    return True


def put_new(url: str, body: bytes, service: Service, kms_key: str | None = None) -> None:
    """Write an object of a job that is to start. Raises JobError when there is one: of another job
    of this name; ClientError otherwise."""
    bucket, key = split_url(url)
    kms = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
    client = service.client("s3")
    try:
        client.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", **kms)
    except client.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
            raise
        # an earlier attempt can have succeeded, but its answer was lost
        if client.get_object(Bucket=bucket, Key=key)["Body"].read(_MOST) != body:
            raise JobError(
                f"{url} exists, of another job of this name; choose another --job-name or --output"
            ) from error


def remove(url: str, service: Service) -> None:
    """Delete an object that ``put_new`` wrote."""
    bucket, key = split_url(url)
    service.client("s3").delete_object(Bucket=bucket, Key=key)


def read_trained(model: str, service: Service) -> Trained | None:
    """What the ``model.tar.gz`` of a job was trained on; None where no record is beside it. The
    jobs of a tuning have one record, a level higher. Raises SpecError for one that is damaged."""
    parts = (model if model.startswith("s3://") else os.path.abspath(model)).split("/")
    if parts[-2:] != ["output", "model.tar.gz"] or len(parts) < 5:
        return None
    folders = [parts[:-2]]
    if parts[-3].startswith(parts[-4] + "-"):
        folders.append(parts[:-3])
    found = (_read("/".join([*folder, "recpack.json"]), service) for folder in folders)
    return next((one for one in found if one is not None), None)


def _fetch(url: str, service: Service) -> bytes | None:
    """An object or a file; None when it is not there."""
    if not url.startswith("s3://"):
        with suppress(FileNotFoundError), open_file(url) as file:
            return bytes(file.read(_MOST))
        return None
    bucket, key = split_url(url)
    client = service.client("s3")
    try:
        answer = client.get_object(Bucket=bucket, Key=key)
    except client.exceptions.ClientError as error:
        if is_missing(error) or is_denied(error):
            return None  # a store that does not list says "denied" for what is not there
        raise
    return bytes(answer["Body"].read(_MOST))


def _read(url: str, service: Service) -> Trained | None:
    text = _fetch(url, service)
    if text is None:
        return None
    try:
        values = json.loads(text)
        classes = values["classes"]
        if not all(isinstance(name, str) for name in classes) or not isinstance(classes, list):
            raise ValueError("classes")
        data = {
            name: Used(**{field.name: one.get(field.name) for field in fields(Used)})
            for name, one in values["data"].items()
        }
        kind = values.get("kind")
        return Trained(tuple(classes), data, kind if kind in MEASURES else None)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SpecError(f"{url}: this is not the record of a job; delete it") from error
