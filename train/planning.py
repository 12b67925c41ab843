"""Plans a job from its data: checks, describes and starts it."""

from __future__ import annotations

import functools
import inspect
import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from .channels import demand_region, manifest_below, read_channel, split_url
from .errors import JobError, SpecError
from .hyperparameters import Hyperparameters, Learning
from .images import image_uri
from .job import Job, Previous, demand_same, find_previous
from .request import Machine, Network, Request, TrainingSpec, training_request
from .service import Service, find_role

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Plan:
    """A job that has passed all checks and has not started. ``request`` is for
    ``create_training_job``; ``classes`` are the names in the order of their ids."""

    spec: TrainingSpec
    classes: tuple[str, ...]
    service: Service

    @property
    def request(self) -> Request:
        """The arguments of ``create_training_job``."""
        return training_request(self.spec)

    def start(self) -> Job:
        """Start the job; it then costs money. Raises JobError when the service refuses it."""
        client = self.service.client("sagemaker")
        try:
            client.create_training_job(**self.request)
        except client.exceptions.ClientError as error:
            raise _explain(error, self.spec) from error
        return Job(self.spec.job_name, self.service)


@dataclass(frozen=True, kw_only=True)
class Choices(Machine, Learning):
    """The keywords of ``plan`` and ``fit``: these, the machine's, and the hyperparameters. The last
    three default to the manifests' values."""

    role: str | None = None
    model: str | Job | None = None
    job_name: str | None = None
    service: Service | None = None
    image: str | None = None
    tags: Mapping[str, str] | None = None
    network: Network | None = None
    num_classes: int | None = None
    num_training_samples: int | None = None
    label_width: int | None = None


class _Keywords(Generic[P]):
    """A decorator. Type checkers and the signature see the keywords of ``kind``. At run time the
    function gets a dict of the keywords that the caller passed; the defaults of the others depend
    on the model to continue."""

    def __init__(self, kind: Callable[P, object]) -> None:
        self._kind = kind

    def __call__(
        self, function: Callable[[str, str, str, dict[str, Any]], R]
    ) -> Callable[Concatenate[str, str, str, P], R]:
        own = list(inspect.signature(function).parameters.values())[:-1]
        keywords = inspect.signature(self._kind).parameters.values()

        @functools.wraps(function)
        def call(train: str, validation: str, output: str, **choices: Any) -> R:
            return function(train, validation, output, choices)

        del call.__wrapped__  # it takes other arguments
        call.__signature__ = inspect.Signature([*own, *keywords])  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]  # the keywords are those of the kind


@_Keywords(Choices)
def plan(train: str, validation: str, output: str, choices: dict[str, Any]) -> Plan:
    """Check everything that can be checked without paying, and describe the job.

    ``train`` and ``validation`` are ``.rec`` objects that recpack wrote, or their prefixes;
    ``model`` is a job, its name or a ``model.tar.gz`` to continue from. The other keywords are
    those of the machine (see ``Machine``) and the hyperparameters, whose values can be strings as
    on the command line. ``num_classes``, ``num_training_samples`` and ``label_width`` come from the
    manifests. Raises SpecError, and UsageError for choices that are wrong for any data.
    """
    rest = dict(choices)
    machine = {one.name: rest.pop(one.name) for one in fields(Machine) if one.name in rest}
    names = ("role", "model", "job_name", "service", "image", "tags", "network")
    role, model, job_name, service, image, tags, network = (rest.pop(n, None) for n in names)
    hyperparameters = {name: value for name, value in rest.items() if value is not None}
    service = service or Service()
    channels = {
        name: read_channel(name, url, service)
        for name, url in (("train", train), ("validation", validation))
    }
    manifest = channels["train"].manifest
    demand_region("output", split_url(output)[0], service)
    before = None if model is None else _find_model(model, service)
    if before is not None and "base_network" in before.hyperparameters:
        hyperparameters.setdefault("base_network", before.hyperparameters["base_network"])
    learning = Hyperparameters.from_manifests(
        manifest, channels["validation"].manifest, **hyperparameters
    )
    if before is not None:
        earlier = None if before.train is None else manifest_below(before.train, service)
        if earlier is None:
            warnings.warn(
                f"the classes of {before.model} can't be found; their names and order must be the "
                "same as in this data",
                stacklevel=3,
            )
        demand_same(before, learning.as_strings(), manifest, earlier)
    spec = TrainingSpec(
        job_name=job_name or default_name(channels["train"].rec),
        role=find_role(role, service),
        image=image or image_uri(service.region),
        train=channels["train"].prefix,
        validation=channels["validation"].prefix,
        output=output,
        hyperparameters=learning,
        model=None if before is None else before.model,
        tags=tags or {},
        network=network or Network(),
        **machine,
    )
    return Plan(spec, manifest.classes, service)


@_Keywords(Choices)
def fit(train: str, validation: str, output: str, choices: dict[str, Any]) -> Job:
    """Start a training job, incremental with ``model=``; see ``plan`` for the keywords."""
    return plan(train, validation, output, **choices).start()


def default_name(rec: str) -> str:
    """A job name, from the data's name and the time."""
    stem = rec.rpartition("/")[2].removesuffix(".rec")
    characters = "".join(
        letter if letter.isascii() and letter.isalnum() else "-" for letter in stem
    )
    parts = "-".join(part for part in characters[:30].split("-") if part)
    return f"{parts or 'recpack'}-{unique_suffix()}"


def unique_suffix() -> str:
    """The time and four random hexadecimal digits: names of jobs and endpoints must be unique."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def _find_model(model: str | Job, service: Service) -> Previous:
    try:
        return find_previous(model, service)
    except JobError as error:
        raise SpecError(f"model: {error}") from error


def _explain(error: Any, spec: TrainingSpec) -> JobError:
    code = error.response["Error"]["Code"]
    message = error.response["Error"].get("Message", "")
    if code == "ResourceLimitExceeded":
        usage = f"{spec.instance_type} for {'spot ' if spec.spot else ''}training job usage"
        return JobError(
            f"your account's quota does not allow {spec.instance_count} x {spec.instance_type} for "
            f'training: request more under Service Quotas (Amazon SageMaker, "{usage}"), or use '
            f"another type. {message}",
            message,
        )
    if code == "ResourceInUse":
        return JobError(f"there is a job {spec.job_name} already; choose another name", message)
    return JobError(f"the service refuses the job: {code}: {message}", message)
