"""Training jobs, checked, → the arguments of ``create_training_job`` (pure).

Fields: the SageMaker API reference. Channels and content types: AWS developer guide, "Input/Output
Interface for the Object Detection Algorithm", the same "for the Image Classification Algorithm",
and "Incremental Training".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import UsageError
from .kinds import kind_of_image
from .machines import TRAINING_TYPE, type_fault
from .names import name_faults
from .parameters import Parameters
from .request import OWN_DISK, Network, Request, tag_faults, tags_of
from .values import make_plain

RECORDIO = "application/x-recordio"
MODEL = "application/x-sagemaker-model"

S3_URL = re.compile(r"s3://[^/]+/?.*")
Algorithm = Literal["built-in", "pytorch"]
"""SageMaker's own, or recpack's in AWS's PyTorch container."""
TORCHVISION = "torchvision"
"""What ``pretrained`` calls VGG-16's weights that torchvision fetches."""
NO_WEIGHTS = (
    "use_pretrained_model: 1, but there are no weights to start from; give a .params file or a "
    "model.tar.gz with --pretrained, or begin from nothing with --set use_pretrained_model=0"
)

ONLY_DETECTION = (
    "algorithm: recpack's own detects objects, and these labels are classes of whole images: leave "
    "out --algorithm and --local, and SageMaker's image classification trains on them"
)

_TYPE = re.compile(r"ml\.[a-z]\w*\.\w+")
_LONGEST_RUN = 28 * 24 * 3600
_LONGEST_KEPT = 6 * 3600


