"""Plans a job for this machine: the checks of a job for SageMaker that have a sense here, and no
account."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import recpack

from .channels import Channel, demand_labels
from .checks import warn_of_same
from .errors import JobError, SpecError, TrainError, UsageError
from .hyperparameters import Hyperparameters
from .job import Job, Previous, demand_same, find_previous
from .local import LocalJob, is_place, start
from .names import name_faults, unique_name
from .planning import Plan, classes_before
from .records import Trained, read_trained
from .request import Network, Request
from .service import Service
from .spec import NO_WEIGHTS, ONLY_DETECTION, TORCHVISION, Local, Machine, demand_torchvision

_RANDOM = (
    "it begins with random weights, since neither --pretrained nor --model gives any; "
    "to learn from photographs that needs many images and epochs"
)
_OF_SERVICE = ("role", "image", "tags", "network")


@dataclass(frozen=True, kw_only=True)
class LocalSpec:
    """A training job on this machine. ``train`` and ``validation`` are ``.rec`` files, ``model``
    and the weights of ``options`` files, all by absolute path or ``s3://…``. ``output`` is the
    folder of the job's folder."""

    job_name: str
    train: str
    validation: str
    output: str
    hyperparameters: Hyperparameters
    options: Local
    model: str | None = None

    @property
    def folder(self) -> Path:
        """The job's own."""
        return Path(self.output) / self.job_name


@dataclass(frozen=True, repr=False)
class LocalPlan(Plan):
    """A job for this machine that has passed all checks and has not started."""

    spec: LocalSpec  # type: ignore[assignment]  # all else is a plan's

    @property
    def request(self) -> Request:
        """What the job's ``job.json`` is to say."""
        spec = self.spec
        options = {k: v for k, v in asdict(spec.options).items() if k != "local"}
        return {
            "TrainingJobName": spec.job_name,
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "HyperParameters": spec.hyperparameters.as_strings(),
            "InputDataConfig": [
                {"ChannelName": name, "DataSource": {"S3DataSource": {"S3Uri": place}}}
                for name in ("train", "validation", "model")
                if (place := getattr(spec, name)) is not None
            ],
            "Local": {**options, "endpoint_url": self.service.endpoint_url},
        }

    @property
    def record(self) -> str:
        """Where it is written down what the job is trained on."""
        return str(self.spec.folder / "recpack.json")

    def start(self) -> LocalJob:
        """Start the job's process. A job of this name with the same settings, which was stopped or
        killed, goes on from its checkpoints. Raises JobError for any other job of this name, and
        TrainError where PyTorch is not installed."""
        return start(self.spec.folder, self.request, self.trained, self.service)


def plan_local(
    train: str, validation: str, output: str, options: Local, choices: Mapping[str, Any]
) -> LocalPlan:
    """The job that ``plan`` describes with ``local=True``. Raises SpecError and UsageError."""
    rest = dict(choices)
    model, job_name, service = (rest.pop(one, None) for one in ("model", "job_name", "service"))
    service = service or Service()
    wrong = list(_not_here(rest))
    if "://" in output:
        wrong.append(f"output: {output}; a job on this machine writes to a folder: name one")
    wrong += [] if job_name is None else name_faults(job_name)
    if wrong:
        raise UsageError("\n".join(wrong))
    refused = {*_OF_SERVICE, "kv_store", "algorithm", *(one.name for one in fields(Machine))}
    chosen = {k: v for k, v in rest.items() if v is not None and k not in refused}
    channels = {
        name: _read_channel(name, place, service)
        for name, place in (("train", train), ("validation", validation))
    }
    before = None if model is None else _find_model(model, output, service)
    if before is not None:
        for name in ("base_network", "image_shape"):
            if name in before.hyperparameters:
                chosen.setdefault(name, before.hyperparameters[name])
    fresh = before is None and options.pretrained is None
    chosen.setdefault("use_pretrained_model", int(options.pretrained is not None))
    learning = Hyperparameters.from_manifests(
        channels["train"].manifest, channels["validation"].manifest, **chosen
    )
    options = _demand_weights(options, learning, continues=before is not None)
    trained = Trained.on(channels)
    notes: tuple[str, ...] = (_RANDOM,) if fresh else ()
    if before is not None:
        names = classes_before(before, service)
        demand_same(before, learning, trained.classes, names)
        notes = () if before.trained is None else tuple(before.trained.differences(trained))
    warn_of_same(channels)
    spec = LocalSpec(
        job_name=job_name or unique_name(os.path.basename(train).removesuffix(".rec")),
        train=channels["train"].rec,
        validation=channels["validation"].rec,
        output=output,
        hyperparameters=learning,
        options=options,
        model=None if before is None else _absolute(before.model),
    )
    return LocalPlan(spec, trained, service, notes)


