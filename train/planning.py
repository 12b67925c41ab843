"""Plans a job from its data: checks, describes and starts it."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from .channels import demand_model, demand_region, manifest_below, read_channel, split_url
from .errors import JobError, SpecError
from .hyperparameters import Hyperparameters, Learning
from .images import image_uri
from .job import Job, Previous, demand_same, find_previous
from .names import unique_name
from .records import Trained, place_of, write_trained
from .request import Machine, Network, Request, TrainingSpec, training_request
from .service import Service, find_role

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Plan:
    """A job that has passed all checks and has not started. ``request`` is for
    ``create_training_job``; ``trained`` tells its data and classes."""

    spec: TrainingSpec
    trained: Trained
    service: Service

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in the order of their ids."""
        return self.trained.classes

    @property
    def request(self) -> Request:
        """The arguments of ``create_training_job``."""
        return training_request(self.spec)

    def start(self) -> Job:
        """Start the job; it then costs money. Raises JobError when the service refuses it."""
        client = self.service.client("sagemaker")
        write_trained(self.record, self.trained, self.service)
        try:
            client.create_training_job(**self.request)
        except client.exceptions.ClientError as error:
            raise _explain(error, self.spec) from error
        return Job(self.spec.job_name, self.service)

    @property
    def record(self) -> str:
        """Where it is written down what the job is trained on."""
        return place_of(self.spec.output, self.spec.job_name)


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
        demand_model(before.model, service)
        try:
            earlier = classes_of(before, None, service)
        except SpecError:
            earlier = None
            warnings.warn(
                f"the classes of {before.model} can't be found; their names and order must be the "
                "same as in this data",
                stacklevel=3,
            )
        demand_same(before, learning.as_strings(), tuple(manifest.classes), earlier)
    spec = TrainingSpec(
        job_name=job_name
        or unique_name(channels["train"].rec.rpartition("/")[2].removesuffix(".rec")),
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
    data = {name: (channel.rec, channel.manifest) for name, channel in channels.items()}
    return Plan(spec, Trained.on(data), service)


@_Keywords(Choices)
def fit(train: str, validation: str, output: str, choices: dict[str, Any]) -> Job:
    """Start a training job, incremental with ``model=``; see ``plan`` for the keywords."""
    return plan(train, validation, output, **choices).start()


def classes_of(model: Previous, classes: Sequence[str] | None, service: Service) -> tuple[str, ...]:
    """A model's class names in the order of their ids: those of its training, which ``classes``
    must equal. For a job of another program they are those of the manifest that its data has now,
    else ``classes``. Raises SpecError."""
    given = tuple(classes or ())
    known = None if model.trained is None else model.trained.classes
    if known is None and model.train is not None:
        manifest = manifest_below(model.train, service)
        known = None if manifest is None else tuple(manifest.classes)
    count = model.hyperparameters.get("num_classes")
    names = given or known
    if names is None:
        raise SpecError(
            "classes: what the model was trained on can't be found; give the names in the order of "
            "their ids, with --classes"
        )
    if known is not None and given and given != known:
        raise SpecError(
            f"classes: the model was trained on {', '.join(known)}; leave out --classes "
            f"{','.join(given)}"
        )
    if count is not None and count != str(len(names)):
        raise SpecError(
            f"classes: the model was trained on {count}, but these are {len(names)}: "
            f"{', '.join(names)}"
        )
    return names


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