def _setting(default: Any, help: str, metavar: str | None = None) -> Any:
    return field(default=default, metadata={"help": help, "metavar": metavar})


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how long a job runs. ``volume_gb`` in GB, ``max_run`` and ``max_wait`` in seconds.
    ``max_wait`` is only for ``spot`` and includes waiting and running. The command line makes its
    options from these fields."""

    instance_type: str = _setting(TRAINING_TYPE, "machine type, with a GPU", "T")
    instance_count: int = _setting(1, "number of machines", "N")
    volume_gb: int = _setting(50, "disk of each machine in GB, if it has none built in", "N")
    max_run: int = _setting(24 * 3600, "seconds after which the job is stopped", "SECONDS")
    input_mode: Literal["File", "Pipe"] = _setting("File", "how the machine gets the data")
    spot: bool = _setting(False, "use spot instances: cheaper, can be paused")
    max_wait: int | None = _setting(
        None, "seconds for a spot job, waiting included (default: those of --max-run)", "SECONDS"
    )
    checkpoints: str | None = _setting(
        None,
        "where the state of a paused job is kept (default: with --spot in the output, else none)",
        "s3://…/",
    )
    keep_alive: int | None = _setting(
        None, "seconds that the machines stay for a next job like this (a warm pool); they cost",
        "SECONDS",
    )  # fmt: skip

    def __post_init__(self) -> None:
        make_plain(self)


@dataclass(frozen=True, kw_only=True)
class Local:
    """How a job runs on this machine instead of SageMaker. The command line makes its options from
    these fields."""

    local: bool = _setting(False, "train on this machine, with PyTorch: pip install 'recpack[ssd]'")
    pretrained: str | None = _setting(
        None,
        "weights to start from: a .params file, a model.tar.gz, or for vgg-16 the word torchvision,"
        " whose weights are fetched",
        "FILE",
    )
    device: Literal["auto", "cpu", "cuda"] = _setting("auto", "what computes; auto: a GPU if any")
    precision: Literal["auto", "fp32", "bf16"] = _setting(
        "auto", "numbers of the layers; auto: bf16 on a GPU that has it"
    )
    seed: int | None = _setting(None, "the same run again gives the same model", "N")
    processes: int | None = _setting(
        None, "processes that train one model (default: one for each GPU, one on a CPU)", "N"
    )
    workers: int | None = _setting(
        None, "processes that read images, for each that trains (default: by the cores)", "N"
    )

    def __post_init__(self) -> None:
        make_plain(self)
        wrong = [
            f"{name}: {value!r}; use {', '.join(choices)}"
            for name, value, choices in (
                ("device", self.device, ("auto", "cpu", "cuda")),
                ("precision", self.precision, ("auto", "fp32", "bf16")),
            )
            if value not in choices
        ]
        for name, least in (("seed", 0), ("processes", 1), ("workers", 0)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= least):
                wrong.append(f"{name}: {value!r} is not an integer, {least} or more")
        if wrong:
            raise UsageError("\n".join(wrong))


def demand_torchvision(base_network: str) -> None:
    """Raise UsageError for a network that torchvision has no weights for."""
    if base_network != "vgg-16":
        raise UsageError(
            f"pretrained: torchvision has no weights for {base_network}, which is another network "
            "than its own; give a model.tar.gz or a .params file"
        )


@dataclass(frozen=True)
class Data:
    """What both channels are: a ``.rec`` each; ``images`` of a content type with JSON files beside
    them; or an ``augmented`` manifest each, of which the ``attributes`` are read."""

    kind: Literal["rec", "images", "augmented"] = "rec"
    content_type: str = RECORDIO
    attributes: tuple[str, ...] = ()


RECORDS = Data()


@dataclass(frozen=True, kw_only=True)
class TrainingSpec(Machine):
    """A training job. ``train`` and ``validation`` are S3 prefixes with one ``.rec`` each (see
    ``Data`` for others), ``model`` the ``model.tar.gz`` to continue from, ``output`` a prefix.
    ``pretrained`` are weights for the algorithm ``pytorch``: a ``.params`` file or a
    ``model.tar.gz``. Raises UsageError that lists everything that is wrong."""

    job_name: str
    role: str
    image: str
    train: str
    validation: str
    output: str
    hyperparameters: Parameters
    model: str | None = None
    algorithm: Algorithm = "built-in"
    pretrained: str | None = None
    data: Data = RECORDS
    tags: Mapping[str, str] = field(default_factory=dict)
    network: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = [*self._machine_faults(), *self._place_faults(), *tag_faults(self.tags)]
        if bool(self.network.subnets) != bool(self.network.security_groups):
            wrong.append("network: give both subnets and security_groups, or none of them")
        if wrong:
            raise UsageError("\n".join(wrong))

    def _machine_faults(self) -> Iterator[str]:
        if self.algorithm == "pytorch":
            yield from self._pytorch_faults()
        elif fault := type_fault(self.instance_type, self.image):
            yield fault
        if kind_of_image(self.image) is not None:
            yield from self.hyperparameters.faults_of_service()
        if self.input_mode not in ("File", "Pipe"):
            yield f"input_mode: {self.input_mode}; use File or Pipe"
        if self.data.kind == "images" and self.input_mode != "File":
            yield "input_mode: images with JSON files are read in File mode only; leave it out"
        if (
            self.instance_count > 1
            and self.algorithm == "built-in"
            and self.hyperparameters.kv_store is None
        ):
            yield (
                f"kv_store: missing; {self.instance_count} instances need dist_sync or dist_async "
                "to train one model"
            )
        for name, most in (
            ("instance_count", None), ("volume_gb", None),
            ("max_run", _LONGEST_RUN), ("max_wait", None), ("keep_alive", _LONGEST_KEPT),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                yield f"{name}: must be at least 1 (got {value})"
            elif value is not None and most is not None and value > most:
                yield f"{name}: {value:,}; the service takes at most {most:,} seconds"
        if self.spot and self.max_wait is not None and self.max_wait < self.max_run:
            yield f"max_wait: {self.max_wait} s is less than max_run, {self.max_run} s; give more"
        if not self.spot and self.max_wait is not None:
            yield "max_wait: only for spot instances; add spot or leave it out"
        if self.spot and self.keep_alive is not None:
            yield "keep_alive: spot machines can't be kept; leave out one of the two"

    def _pytorch_faults(self) -> Iterator[str]:
        if not _TYPE.fullmatch(self.instance_type):
            yield f"instance_type: {self.instance_type!r}; write it like {TRAINING_TYPE}"
        if self.data.kind == "augmented":
            yield (
                "train: augmented manifests are read by the built-in algorithm only; pack the "
                "images with recpack convert, or leave out the algorithm"
            )
        learning = self.hyperparameters
        if learning.use_pretrained_model and self.model is None and self.pretrained is None:
            yield NO_WEIGHTS
        if self.network.isolated:
            yield (
                "isolated: the PyTorch container installs recpack's dependencies from the network; "
                "leave it out, or give an image that has them (see the Dockerfile) with image and "
                "without the algorithm"
            )

    def _place_faults(self) -> Iterator[str]:
        yield from name_faults(self.job_name)
        for name in ("train", "validation", "output", "model", "checkpoints", "pretrained"):
            url = getattr(self, name)
            if url is not None and not S3_URL.fullmatch(url):
                yield f"{name}: {url!r}; write s3://bucket/…"
        if self.model is not None and not self.model.endswith(".tar.gz"):
            yield f"model: {self.model}; give a model.tar.gz"
        if self.pretrained is not None:
            if self.algorithm == "built-in":
                yield "pretrained: the built-in algorithm has its own weights; leave it out"
            elif not self.pretrained.endswith((".tar.gz", ".params")):
                yield f"pretrained: {self.pretrained}; give a model.tar.gz or a .params file"
        written = {"output": f"{self.output.rstrip('/')}/{self.job_name}/"}
        if self.checkpoints is not None:
            written["checkpoints"] = self.checkpoints.rstrip("/") + "/"
        for channel in ("train", "validation"):
            prefix = channel_prefix(getattr(self, channel))
            for name, place in written.items():
                if self.data.kind != "augmented" and place.startswith(prefix):
                    yield (
                        f"{name}: {place} is below {prefix}, and the next job would read it as "
                        f"{channel} data; use a prefix beside it"
                    )


def channel_prefix(url: str) -> str:
    """A channel's prefix; for a ``.rec`` it is the folder. It ends with ``/``, because the service
    takes every key that begins with it."""
    if url.endswith(".rec"):
        return url.rpartition("/")[0] + "/"
    return url if url.endswith("/") else url + "/"


def training_request(spec: TrainingSpec) -> Request:
    """The arguments of ``create_training_job``."""
    resources: Request = {
        "InstanceCount": spec.instance_count,
        "InstanceType": spec.instance_type,
        "VolumeSizeInGB": spec.volume_gb,
    }
    # built-in disks have their own key
    if spec.network.volume_kms_key and not OWN_DISK.match(spec.instance_type):
        resources["VolumeKmsKeyId"] = spec.network.volume_kms_key
    if spec.keep_alive is not None:
        resources["KeepAlivePeriodInSeconds"] = spec.keep_alive
    stopping = {"MaxRuntimeInSeconds": spec.max_run}
    output: Request = {"S3OutputPath": spec.output}
    if spec.network.output_kms_key:
        output["KmsKeyId"] = spec.network.output_kms_key
    request: Request = {
        "TrainingJobName": spec.job_name,
        "AlgorithmSpecification": {
            "TrainingImage": spec.image,
            "TrainingInputMode": spec.input_mode,
        },
        "RoleArn": spec.role,
        "InputDataConfig": list(_channels(spec)),
        "OutputDataConfig": output,
        "ResourceConfig": resources,
        "StoppingCondition": stopping,
        "HyperParameters": spec.hyperparameters.as_strings(),
        # there is nothing to profile in these algorithms, and a profiler is an extra job
        "ProfilerConfig": {"DisableProfiler": True},
    }
    if spec.spot:
        request["EnableManagedSpotTraining"] = True
        stopping["MaxWaitTimeInSeconds"] = spec.max_wait or spec.max_run
    if spec.checkpoints is not None:
        request["CheckpointConfig"] = {"S3Uri": spec.checkpoints}
    if spec.network.encrypt_traffic:
        request["EnableInterContainerTrafficEncryption"] = True
    if spec.network.isolated:
        request["EnableNetworkIsolation"] = True
    return request | spec.network.vpc() | tags_of(spec.tags)


def _channels(spec: TrainingSpec) -> Iterator[Request]:
    data = spec.data
    for name in ("train", "validation"):
        url = getattr(spec, name)
        if data.kind == "augmented":
            channel = _channel(name, url, data.content_type, "Pipe")
            channel["DataSource"]["S3DataSource"] |= {
                "S3DataType": "AugmentedManifestFile", "AttributeNames": list(data.attributes),
            }  # fmt: skip
            yield channel | {"RecordWrapperType": "RecordIO"}
            continue
        prefix = channel_prefix(url)
        yield _channel(name, prefix, data.content_type, spec.input_mode)
        if data.kind == "images":
            beside = f"{prefix[:-1]}_annotation/"
            yield _channel(f"{name}_annotation", beside, data.content_type, spec.input_mode)
    for name, url in (("model", spec.model), ("pretrained", spec.pretrained)):
        if url is not None:
            yield _channel(name, url, MODEL, "File")


def _channel(name: str, url: str, content_type: str, input_mode: str) -> Request:
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": url,
                "S3DataDistributionType": "FullyReplicated",
            }
        },
        "ContentType": content_type,
        "InputMode": input_mode,
    }
