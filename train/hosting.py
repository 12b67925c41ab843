"""Host a model behind an endpoint, replace it, take it down. Only what a call made, or what has the
names that ``deploy`` gives, is ever deleted."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .channels import demand_model
from .endpoint import Endpoint, describe, hosted, is_changing
from .errors import JobError, SpecError
from .images import image_uri
from .job import POLL_SECONDS, Job, find_previous
from .names import NAME, is_of, unique_name
from .planning import classes_of
from .request import (
    INFERENCE_TYPE,
    Network,
    Request,
    endpoint_config_request,
    endpoint_request,
    model_request,
)
from .service import Service, find_role, is_missing, message_of

_KINDS = {
    "endpoint": "EndpointName",
    "endpoint_config": "EndpointConfigName",
    "model": "ModelName",
}
"""What a deployment consists of, in the order in which it can be deleted, and the parameter."""


def deploy(
    model: str | Job,
    *,
    name: str | None = None,
    update: bool = False,
    classes: Sequence[str] | None = None,
    role: str | None = None,
    service: Service | None = None,
    image: str | None = None,
    instance_type: str = INFERENCE_TYPE,
    instance_count: int = 1,
    tags: Mapping[str, str] | None = None,
    network: Network | None = None,
    wait: bool = True,
    on_made: Callable[[Endpoint], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Endpoint:
    """Host a model: ``model`` is a job, its name, or a ``model.tar.gz``.

    ``name`` must be new; with ``update`` it is an endpoint that exists, which serves its old model
    until the new one serves. ``classes`` default to those that the model was trained on.
    ``on_made`` is called once the endpoint exists, and costs money.

    If this fails, what it made is deleted again; nothing else ever is. What can't be deleted (the
    service refuses while an endpoint is being made) is named in a note of the exception. Raises
    SpecError before anything is made, JobError afterwards.
    """
    service = service or Service()
    found = find_previous(model, service)
    demand_model(found.model, service)
    names = classes_of(found, classes, service)
    if name is None and update:
        raise SpecError("name: give the endpoint to update, with --endpoint-name")
    stem = found.model.split("/")[-3] if found.model.count("/") > 3 else "recpack"
    name = unique_name(stem) if name is None else _valid(name)
    before = describe(name, service)
    _demand(name, before, update=update)
    arn = find_role(role, service)
    made = _Made(name, service)
    part = unique_name(name)
    options: dict[str, Any] = {"tags": tags, "network": network}
    endpoint = Endpoint(name, names, service)
    try:
        made.create(
            "model",
            model_request(part, arn, image or image_uri(service.region), found.model, **options),
        )
        made.create(
            "endpoint_config",
            endpoint_config_request(
                part, part, instance_type=instance_type, instance_count=instance_count, **options
            ),
        )
        if update:
            made.update(name, part)
        else:
            made.create("endpoint", endpoint_request(name, part, tags=tags))
        if on_made is not None:
            on_made(endpoint)
        if wait:
            endpoint.wait(sleep=sleep)
            if update:
                _demand_updated(name, part, service)
    except BaseException as error:
        made.undo(error)
        raise
    if before is not None:
        _retire(before["EndpointConfigName"], endpoint, done=wait)
    return endpoint


def _demand_updated(name: str, config: str, service: Service) -> None:
    """Raise JobError when the service went back to the old model."""
    now = describe(name, service) or {}
    if now.get("EndpointConfigName") != config:
        reason = now.get("FailureReason", "the service gives no reason")
        raise JobError(f"{name}: the new model does not serve, the old one does: {reason}", reason)


def _retire(config: str, endpoint: Endpoint, *, done: bool) -> None:
    """Delete the configuration and the model that an endpoint used before."""
    kept = [config]
    if done:
        try:
            kept = _remove_parts(config, endpoint.name, endpoint.service)[1]
        except Exception as error:  # the new model serves
            kept.append(str(error))
    if kept:
        warnings.warn(f"{endpoint.name}: left of the old model: {', '.join(kept)}", stacklevel=3)


def delete_endpoint(
    name: str, service: Service | None = None, *, sleep: Callable[[float], None] = time.sleep
) -> list[str]:
    """Delete an endpoint with its configuration and model, and what an interrupted ``deploy`` left
    of them. Returns what was deleted; nothing that others made is, and none of it is an error.

    The service refuses to delete an endpoint that is being made or updated: this waits for the end.
    """
    service = service or Service()
    found = describe(name, service)
    while found is not None and is_changing(found) and found["EndpointStatus"] != "Deleting":
        sleep(POLL_SECONDS)
        found = describe(name, service)
    deleted: list[str] = []
    if found is None:
        configs = _ours("endpoint_config", name, service)
    else:
        configs = [found["EndpointConfigName"]]
        if found["EndpointStatus"] != "Deleting" and remove("endpoint", name, service):
            deleted.append(f"endpoint {name}")
    for config in configs:
        more, kept = _remove_parts(config, name, service)
        deleted += more
        if kept:
            warnings.warn(
                f"{name}: not made by deploy, so it stays: {', '.join(kept)}", stacklevel=2
            )
    if found is None:
        deleted += [
            f"model {one}" for one in _ours("model", name, service) if remove("model", one, service)
        ]
    return deleted


def _remove_parts(config: str, endpoint: str, service: Service) -> tuple[list[str], list[str]]:
    """Delete a configuration and its models when they have the names of the endpoint's own;
    returns what was deleted, and what stays."""
    deleted, kept = [], []
    parts = [("endpoint_config", config)]
    parts += [("model", model) for model in hosted(config, service)]
    for kind, name in parts:
        label = f"{kind.replace('_', ' ')} {name}"
        if not is_of(name, endpoint):
            kept.append(label)
        elif remove(kind, name, service):
            deleted.append(label)
    return deleted, kept


def _ours(kind: str, endpoint: str, service: Service) -> list[str]:
    """The names of an endpoint's own configurations or models."""
    pages = service.client("sagemaker").get_paginator(f"list_{kind}s")
    key = _KINDS[kind]
    stem = endpoint[:40]
    return [
        one[key]
        for page in pages.paginate(NameContains=stem)
        for one in page[key.removesuffix("Name") + "s"]
        if is_of(one[key], endpoint)
    ]


