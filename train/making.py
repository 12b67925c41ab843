"""What a call makes, part by part, so that it can be taken back: nothing else ever is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .asynchronous import RETRY_SECONDS, seen
from .endpoint import describe, is_changing
from .errors import JobError
from .request import Request
from .service import Service, is_missing, is_temporary, message_of

NAMED = {
    "endpoint": "EndpointName",
    "endpoint_config": "EndpointConfigName",
    "model": "ModelName",
    "transform_job": "TransformJobName",
}
"""The kinds of parts, and the parameter that names them."""


@dataclass
class Part:
    """``sure``: the service has said that it made it. Else the answer may have been lost."""

    kind: str
    request: Request
    sure: bool = False

    @property
    def name(self) -> str:
        return str(self.request[NAMED[self.kind]])

    def __str__(self) -> str:
        return label(self.kind, self.name)


def label(kind: str, name: str) -> str:
    """How a part is named to people."""
    return f"{kind.replace('_', ' ')} {name}"


@dataclass
class Made:
    """What a call has made, in this order."""

    service: Service
    parts: list[Part] = field(default_factory=list)
    updating: str = ""
    """The endpoint that was told to use the configuration that was made."""

    def create(self, kind: str, request: Request) -> None:
        """Make one part. Raises JobError when the service refuses."""
        client = self.service.client("sagemaker")
        part = Part(kind, request)
        self.parts.append(part)  # before, because the call can be interrupted
        try:
            getattr(client, f"create_{kind}")(**request)
        except client.exceptions.ClientError as error:
            if is_temporary(error):
                raise  # it can have been made all the same
            # an earlier attempt can have succeeded, but its answer was lost
            if not (_is_taken(error) and self._is_own(part)):
                self.parts.pop()
                raise JobError(
                    f"{part.name}: the service refuses the {kind.replace('_', ' ')}: "
                    f"{message_of(error)}",
                    message_of(error),
                ) from error
        part.sure = True

    def update(self, name: str, config: str) -> None:
        """Tell an endpoint to use the configuration. Raises JobError when the service refuses."""
        client = self.service.client("sagemaker")
        self.updating = name
        try:
            client.update_endpoint(EndpointName=name, EndpointConfigName=config)
        except client.exceptions.ClientError as error:
            if is_temporary(error):
                raise
            now = describe(name, self.service)
            if now is not None and (is_changing(now) or now["EndpointConfigName"] == config):
                return  # by an earlier attempt whose answer was lost; the end of it tells
            self.updating = ""
            raise JobError(
                f"{name}: the service refuses the update: {message_of(error)}", message_of(error)
            ) from error

    def undo(self, error: BaseException) -> None:
        """Delete what was made. What was deleted, and what is left, become notes of ``error``."""
        deleted: list[str] = []
        left = list(self.parts)
        try:
            if self.updating and (why := self._use()):
                error.add_note(f"{why}: {', '.join(map(str, left))}")
                return
            while left:
                part = left[-1]
                own = part.sure or self._is_own(part)
                if own and remove(part.kind, part.name, self.service):
                    deleted.append(str(part))
                elif not part.sure:
                    error.add_note(f"asked for, but not there now: {part}")
                left.pop()
        except BaseException as failure:  # a second Ctrl-C too: the first error is the one to show
            endpoint = [part.name for part in left if part.kind == "endpoint" and part.sure]
            # the name of an endpoint that is not sure can be another's
            names = [part.name for part in left if part.kind in ("model", "endpoint_config")]
            commands = [
                self.service.command("delete", name) for name in dict.fromkeys(endpoint or names)
            ]
            error.add_note(
                f"left, and it may cost money: {', '.join(map(str, left))} "
                f"({str(failure) or 'interrupted'}); delete it with: {' and '.join(commands)}"
            )
        if deleted:
            error.add_note(f"deleted again: {', '.join(deleted)}")

    def _use(self) -> str:
        """What the updated endpoint does with the parts; empty when it does not need them."""
        now = describe(self.updating, self.service)
        config = next(part.name for part in self.parts if part.kind == "endpoint_config")
        if now is not None and is_changing(now):
            return f"the update of {self.updating} goes on, with"
        if now is not None and now["EndpointConfigName"] == config:
            return f"{self.updating} serves the new model, with"
        return ""

    def _is_own(self, part: Part) -> bool:
        """Whether what has this name is what was asked for."""
        if part.kind not in _OWNED:
            return True  # nobody else knows this name
        look, key = _OWNED[part.kind]
        found = seen(lambda: look(part.name, self.service), time.sleep, RETRY_SECONDS)
        return found is not None and found[key] == part.request[key]


def _is_taken(error: Exception) -> bool:
    text = message_of(error).lower()
    return any(words in text for words in ("already exist", "must be unique"))


def describe_batch(name: str, service: Service) -> Request | None:
    """The answer of ``describe_transform_job``; None when there is none of this name."""
    return service.look("describe_transform_job", TransformJobName=name)


_OWNED = {
    "endpoint": (describe, "EndpointConfigName"),
    "transform_job": (describe_batch, "ModelName"),
}
"""Kinds whose names others can take: how to look, and the part that is only this call's."""


def remove(kind: str, name: str, service: Service) -> bool:
    """Delete one part, or stop it where it can't be deleted; returns whether it existed."""
    client = service.client("sagemaker")
    verb = "stop" if kind == "transform_job" else "delete"
    try:
        getattr(client, f"{verb}_{kind}")(**{NAMED[kind]: name})
    except client.exceptions.ClientError as error:
        if not is_missing(error):
            raise
        return False
    return True
