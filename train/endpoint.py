"""Hosting: deploy a model behind an endpoint, detect objects with it, delete it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .channels import manifest_below
from .detections import Detections, parse_response
from .errors import JobError, SpecError
from .images import image_uri
from .job import POLL_SECONDS, Job, find_previous
from .planning import unique_suffix
from .request import (
    INFERENCE_TYPE,
    Network,
    endpoint_config_request,
    endpoint_request,
    model_request,
    transform_request,
)
from .service import Service, find_role

if TYPE_CHECKING:
    from .detections import Pixels

MAX_BODY = 5_000_000
"""Most bytes of an image that the service accepts."""

_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PN": "image/png"}


@dataclass(frozen=True)
class Endpoint:
    """An endpoint by its name; its configuration and model have the same name. As a context manager
    it is deleted at the end of the block, so that it costs no more money. ``classes`` are the names
    in the order of their ids."""

    name: str
    classes: Sequence[str]
    service: Service

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.delete()

    def predict(self, image: str | Path | bytes | Pixels) -> Detections:
        """Detect the objects in an image: a file, its bytes, or pixels (uint8, blue first).

        What the service does not accept (other kinds than JPEG and PNG, more than 5 MB) is encoded
        again, with a warning when the image gets smaller. Raises JobError.
        """
        body, content_type, width, height = payload(image)
        client = self.service.client("sagemaker-runtime")
        try:
            answer = client.invoke_endpoint(
                EndpointName=self.name, ContentType=content_type, Body=body
            )
        except client.exceptions.ClientError as error:
            message = error.response["Error"].get("Message", str(error))
            raise JobError(f"{self.name}: {message}", message) from error
        return parse_response(answer["Body"].read(), self.classes, width, height)

    def wait(
        self, *, sleep: Callable[[float], None] = time.sleep, poll: float = POLL_SECONDS
    ) -> Endpoint:
        """Wait until it serves. Raises JobError with the service's reason when it fails."""
        client = self.service.client("sagemaker")
        while True:
            description = client.describe_endpoint(EndpointName=self.name)
            state = description["EndpointStatus"]
            if state == "InService":
                return self
            if state not in ("Creating", "Updating", "SystemUpdating"):
                reason = description.get("FailureReason", state)
                raise JobError(f"{self.name}: {reason}", reason)
            sleep(poll)

    def delete(self) -> None:
        """Delete endpoint, configuration and model; no error when one does not exist."""
        delete_endpoint(self.name, self.service)


def delete_endpoint(name: str, service: Service) -> None:
    """See ``Endpoint.delete``."""
    client = service.client("sagemaker")
    for call, parameter in (
        (client.delete_endpoint, "EndpointName"),
        (client.delete_endpoint_config, "EndpointConfigName"),
        (client.delete_model, "ModelName"),
    ):
        try:
            call(**{parameter: name})
        except client.exceptions.ClientError as error:
            message = error.response["Error"].get("Message", "").lower()
            if not any(text in message for text in ("could not find", "not found", "not exist")):
                raise


def deploy(
    model: str | Job,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    role: str | None = None,
    service: Service | None = None,
    image: str | None = None,
    instance_type: str = INFERENCE_TYPE,
    instance_count: int = 1,
    tags: Mapping[str, str] | None = None,
    network: Network | None = None,
    wait: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> Endpoint:
    """Host a model: ``model`` is a job, its name, or a ``model.tar.gz``.

    ``classes`` default to those of the manifest of the training data. If this fails, everything
    that it has made is deleted again.
    """
    service = service or Service()
    found = find_previous(model, service)
    names = tuple(classes or _classes(found.train, service))
    stem = found.model.split("/")[-3] if found.model.count("/") > 3 else "recpack"
    name = name or f"{stem[:40].strip('-')}-{unique_suffix()}"
    arn = find_role(role, service)
    client = service.client("sagemaker")
    endpoint = Endpoint(name, names, service)
    try:
        client.create_model(
            **model_request(
                name, arn, image or image_uri(service.region), found.model,
                tags=tags, network=network,
            )
        )  # fmt: skip
        client.create_endpoint_config(
            **endpoint_config_request(
                name, name, instance_type=instance_type, instance_count=instance_count,
                tags=tags, network=network,
            )
        )  # fmt: skip
        client.create_endpoint(**endpoint_request(name, name, tags=tags))
        return endpoint.wait(sleep=sleep) if wait else endpoint
    except BaseException as error:
        with suppress(Exception):  # the first error is the important one
            endpoint.delete()
        if isinstance(error, client.exceptions.ClientError):
            message = error.response["Error"].get("Message", str(error))
            raise JobError(
                f"{name}: the service refuses the endpoint: {message}", message
            ) from error
        raise


def attach_endpoint(
    name: str, service: Service | None = None, *, classes: Sequence[str] | None = None
) -> Endpoint:
    """An existing endpoint. Its ``classes`` default to those of ``deploy``."""
    service = service or Service()
    if classes is None:
        client = service.client("sagemaker")
        try:
            description = client.describe_model(ModelName=name)
        except client.exceptions.ClientError as error:
            raise JobError(f"{name}: there is no such endpoint of recpack-train") from error
        found = find_previous(description["PrimaryContainer"]["ModelDataUrl"], service)
        classes = _classes(found.train, service)
    return Endpoint(name, tuple(classes), service)


def transform(
    model_name: str,
    images: str,
    output: str,
    *,
    name: str,
    service: Service | None = None,
    **options: Any,
) -> str:
    """Start a batch job for all images below an S3 prefix, and return its name. The answers are
    below ``output``, one object per image, with the image's name plus ``.out``."""
    service = service or Service()
    request = transform_request(name, model_name, images, output, **options)
    service.client("sagemaker").create_transform_job(**request)
    return name


def payload(image: str | Path | bytes | Pixels) -> tuple[bytes, str, int, int]:
    """(body, content type, width, height) of a request; the size is that of the original image."""
    import cv2

    from .pictures import load, read_file

    pixels = load(image)
    height, width = pixels.shape[:2]
    data = image if isinstance(image, bytes) else b""
    if isinstance(image, (str, Path)):
        data = read_file(image)
    content_type = _TYPES.get(data[:3])
    if content_type is not None and len(data) <= MAX_BODY:
        return data, content_type, width, height
    before = len(data)
    scale = 1.0
    while True:
        if scale < 1:
            size = max(round(width * scale), 1), max(round(height * scale), 1)
            smaller = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        else:
            smaller = pixels
        data = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
        if len(data) <= MAX_BODY:
            break
        scale *= 0.8
    if before > MAX_BODY or scale < 1:
        warnings.warn(
            f"the image was encoded again, with {len(data):,} bytes and {scale:.0%} of its size: "
            f"the service accepts at most {MAX_BODY:,} bytes",
            stacklevel=3,
        )
    return data, "image/jpeg", width, height


def _classes(train: str | None, service: Service) -> Sequence[str]:
    manifest = None if train is None else manifest_below(train, service)
    if manifest is None:
        raise SpecError(
            "classes: the manifest of the model's training data can't be found; give the names in "
            "the order of their ids"
        )
    return manifest.classes