def _not_here(choices: Mapping[str, Any]) -> Iterator[str]:
    """What a job on this machine can't honour."""
    defaults = {one.name: one.default for one in fields(Machine)}
    defaults |= {**dict.fromkeys((*_OF_SERVICE, "kv_store")), "algorithm": "built-in"}
    given = dict(choices)
    if isinstance(network := given.get("network"), Network) and not any(asdict(network).values()):
        del given["network"]
    only = [
        name for name, default in defaults.items() if given.get(name) not in (None, default, {})
    ]
    if only:
        yield f"{', '.join(only)}: only for jobs on SageMaker; leave that out, or local (--local)"


def _absolute(place: str) -> str:
    return place if place.startswith("s3://") else os.path.abspath(place)


def _read_channel(name: str, place: str, service: Service) -> Channel:
    """Find a ``.rec``, or a set of shards by its name, and the manifest. Raises SpecError: none
    there, another file's."""
    if not place.endswith(".rec"):
        raise SpecError(f"{name}: {place}; name a .rec file, which recpack convert writes")
    try:
        with recpack.RecordReader(
            place, mapped=False, endpoint_url=service.endpoint_url
        ) as records:
            manifest, paths = records.manifest(), records.paths
    except recpack.RecpackError as error:
        raise SpecError(f"{name}: {error}") from error
    except OSError as error:
        raise SpecError(f"{name}: {place}: {error.strerror or error}") from error
    if manifest is None or manifest.shards == (manifest.rec,):  # a shard's counts the whole set
        raise SpecError(f"{name}: {place} has no manifest beside it; recpack convert writes both")
    files = manifest.shards if len(paths) > 1 else (manifest.rec,)
    for path, file in zip(paths, files, strict=True):
        if not path.startswith("s3://") and os.path.getsize(path) != file.bytes:
            raise SpecError(
                f"{name}: {path} has {os.path.getsize(path):,} bytes, its manifest says "
                f"{file.bytes}: it is another file; pack it again"
            )
    demand_labels(name, place, manifest)
    channel = Channel(_absolute(place), _absolute(place), manifest)
    if channel.kind != "detection":
        raise SpecError(f"{name}: {place}: {ONLY_DETECTION}")
    return channel


def _find_model(model: str | Job, output: str, service: Service) -> Previous:
    """The model to continue. Raises SpecError."""
    if isinstance(model, str) and not model.startswith("s3://"):
        below = Path(output) / model
        if not os.path.isfile(model):
            here = is_place(model) and (Path(model) / "job.json").is_file()
            if not here and not (below / "job.json").is_file():
                raise SpecError(
                    f"model: there is no job {model} in {output}, and no file; give a job's name "
                    "or folder, or a model.tar.gz by path or s3://… (SageMaker's too)"
                )
            model = LocalJob.at(model if here else below, service)
    if not isinstance(model, str):
        try:
            return find_previous(model, service)
        except JobError as error:
            raise SpecError(f"model: {error}") from error
    from .ssd.artifact import read_hyperparameters

    try:
        hyperparameters = read_hyperparameters(model, service)
    except TrainError as error:
        raise SpecError(f"model: {error}") from error
    return Previous(model, hyperparameters, trained=read_trained(model, service))


def _demand_weights(options: Local, learning: Hyperparameters, *, continues: bool) -> Local:
    """The options with the weights' absolute path. Raises UsageError where the weights that are
    asked for are not there, or are not asked for."""
    given = options.pretrained
    if continues and (given is not None or learning.use_pretrained_model):
        raise UsageError(
            f"{'pretrained' if given else 'use_pretrained_model'}: the job goes on from a model; "
            "leave out one of the two"
        )
    if given is None:
        if learning.use_pretrained_model:
            raise UsageError(NO_WEIGHTS)
        return options
    if not learning.use_pretrained_model:
        raise UsageError("pretrained: with use_pretrained_model=0; leave out one of the two")
    if given == TORCHVISION:
        demand_torchvision(learning.base_network)
        return options
    if not given.endswith((".params", ".tar.gz")):
        raise UsageError(
            f"pretrained: {given}; give a .params file, a model.tar.gz, or for vgg-16 torchvision"
        )
    if not given.startswith("s3://") and not os.path.isfile(given):
        missing = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), given)
        raise SpecError(f"pretrained: there is no file {given}") from missing
    return replace(options, pretrained=_absolute(given))
