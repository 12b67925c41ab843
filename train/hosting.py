"""Host a model behind an endpoint, replace it, take it down. Only what a call made, or what has the
names that ``deploy`` gives, is ever deleted."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .channels import demand_model, demand_region, split_url
from .endpoint import Endpoint, configuration, describe, hosted, is_changing, is_serverless
from .errors import JobError, SpecError, UsageError
from .images import inference_image
from .job import POLL_SECONDS, Job, find_previous
from .making import NAMED, Made, label, remove
from .names import demand_name, is_of, part_name, shared_start, unique_name
from .planning import classes_of
from .request import (
    INFERENCE_TYPE,
    Network,
    Request,
    endpoint_config_request,
    endpoint_request,
    model_request,
)
from .served import is_url
from .service import Service, find_role


@dataclass(frozen=True, kw_only=True)
class Hosting:
    """How a model is hosted: on instances, or ``serverless`` (megabytes of memory, most calls at
    once), or on instances whose answers go to the S3 prefix ``results`` (asynchronous). Raises
    UsageError that lists everything that is wrong."""

    instance_type: str = INFERENCE_TYPE
    instance_count: int = 1
    serverless: tuple[int, int] | None = None
    results: str | None = None

    def __post_init__(self) -> None:
        if wrong := list(self._faults()):
            raise UsageError("\n".join(wrong))

    def _faults(self) -> Iterator[str]:
        if self.instance_count < 1:
            yield f"instance_count: must be at least 1 (got {self.instance_count})"
        if self.results is not None and not self.results.startswith("s3://"):
            yield f"async: {self.results!r}; write s3://bucket/…"
        if self.serverless is None:
            return
        memory, concurrency = self.serverless
        if memory not in range(1024, 6145, 1024):
            yield f"serverless: {memory} MB; use 1024, 2048, 3072, 4096, 5120 or 6144"
        if not 1 <= concurrency <= 200:
            yield f"serverless: {concurrency} calls at once; use 1 to 200"
        if self.results is not None:
            yield "serverless: such an endpoint is not asynchronous; leave out one of them"

    def demand_network(self, network: Network | None) -> None:
        """Raise UsageError for what the service has on instances only."""
        if self.serverless is not None and network is not None and (
            network.subnets or network.isolated or network.volume_kms_key
        ):  # fmt: skip
            raise UsageError(
                "serverless: subnets, security groups, isolation and a key for disks are for "
                "instances; leave them out"
            )


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
    serverless: tuple[int, int] | None = None,
    results: str | None = None,
    tags: Mapping[str, str] | None = None,
    network: Network | None = None,
    wait: bool = True,
    on_made: Callable[[Endpoint], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Endpoint:
    """Host a model: ``model`` is a job, its name, or a ``model.tar.gz``.

    ``name`` must be new; with ``update`` it is an endpoint that exists, which serves its old model
    until the new one serves. ``classes`` default to those that the model was trained on.
    ``serverless`` and ``results`` are those of ``Hosting``. ``on_made`` is called once the endpoint
    exists, and costs money.

    If this fails, what it made is deleted again; nothing else ever is. What can't be deleted (the
    service refuses while an endpoint is being made) is named in a note of the exception. Raises
    SpecError before anything is made, JobError afterwards.
    """
    service = service or Service()
    how = Hosting(
        instance_type=instance_type, instance_count=instance_count, serverless=serverless,
        results=results,
    )  # fmt: skip
    how.demand_network(network)
    if name is not None:
        demand_name(name)
    elif update:
        raise UsageError("name: give the endpoint to update, with --endpoint-name")
    found = find_previous(model, service)
    demand_model(found.model, service)
    names = classes_of(found, classes, service)
    if results is not None:
        demand_region("async", split_url(results)[0], service)
    stem = found.model.split("/")[-3] if found.model.count("/") > 3 else "recpack"
    name = name or unique_name(stem)
    before = describe(name, service)
    _demand(name, before, update=update)
    if before is not None:
        _demand_same_kind(name, configuration(before["EndpointConfigName"], service), how)
    arn = find_role(role, service)
    made = Made(service)
    part = part_name(name)
    options: dict[str, Any] = {"tags": tags, "network": network}
    endpoint = Endpoint(name, names, service, results)
    try:
        made.create(
            "model",
            model_request(
                part,
                arn,
                inference_image(image, service.region, found.kind, ours=found.ours),
                found.model,
                **options,
            ),
        )
        made.create(
            "endpoint_config", endpoint_config_request(part, part, **vars(how), **options)
        )  # fmt: skip
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
    kept = [label("endpoint_config", config)]
    why = "the update goes on"
    if done:
        why = "not made by deploy"
        try:
            kept = _remove_parts(config, endpoint.name, endpoint.service)[1]
        except Exception as error:  # the new model serves
            why = str(error)
    if kept:
        remedy = ""
        if is_of(config, endpoint.name) and config != endpoint.name:
            remedy = f"; delete it with: {endpoint.service.command('delete', config)}"
        warnings.warn(
            f"{endpoint.name}: left of the old model: {', '.join(kept)} ({why}){remedy}",
            stacklevel=3,
        )


def delete_endpoint(
    name: str, service: Service | None = None, *, sleep: Callable[[float], None] = time.sleep
) -> list[str]:
    """Delete an endpoint with its configuration and model, and what an interrupted ``deploy`` left
    of them. Returns what was deleted; nothing that others made is, and none of it is an error.

    The service refuses to delete an endpoint that is being made or updated: this waits for the end.
    """
    if is_url(name):
        raise UsageError(
            f"{name}: a server is no endpoint of AWS; stop it where it runs, by Ctrl-C"
        )
    service = service or Service()
    found = describe(demand_name(name), service)
    while found is not None and is_changing(found) and found["EndpointStatus"] != "Deleting":
        sleep(POLL_SECONDS)
        found = describe(name, service)
    if found is not None and found["EndpointStatus"] == "Deleting":
        found = None  # what an earlier call left of it
    deleted: list[str] = []
    used: set[str] = set()
    if found is None:
        users = _users(name, service)
        configs = _ours("endpoint_config", name, service)
        for config in set(configs) & users.keys():
            configs.remove(config)
            used.update([config, *hosted(config, service)])
            warnings.warn(
                f"{label('endpoint_config', config)}: the endpoint {users[config]} uses it, so it "
                f"stays; delete both with: {service.command('delete', users[config])}",
                stacklevel=2,
            )
    else:
        configs = [found["EndpointConfigName"]]
        if remove("endpoint", name, service):
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
            label("model", one)
            for one in _ours("model", name, service)
            if one not in used and remove("model", one, service)
        ]
    return deleted


def _users(name: str, service: Service) -> dict[str, str]:
    """The endpoints with a name like this one, by the configurations that they use now or soon."""
    pages = service.client("sagemaker").get_paginator("list_endpoints")
    users: dict[str, str] = {}
    for page in pages.paginate(NameContains=shared_start(name)):
        for one in page["Endpoints"]:
            found = describe(one["EndpointName"], service)
            if found is not None and found["EndpointStatus"] != "Deleting":
                for part in (found, found.get("PendingDeploymentSummary", {})):
                    users[part.get("EndpointConfigName", "")] = one["EndpointName"]
    return users


def _remove_parts(config: str, endpoint: str, service: Service) -> tuple[list[str], list[str]]:
    """Delete a configuration and its models when all of them have the names of the endpoint's own
    (other programs give a configuration its endpoint's name, too); returns what was deleted, and
    what stays."""
    parts = [("endpoint_config", config)]
    parts += [("model", model) for model in hosted(config, service)]
    if not all(is_of(name, endpoint) for _, name in parts):
        return [], [label(*part) for part in parts]
    return [label(*part) for part in parts if remove(*part, service)], []


def _ours(kind: str, endpoint: str, service: Service) -> list[str]:
    """The names of an endpoint's own configurations or models."""
    pages = service.client("sagemaker").get_paginator(f"list_{kind}s")
    key = NAMED[kind]
    return [
        one[key]
        for page in pages.paginate(NameContains=shared_start(endpoint))
        for one in page[key.removesuffix("Name") + "s"]
        if is_of(one[key], endpoint)
    ]


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


def _demand_same_kind(name: str, before: Request, now: Hosting) -> None:
    """Raise SpecError for an update that the service refuses."""
    if now.serverless is not None and not is_serverless(before):
        raise SpecError(
            f"{name}: it runs on instances and can't become serverless; deploy the model with "
            "another --endpoint-name"
        )
