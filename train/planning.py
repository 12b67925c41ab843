"""A job from its data: looked at, described, started."""

from __future__ import annotations

import functools
import inspect
import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from .channels import demand_region, manifest_below, read_channel, split
from .errors import JobError, SpecError
from .hyperparameters import Hyperparameters, Learning
from .images import image_uri
from .job import Job, Previous, demand_same, previous
from .request import Machine, Network, Request, TrainingSpec, training_request
from .service import Service, find_role

P = ParamSpec("P")
R = TypeVar("R")


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


@dataclass(frozen=True, kw_only=True)
class Choices(Machine, Learning):
    """The keywords of ``plan`` and ``fit``: those here, those of the machine, and the
    hyperparameters. The last three are the manifests' unless they are given."""

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


class _Chosen(Generic[P]):
    """A decorator: keywords for type checkers and in the signature, and at run time a mapping of
    those that were given, because the others' defaults depend on the model to go on from."""

    def __init__(self, kind: Callable[P, object]) -> None:
        self._kind = kind

    def __call__(
        self, function: Callable[[str, str, str, dict[str, Any]], R]
    ) -> Callable[Concatenate[str, str, str, P], R]:
        own = list(inspect.signature(function).parameters.values())[:-1]
        keywords = inspect.signature(self._kind).parameters.values()

        @functools.wraps(function)
        def call(train: str, validation: str, output: str, **chosen: Any) -> R:
            return function(train, validation, output, chosen)

        del call.__wrapped__  # it takes other arguments
        call.__signature__ = inspect.Signature([*own, *keywords])  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]  # the keywords are those of the kind


@_Chosen(Choices)
def plan(train: str, validation: str, output: str, chosen: dict[str, Any]) -> Plan:
    """Look at everything that can be looked at for nothing, and describe the job.

    ``train`` and ``validation`` are ``.rec`` objects that recpack wrote, or their prefixes;
    ``model`` a job, its name or a ``model.tar.gz`` to go on from. The other keywords are those of
    the machine (see ``Machine``) and the hyperparameters, whose values may be texts as on the
    command line. ``num_classes``, ``num_training_samples`` and ``label_width`` are the manifests'.
    Raises SpecError, UsageError for choices that are wrong in themselves.
    """
    given = dict(chosen)
    machine = {one.name: given.pop(one.name) for one in fields(Machine) if one.name in given}
    names = ("role", "model", "job_name", "service", "image", "tags", "network")
    role, model, job_name, service, image, tags, network = (given.pop(n, None) for n in names)
    hyperparameters = {name: value for name, value in given.items() if value is not None}
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
    learning = Hyperparameters.filled(manifest, channels["validation"].manifest, **hyperparameters)
    if before is not None:
        earlier = None if before.train is None else manifest_below(before.train, service)
        if earlier is None:
            warnings.warn(
                f"the classes that {before.model} knows can't be found; their names and order "
                "must be this data's",
                stacklevel=3,
            )
        demand_same(before, learning.texts(), manifest, earlier)
    spec = TrainingSpec(
        job_name=job_name or default_name(channels["train"].rec),
        role=find_role(role, service),
        image=image or image_uri(service.region),
        train=channels["train"].place,
        validation=channels["validation"].place,
        output=output,
        hyperparameters=learning,
        model=None if before is None else before.model,
        tags=tags or {},
        network=network or Network(),
        **machine,
    )
    return Plan(spec, manifest.classes, service)


@_Chosen(Choices)
def fit(train: str, validation: str, output: str, chosen: dict[str, Any]) -> Job:
    """Start a training job, an incremental one with ``model=``; see ``plan`` for the keywords."""
    return plan(train, validation, output, **chosen).start()


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
