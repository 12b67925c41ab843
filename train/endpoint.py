"""An endpoint: wait for it, detect objects with it. ``hosting`` makes and deletes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .bodies import payload
from .detections import Detections, parse_response
from .errors import JobError
from .job import PATIENCE, POLL_SECONDS, Previous, find_previous
from .service import Service, is_missing, is_temporary, message_of

if TYPE_CHECKING:
    from .detections import Pixels

_CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


@dataclass(frozen=True)
class Endpoint:
    """An endpoint by its name. As a context manager it is deleted at the end of the block, so that
    it costs no more money. ``classes`` are the names in the order of their ids."""

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

        What is not like the pictures of the training (gray, rotated by its EXIF data, 16 bits,
        another kind than JPEG and PNG) is encoded again, and what has more than 5 MB becomes
        smaller, with a warning. Throttled and unanswered calls are repeated. Raises JobError.
        """
        body, content_type, width, height = payload(image)
        answer = patiently(lambda: self._invoke(body, content_type), time.sleep, RETRY_SECONDS)
        return parse_response(answer, self.classes, width, height)

    def _invoke(self, body: bytes, content_type: str) -> bytes:
        client = self.service.client("sagemaker-runtime")
        try:
            answer = client.invoke_endpoint(
                EndpointName=self.name, ContentType=content_type, Body=body
            )
            return bytes(answer["Body"].read())
        except client.exceptions.ClientError as error:
            if is_temporary(error):
                raise
            raise JobError(f"{self.name}: {message_of(error)}", message_of(error)) from error

    def wait(
        self, *, sleep: Callable[[float], None] = time.sleep, poll: float = POLL_SECONDS
    ) -> Endpoint:
        """Wait until it serves, also while the service throttles or can't be reached for some
        minutes. Raises JobError with the service's reason when it fails."""
        while True:
            found = patiently(lambda: describe(self.name, self.service), sleep, poll)
            state = "Deleted" if found is None else found["EndpointStatus"]
            if state == "InService":
                return self
            if found is None or state == "Deleting" or not is_changing(found):
                reason = (found or {}).get("FailureReason", state)
                raise JobError(f"{self.name}: {reason}", reason)
            sleep(poll)

    def delete(self) -> None:
        """Delete it with its configuration and model; no error when there is none."""
        from .hosting import delete_endpoint

        delete_endpoint(self.name, self.service)


RETRY_SECONDS = 2.0


def patiently(call: Callable[[], Any], sleep: Callable[[float], None], pause: float) -> Any:
    """The result of a call that is repeated while its error is temporary, some minutes long."""
    for _ in range(PATIENCE - 1):
        try:
            return call()
        except Exception as error:
            if not is_temporary(error):
                raise
        sleep(pause)
    return call()


def describe(name: str, service: Service) -> dict[str, Any] | None:
    """The answer of ``describe_endpoint``; None when there is none of this name."""
    client = service.client("sagemaker")
    try:
        return dict(client.describe_endpoint(EndpointName=name))
    except client.exceptions.ClientError as error:
        if not is_missing(error):
            raise
        return None


def is_changing(description: dict[str, Any]) -> bool:
    """Whether it is being made, updated or deleted."""
    return description["EndpointStatus"] in _CHANGING


def hosted(config: str, service: Service) -> list[str]:
    """The names of the models of an endpoint's configuration; empty when it does not exist."""
    client = service.client("sagemaker")
    try:
        found = client.describe_endpoint_config(EndpointConfigName=config)
    except client.exceptions.ClientError as error:
        if not is_missing(error):
            raise
        return []
    return [one["ModelName"] for one in found.get("ProductionVariants", []) if "ModelName" in one]


def attach_endpoint(
    name: str, service: Service | None = None, *, classes: Sequence[str] | None = None
) -> Endpoint:
    """An existing endpoint. Its ``classes`` default to those that its model was trained on.
    Raises JobError when there is no such endpoint, SpecError when its classes are not known."""
    from .planning import classes_of

    service = service or Service()
    found = describe(name, service)
    if found is None:
        raise JobError(f"{name}: there is no such endpoint in {service.region}")
    models = hosted(found["EndpointConfigName"], service)
    urls = [url for model in models for url in _artifacts(model, service)]
    previous = find_previous(urls[0], service) if len(urls) == 1 else Previous("")
    return Endpoint(name, classes_of(previous, classes, service), service)


def _artifacts(model: str, service: Service) -> list[str]:
    """The URLs of a model's files, one for each container."""
    found = service.client("sagemaker").describe_model(ModelName=model)
    containers = found.get("Containers") or [found.get("PrimaryContainer", {})]
    urls = [
        one.get("ModelDataUrl")
        or one.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri")
        for one in containers
    ]
    return [url for url in urls if url]