def _valid(name: str) -> str:
    if not NAME.fullmatch(name):
        raise SpecError(f"name: {name!r}; use at most 63 letters, digits and inner hyphens")
    return name


def _demand(name: str, before: Request | None, *, update: bool) -> None:
    """Raise SpecError when an endpoint exists that must not, or the other way round."""
    if before is not None and not update:
        raise SpecError(
            f"{name}: there is an endpoint of this name ({before['EndpointStatus']}); give its "
            "new model with --update, or choose another --endpoint-name"
        )
    if update and before is None:
        raise SpecError(f"{name}: there is no endpoint of this name; leave out --update")
    if update and before is not None and before["EndpointStatus"] != "InService":
        raise SpecError(
            f"{name}: it is {before['EndpointStatus']}; --update needs one that is InService"
        )


@dataclass
class _Made:
    """What a call has made, in this order; nothing else can be undone."""

    owner: str
    service: Service
    parts: list[tuple[str, str]] = field(default_factory=list)
    updating: str = ""
    """The endpoint that was told to change."""

    def create(self, kind: str, request: Request) -> None:
        """Make one part. Raises JobError when the service refuses."""
        client = self.service.client("sagemaker")
        name = request[_KINDS[kind]]
        self.parts.append((kind, name))  # before, because the call can be interrupted
        try:
            getattr(client, f"create_{kind}")(**request)
        except client.exceptions.ClientError as error:
            # an earlier attempt can have succeeded, but its answer was lost
            if "already existing" in message_of(error) and self._is_own(kind, request):
                return
            self.parts.pop()
            raise JobError(
                f"{name}: the service refuses the {kind.replace('_', ' ')}: {message_of(error)}",
                message_of(error),
            ) from error

    def update(self, name: str, config: str) -> None:
        client = self.service.client("sagemaker")
        self.updating = name
        try:
            client.update_endpoint(EndpointName=name, EndpointConfigName=config)
        except client.exceptions.ClientError as error:
            self.updating = ""
            raise JobError(
                f"{name}: the service refuses the update: {message_of(error)}", message_of(error)
            ) from error

    def _is_own(self, kind: str, request: Request) -> bool:
        if kind != "endpoint":
            return True  # nobody else knows this name
        found = describe(request["EndpointName"], self.service)
        return found is not None and found["EndpointConfigName"] == request["EndpointConfigName"]

    def undo(self, error: BaseException) -> None:
        """Delete what was made; what is left becomes a note of ``error``."""
        try:
            if self.updating:
                now = describe(self.updating, self.service)
                if now is not None and is_changing(now):
                    raise JobError("the update goes on")
            while self.parts:
                remove(*self.parts[-1], self.service)
                self.parts.pop()
        except Exception as failure:  # the first error is the important one
            names = ", ".join(f"{kind.replace('_', ' ')} {name}" for kind, name in self.parts)
            owner = self.updating or self.owner
            error.add_note(
                f"left, and it may cost money: {names} ({failure}); delete it with: "
                f"recpack-train delete {owner}"
            )


def remove(kind: str, name: str, service: Service) -> bool:
    """Delete one part; returns whether it existed."""
    client = service.client("sagemaker")
    try:
        getattr(client, f"delete_{kind}")(**{_KINDS[kind]: name})
    except client.exceptions.ClientError as error:
        if not is_missing(error):
            raise
        return False
    return True
