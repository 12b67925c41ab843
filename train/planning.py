"""A job from its data: looked at, described, started."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from train.channels import demand_region, manifest_below, read_channel, split
from train.errors import JobError, SpecError
from train.hyperparameters import Hyperparameters
from train.images import image_uri
from train.job import Job, Previous, demand_same, previous
from train.request import Network, Request, TrainingSpec, training_request
from train.service import Service, find_role


@dataclass(frozen=True)
class Plan:
    """A job that has passed every check and is not started yet. ``request`` is what
    ``create_training_job`` gets, ``classes`` the names in the order of their ids."""

    spec: TrainingSpec
    classes: tuple[str, ...]
    service: Service

    @property
    def request(self) -> Request:
        """The arguments of ``create_training_job``."""
        return training_request(self.spec)

    def start(self) -> Job:
        """Start it; from here on it costs money. Raises JobError when the service refuses it."""
        client = self.service.client("sagemaker")
        try:
            client.create_training_job(**self.request)
        except client.exceptions.ClientError as error:
            raise _explained(error, self.spec) from error
        return Job(self.spec.job_name, self.service)


def plan(
    train: str,
    validation: str,
    output: str,
    *,
    role: str | None = None,
    model: str | Job | None = None,
    job_name: str | None = None,
    service: Service | None = None,
    image: str | None = None,
    tags: Mapping[str, str] | None = None,
    network: Network | None = None,
    settings: Mapping[str, Any] | None = None,
    **hyperparameters: Any,
) -> Plan:
    """Look at everything that can be looked at for nothing, and describe the job.

    ``train`` and ``validation`` are ``.rec`` objects that recpack wrote, or their prefixes;
    ``model`` a job, its name or a ``model.tar.gz`` to go on from. ``settings`` are further fields
    of ``TrainingSpec`` (``instance_type``, ``spot``, ``max_run``, …). ``num_classes``,
    ``num_training_samples`` and ``label_width`` are the manifests'. Raises SpecError.
    """
    service = service or Service()
    channels = {
        name: read_channel(name, place, service)
        for name, place in (("train", train), ("validation", validation))
    }
    manifest = channels["train"].manifest
    demand_region("output", split(output)[0], service)
    before = None if model is None else _looked_up(model, service)
    if before is not None and "base_network" in before.hyperparameters:
        hyperparameters.setdefault("base_network", before.hyperparameters["base_network"])
    chosen = Hyperparameters.filled(manifest, channels["validation"].manifest, **hyperparameters)
    if before is not None:
        earlier = None if before.train is None else manifest_below(before.train, service)
        if earlier is None:
            warnings.warn(
                f"the classes that {before.model} knows can't be found; their names and order "
                "must be this data's",
                stacklevel=2,
            )
        demand_same(before, chosen.texts(), manifest, earlier)
    spec = TrainingSpec(
        job_name=job_name or default_name(channels["train"].rec),
        role=find_role(role, service),
        image=image or image_uri(service.region),
        train=channels["train"].place,
        validation=channels["validation"].place,
        output=output,
        hyperparameters=chosen,
        model=None if before is None else before.model,
        tags=tags or {},
        network=network or Network(),
        **(settings or {}),
    )
    return Plan(spec, manifest.classes, service)


def fit(train: str, validation: str, output: str, **choices: Any) -> Job:
    """Start a training job, an incremental one with ``model=``; see ``plan`` for the choices."""
    return plan(train, validation, output, **choices).start()


def default_name(rec: str) -> str:
    """A job's name, from its data and the time."""
    stem = rec.rpartition("/")[2].removesuffix(".rec")
    letters = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in stem)
    words = "-".join(word for word in letters[:30].split("-") if word)
    return f"{words or 'recpack'}-{moment()}"


def moment() -> str:
    """The time and four random digits: job and endpoint names can't be used twice."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def _looked_up(model: str | Job, service: Service) -> Previous:
    try:
        return previous(model, service)
    except JobError as error:
        raise SpecError(f"model: {error}") from error


def _explained(error: Any, spec: TrainingSpec) -> JobError:
    code = error.response["Error"]["Code"]
    message = error.response["Error"].get("Message", "")
    if code == "ResourceLimitExceeded":
        usage = f"{spec.instance_type} for {'spot ' if spec.spot else ''}training job usage"
        return JobError(
            f"your account's quota does not allow {spec.instance_count} x {spec.instance_type} for "
            f'training: ask for more under Service Quotas (Amazon SageMaker, "{usage}"), or take '
            f"another type. {message}",
            message,
        )
    if code == "ResourceInUse":
        return JobError(f"there is a job {spec.job_name} already; choose another name", message)
    return JobError(f"the service refuses the job: {code}: {message}", message)
