"""An endpoint: wait for it, send images to it. ``hosting`` makes and deletes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .asynchronous import RETRY_SECONDS, ask_later, patiently, seen
from .bodies import payload
from .classes import Classification, parse_answer
from .detections import Detections
from .errors import JobError, MissingError
from .job import POLL_SECONDS, Previous, find_previous
from .service import Service, is_temporary, message_of

if TYPE_CHECKING:
    from .detections import Pixels

_CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


@dataclass(frozen=True)
class Endpoint:
    """An endpoint by its name. As a context manager it is deleted at the end of the block, so that
    it costs no more money. ``classes`` are the names in the order of their ids, ``results`` the S3
    prefix where the answers of an asynchronous one go."""

    name: str
    classes: Sequence[str]
    service: Service
    results: str | None = None

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
        """Detect the objects in an image; see ``answer``. Raises JobError, also for an endpoint of
        image classification, which has ``classify``."""
        found = self.answer(image)
        if not isinstance(found, Detections):
            raise JobError(f"{self.name}: it tells classes, not boxes; ask it by classify")
        return found

    def classify(self, image: str | Path | bytes | Pixels) -> Classification:
        """The scores of all classes of an image; see ``answer``. Raises JobError, also for an
        endpoint of object detection, which has ``predict``."""
        found = self.answer(image)
        if not isinstance(found, Classification):
            raise JobError(f"{self.name}: it tells boxes, not classes; ask it by predict")
        return found

    def answer(self, image: str | Path | bytes | Pixels) -> Detections | Classification:
        """What the model finds in an image: a file, its bytes, or pixels (uint8, blue first).

        What is not like the pictures of the training (gray, rotated by its EXIF data, 16 bits,
        another kind than JPEG and PNG) is encoded again, and what has more than 5 MB becomes
        smaller, with a warning. Throttled and unanswered calls are repeated. An asynchronous
        endpoint takes the image from S3, and this waits for its answer there. Raises JobError.
        """
        body, content_type, width, height = payload(image)
        if self.results is None:
            answer = patiently(lambda: self._invoke(body, content_type), time.sleep, RETRY_SECONDS)
        else:
            answer = ask_later(self.name, self.results, body, content_type, self.service)
        return parse_answer(answer, self.classes, width, height)

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

    def configuration(self) -> str:
        """The name of what it serves now. Raises JobError when there is no such endpoint."""
        found = describe(self.name, self.service)
        if found is None:
            raise MissingError(f"{self.name}: there is no such endpoint", self.name, "Endpoint")
        return str(found["EndpointConfigName"])

    def wait(
        self, *, sleep: Callable[[float], None] = time.sleep, poll: float = POLL_SECONDS
    ) -> Endpoint:
        """Wait until it serves, also while the service throttles or can't be reached for some
        minutes. Raises JobError with the service's reason when it fails."""

        def look() -> dict[str, Any] | None:
            return describe(self.name, self.service)

        while True:
            found = seen(lambda: patiently(look, sleep, poll), sleep, poll)
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


def describe(name: str, service: Service) -> dict[str, Any] | None:
    """The answer of ``describe_endpoint``; None when there is none of this name."""
    return service.look("describe_endpoint", EndpointName=name)


def is_changing(description: dict[str, Any]) -> bool:
    """Whether it is being made, updated or deleted."""
    return description["EndpointStatus"] in _CHANGING


def configuration(config: str, service: Service) -> dict[str, Any]:
    """The answer of ``describe_endpoint_config``; empty when there is none of this name."""
    return service.look("describe_endpoint_config", EndpointConfigName=config) or {}


def hosted(config: str, service: Service) -> list[str]:
    """The names of the models of an endpoint's configuration; empty when it does not exist."""
    return _models(configuration(config, service))


def _models(config: dict[str, Any]) -> list[str]:
    return [one["ModelName"] for one in config.get("ProductionVariants", []) if "ModelName" in one]


def is_serverless(config: dict[str, Any]) -> bool:
    """Whether a configuration has no instances."""
    return any("ServerlessConfig" in one for one in config.get("ProductionVariants", []))


def attach_endpoint(
    name: str, service: Service | None = None, *, classes: Sequence[str] | None = None
) -> Endpoint:
    """An existing endpoint, or the URL of a server (``http://…``) that ``deploy --local`` runs. Its
    ``classes`` default to those that its model was trained on. Raises JobError when there is no
    such endpoint, SpecError when its classes are not known."""
    from .planning import classes_of
    from .served import attach_server, is_url

    service = service or Service()
    if is_url(name):
        return attach_server(name, service, classes)
    found = describe(name, service)
    if found is None:
        raise MissingError(
            f"{name}: there is no such endpoint in {service.region}", name, "Endpoint"
        )
    config = configuration(found["EndpointConfigName"], service)
    urls = [url for model in _models(config) for url in artifacts(model, service)]
    previous = find_previous(urls[0], service) if len(urls) == 1 else Previous("")
    results = config.get("AsyncInferenceConfig", {}).get("OutputConfig", {}).get("S3OutputPath")
    return Endpoint(name, classes_of(previous, classes, service), service, results)


def artifacts(model: str, service: Service) -> list[str]:
    """The URLs of a model's files, one for each container; empty when there is no such model."""
    found = service.look("describe_model", ModelName=model) or {}
    containers = found.get("Containers") or [found.get("PrimaryContainer", {})]
    urls = [
        one.get("ModelDataUrl")
        or one.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri")
        for one in containers
    ]
    return [url for url in urls if url]
