"""Plans a job from its data: checks, describes and starts it."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, get_args

from .channels import (
    demand_model,
    demand_output,
    demand_url,
    manifest_below,
    objects_below,
    read_channel,
)
from .checks import (
    data_of,
    demand_batch,
    demand_one_file,
    demand_room,
    kind_of_channels,
    warn_of_classes,
    warn_of_same,
)
from .classification import ClassHyperparameters, ClassLearning
from .errors import JobError, SpecError, UsageError
from .hyperparameters import Hyperparameters, Learning
from .images import image_uri, pytorch_image_uri
from .job import Job, Previous, demand_same, find_previous
from .kinds import Kind
from .local import LocalJob, is_place
from .machines import TRAINING_TYPE
from .names import unique_name
from .records import Trained, place_of
from .request import Network, Request
from .script_mode import script_request, source, source_url
from .service import Service, find_role
from .spec import ONLY_DETECTION, Algorithm, Local, Machine, TrainingSpec, training_request
from .starting import start

P = ParamSpec("P")
R = TypeVar("R")

_TABLES: dict[Kind, type[Hyperparameters | ClassHyperparameters]] = {
    "detection": Hyperparameters,
    "classification": ClassHyperparameters,
}


@dataclass(frozen=True)
class Plan:
    """A job that has passed all checks and has not started. ``request`` is for
    ``create_training_job``; ``trained`` tells its data and classes. ``notes`` tell what a job that
    continues another has other data in."""

    spec: TrainingSpec
    trained: Trained
    service: Service
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        name, classes = self.spec.job_name, len(self.classes)
        return f"{type(self).__name__}(job_name={name!r}, classes={classes}, notes={self.notes})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in the order of their ids."""
        return self.trained.classes

    @property
    def request(self) -> Request:
        """The arguments of ``create_training_job``."""
        request = training_request(self.spec)
        if self.spec.algorithm == "built-in":
            return request
        return script_request(request, self.service.region)

    def start(self) -> Job:
        """Start the job; it then costs money. Raises JobError when the service refuses it."""
        program = {}
        if self.spec.algorithm == "pytorch":
            program = {source_url(self.spec.output, self.spec.job_name): source()}
        start("training_job", self.request, self.record, self.trained, self.service, program)
        return Job(self.spec.job_name, self.service, started=True)

    @property
    def record(self) -> str:
        """Where it is written down what the job is trained on."""
        return place_of(self.spec.output, self.spec.job_name)


@dataclass(frozen=True, kw_only=True)
class Choices(Local, Machine, Learning, ClassLearning):
    """The keywords of ``plan`` and ``fit``: these, those for this machine, SageMaker's machine's,
    and the hyperparameters of both algorithms. The last ones have the defaults of their algorithm,
    or the manifests' values."""

    role: str | None = None
    model: str | Job | None = None
    job_name: str | None = None
    service: Service | None = None
    image: str | None = None
    algorithm: Algorithm = "built-in"
    tags: Mapping[str, str] | None = None
    network: Network | None = None
    image_shape: int | str | None = None  # type: ignore[assignment]
    optimizer: Literal["sgd", "adam", "rmsprop", "adadelta", "nag"] = "sgd"  # type: ignore[assignment]
    num_classes: int | None = None
    num_training_samples: int | None = None
    label_width: int | None = None


class Keywords(Generic[P]):
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


@Keywords(Choices)
def plan(train: str, validation: str, output: str, choices: dict[str, Any]) -> Plan:
    """Check everything that can be checked without paying, and describe the job.

    ``train`` and ``validation`` are ``.rec`` objects that recpack wrote, or their prefixes; or an
    augmented manifest each, or prefixes of images with JSON files beside them (see
    ``read_channel``). The labels say which of SageMaker's algorithms it is: object detection for
    boxes, image classification for classes. ``model`` is a job, its name or a ``model.tar.gz`` to
    continue from. The other keywords are those of the machine (see ``Machine``) and the
    hyperparameters, whose values can be strings as on the command line. ``num_classes``,
    ``num_training_samples``, ``label_width`` and ``multi_label`` come from the data. Raises
    SpecError, and UsageError for choices that are wrong for any data.

    ``algorithm="pytorch"`` is recpack's own in AWS's PyTorch container; it starts from the weights
    ``pretrained``, a ``.params`` file or a ``model.tar.gz`` on S3.

    With ``local=True`` the job is one for this machine, see ``Local``: the data are ``.rec`` files
    by path or ``s3://…``, ``output`` is a folder, ``model`` also the name of a job in it, a job's
    folder or a file; its network and shape of images are kept. What is for SageMaker's machines is
    refused, and no account is needed.
    """
    for name, place in (("train", train), ("validation", validation), ("output", output)):
        if not place:
            raise UsageError(f"{name}: must not be empty")
    rest = dict(choices)
    own = {one.name: rest.pop(one.name) for one in fields(Local) if one.name in rest}
    if own.get("local"):
        from .local_planning import plan_local

        return plan_local(train, validation, output, Local(**own), rest)
    algorithm = _algorithm(rest.pop("algorithm", "built-in"))
    pretrained = own.pop("pretrained", None) if algorithm == "pytorch" else None
    _demand_service(own, model=rest.get("model"))
    machine = {one.name: rest.pop(one.name) for one in fields(Machine) if one.name in rest}
    names = ("role", "model", "job_name", "service", "image", "tags", "network")
    role, model, job_name, service, image, tags, network = (rest.pop(n, None) for n in names)
    hyperparameters = {name: value for name, value in rest.items() if value is not None}
    service = service or Service()
    for name, url in (("output", output), ("train", train), ("validation", validation)):
        demand_url(name, url, ", or train on this machine with fit --local")
    channels = {
        name: read_channel(name, url, service)
        for name, url in (("train", train), ("validation", validation))
    }
    if algorithm == "built-in":
        demand_one_file(channels)
    manifest = channels["train"].manifest
    data = data_of(channels)
    if data.kind == "augmented":
        machine["input_mode"] = "Pipe"
    trained = Trained.on(channels)
    notes: tuple[str, ...] = ()
    before = None if model is None else _find_model(model, service)
    kind = kind_of_channels(channels)
    if algorithm == "pytorch" and kind != "detection":
        raise SpecError(ONLY_DETECTION)
    table = _TABLES[kind]
    for name in table.fixed:
        if before is not None and name in before.hyperparameters:
            hyperparameters.setdefault(name, before.hyperparameters[name])
    learning = table.from_manifests(manifest, channels["validation"].manifest, **hyperparameters)
    if before is not None:
        demand_model(before.model, service)
        demand_same(before, learning, manifest.classes, classes_before(before, service))
        notes = () if before.trained is None else tuple(before.trained.differences(trained))
    spec = TrainingSpec(
        job_name=job_name
        or unique_name(channels["train"].rec.rpartition("/")[2].removesuffix(".rec")),
        role=find_role(role, service),
        image=image or _image(algorithm, kind, machine, service),
        train=channels["train"].prefix,
        validation=channels["validation"].prefix,
        output=output,
        hyperparameters=learning,
        model=None if before is None else before.model,
        algorithm=algorithm,
        pretrained=pretrained,
        data=data,
        tags=tags or {},
        network=network or Network(),
        **machine,
    )
    if pretrained is not None:
        demand_model(pretrained, service, "pretrained")
    demand_output("output", spec.output, spec.role, service)
    demand_room(spec, channels)
    demand_batch(spec, manifest.num_samples)
    warn_of_classes(learning, channels)
    warn_of_same(channels)
    return Plan(_with_checkpoints(spec, service), trained, service, notes)


def _demand_service(own: Mapping[str, Any], model: object) -> None:
    """Raise UsageError for what is for jobs on this machine."""
    defaults = {one.name: one.default for one in fields(Local)}
    only = [name for name, value in own.items() if value not in (None, defaults[name])]
    if only:
        raise UsageError(f"{', '.join(only)}: for training on this machine only: add --local")
    if isinstance(model, LocalJob) or (isinstance(model, str) and _is_here(model)):
        raise UsageError(
            f"model: {getattr(model, 'folder', model)} is on this machine, where SageMaker can't "
            "read it: copy its model.tar.gz and recpack.json to s3://…/JOB/output/model.tar.gz and "
            "s3://…/JOB/recpack.json and give that, or add --local"
        )


def _is_here(model: str) -> bool:
    return not model.startswith("s3://") and (is_place(model) or Path(model).is_file())


def _algorithm(name: str) -> Algorithm:
    for known in get_args(Algorithm):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise UsageError(f"algorithm: {name!r}; use {' or '.join(get_args(Algorithm))}")


def _image(algorithm: Algorithm, kind: Kind, machine: Mapping[str, Any], service: Service) -> str:
    if algorithm == "built-in":
        return image_uri(service.region, kind)
    return pytorch_image_uri(service.region, machine.get("instance_type", TRAINING_TYPE))


def classes_before(before: Previous, service: Service) -> tuple[str, ...] | None:
    """The classes of the model to continue; None, with a warning, when nobody knows them."""
    try:
        return classes_of(before, None, service)
    except SpecError:
        warnings.warn(
            f"the classes of {before.model} can't be found; their names and order must be the same "
            "as in this data",
            stacklevel=4,
        )
        return None


def _with_checkpoints(spec: TrainingSpec, service: Service) -> TrainingSpec:
    """A spot job that is paused would begin again without checkpoints, so it gets some."""
    if spec.checkpoints is not None:
        if demand_output("checkpoints", spec.checkpoints, spec.role, service) and objects_below(
            spec.checkpoints, service, most=1
        ):
            warnings.warn(
                f"checkpoints: {spec.checkpoints} is not empty; the job goes on from what is there",
                stacklevel=4,
            )
        return spec
    if not spec.spot:
        return spec
    return replace(spec, checkpoints=f"{spec.output.rstrip('/')}/{spec.job_name}/checkpoints/")


@Keywords(Choices)
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
        if known is not None:
            warnings.warn(
                f"{model.model}: it is not written down what it was trained on; these are the "
                f"classes that its data has now: {', '.join(known)}",
                stacklevel=4,
            )
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
