"""Descriptions of jobs, models and endpoints → arguments of boto3's calls (pure).

Fields: the SageMaker API reference. Channels and content types: AWS developer guide, "Input/Output
Interface for the Object Detection Algorithm" and "Incremental Training".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import UsageError
from .hyperparameters import Hyperparameters

RECORDIO = "application/x-recordio"
MODEL = "application/x-sagemaker-model"

TRAINING_TYPE = "ml.g5.xlarge"
INFERENCE_TYPE = "ml.m5.xlarge"

_JOB_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_GPU = re.compile(r"ml\.(p[2-6]|g[4-7])[a-z0-9-]*\.\w+")
_OWN_DISK = re.compile(r"ml\.(g4dn|g5|g6|p4d|p4de|p5)[a-z]*\.")

Request = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Network:
    """Network and encryption: VPC ``subnets`` and ``security_groups``, KMS keys for the instances'
    disks and for the output."""

    subnets: Sequence[str] = ()
    security_groups: Sequence[str] = ()
    volume_kms_key: str | None = None
    output_kms_key: str | None = None
    encrypt_traffic: bool = False
    isolated: bool = False

    def vpc(self) -> Request:
        """The VPC part of a request; empty without subnets."""
        if not self.subnets:
            return {}
        return {
            "VpcConfig": {
                "Subnets": list(self.subnets),
                "SecurityGroupIds": list(self.security_groups),
            }
        }


def _setting(default: Any, help: str, metavar: str | None = None) -> Any:
    return field(default=default, metadata={"help": help, "metavar": metavar})


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how long a job runs. ``volume_gb`` in GB, ``max_run`` and ``max_wait`` in seconds.
    ``max_wait`` is only for ``spot`` and includes waiting and running. The command line makes its
    options from these fields."""

    instance_type: str = _setting(TRAINING_TYPE, "machine type, with a GPU", "T")
    instance_count: int = _setting(1, "number of machines", "N")
    volume_gb: int = _setting(50, "disk of each machine in GB", "N")
    max_run: int = _setting(24 * 3600, "seconds after which the job is stopped", "SECONDS")
    input_mode: Literal["File", "Pipe"] = _setting("File", "how the machine gets the data")
    spot: bool = _setting(False, "use spot instances: cheaper, can be paused")
    max_wait: int | None = _setting(None, "seconds for a spot job, waiting included", "SECONDS")
    checkpoints: str | None = _setting(None, "where the state of a paused job is kept", "s3://…/")


@dataclass(frozen=True, kw_only=True)
class TrainingSpec(Machine):
    """A training job. ``train`` and ``validation`` are S3 prefixes with one ``.rec`` each,
    ``model`` the ``model.tar.gz`` to continue from, ``output`` a prefix. Raises UsageError that
    lists everything that is wrong."""

    job_name: str
    role: str
    image: str
    train: str
    validation: str
    output: str
    hyperparameters: Hyperparameters
    model: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    network: Network = Network()

    def __post_init__(self) -> None:
        wrong = []
        if not _JOB_NAME.fullmatch(self.job_name):
            wrong.append(
                f"job_name: {self.job_name!r}; use at most 63 letters, digits and inner hyphens"
            )
        if not _GPU.fullmatch(self.instance_type):
            wrong.append(
                f"instance_type: {self.instance_type} has no GPU, which this algorithm needs; use "
                f"{TRAINING_TYPE}"
            )
        if self.input_mode not in ("File", "Pipe"):
            wrong.append(f"input_mode: {self.input_mode}; use File or Pipe")
        if self.instance_count > 1 and self.hyperparameters.kv_store is None:
            wrong.append(
                f"kv_store: missing; {self.instance_count} instances need dist_sync or dist_async "
                "to train one model"
            )
        for name, least in (("instance_count", 1), ("volume_gb", 1), ("max_run", 1)):
            if getattr(self, name) < least:
                wrong.append(f"{name}: must be at least {least} (got {getattr(self, name)})")
        for name in ("train", "validation", "output", "model", "checkpoints"):
            url = getattr(self, name)
            if url is not None and not re.fullmatch(r"s3://[^/]+/?.*", url):
                wrong.append(f"{name}: {url!r}; write s3://bucket/…")
        if self.model is not None and not self.model.endswith(".tar.gz"):
            wrong.append(f"model: {self.model}; give a model.tar.gz")
        if self.spot and self.max_wait is not None and self.max_wait < self.max_run:
            wrong.append(
                f"max_wait: {self.max_wait} s is less than max_run, {self.max_run} s; give more"
            )
        if not self.spot and self.max_wait is not None:
            wrong.append("max_wait: only for spot instances; add spot or leave it out")
        if bool(self.network.subnets) != bool(self.network.security_groups):
            wrong.append("network: give both subnets and security_groups, or none of them")
        if wrong:
            raise UsageError("\n".join(wrong))


def training_request(spec: TrainingSpec) -> Request:
    """The arguments of ``create_training_job``."""
    channels = [
        _channel("train", channel_prefix(spec.train), RECORDIO, spec.input_mode),
        _channel("validation", channel_prefix(spec.validation), RECORDIO, spec.input_mode),
    ]
    if spec.model is not None:
        channels.append(_channel("model", spec.model, MODEL, "File"))
    resources: Request = {
        "InstanceCount": spec.instance_count,
        "InstanceType": spec.instance_type,
        "VolumeSizeInGB": spec.volume_gb,
    }
    # machines of these types have built-in disks with their own key
    if spec.network.volume_kms_key and not _OWN_DISK.match(spec.instance_type):
        resources["VolumeKmsKeyId"] = spec.network.volume_kms_key
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
        "InputDataConfig": channels,
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
    return request | spec.network.vpc() | _tags(spec.tags)


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


def channel_prefix(url: str) -> str:
    """A channel's prefix; for a ``.rec`` it is the folder. It ends with ``/``, because the service
    takes every key that begins with it."""
    if url.endswith(".rec"):
        return url.rpartition("/")[0] + "/"
    return url if url.endswith("/") else url + "/"


def model_request(
    name: str,
    role: str,
    image: str,
    model: str,
    *,
    tags: Mapping[str, str] | None = None,
    network: Network | None = None,
) -> Request:
    """The arguments of ``create_model``; ``model`` is a ``model.tar.gz``."""
    network = network or Network()
    request: Request = {
        "ModelName": name,
        "ExecutionRoleArn": role,
        "PrimaryContainer": {"Image": image, "ModelDataUrl": model},
    }
    if network.isolated:
        request["EnableNetworkIsolation"] = True
    return request | network.vpc() | _tags(tags or {})


def endpoint_config_request(
    name: str,
    model_name: str,
    *,
    instance_type: str = INFERENCE_TYPE,
    instance_count: int = 1,
    serverless: tuple[int, int] | None = None,
    results: str | None = None,
    tags: Mapping[str, str] | None = None,
    network: Network | None = None,
) -> Request:
    """The arguments of ``create_endpoint_config``. ``serverless``: megabytes of memory and most
    calls at once, in the place of instances; ``results``: the S3 prefix of an asynchronous one."""
    network = network or Network()
    variant: Request = {
        "VariantName": "AllTraffic",
        "ModelName": model_name,
        "InitialVariantWeight": 1,
    }
    if serverless is not None:
        memory, concurrency = serverless
        variant["ServerlessConfig"] = {"MemorySizeInMB": memory, "MaxConcurrency": concurrency}
    else:
        variant |= {"InitialInstanceCount": instance_count, "InstanceType": instance_type}
    request: Request = {"EndpointConfigName": name, "ProductionVariants": [variant]}
    if network.volume_kms_key and not _OWN_DISK.match(instance_type):
        request["KmsKeyId"] = network.volume_kms_key
    if results is not None:
        prefix = channel_prefix(results)
        output = {"S3OutputPath": prefix, "S3FailurePath": f"{prefix}failed/"}
        if network.output_kms_key:
            output["KmsKeyId"] = network.output_kms_key
        request["AsyncInferenceConfig"] = {"OutputConfig": output}
    return request | _tags(tags or {})


def endpoint_request(
    name: str, config_name: str, *, tags: Mapping[str, str] | None = None
) -> Request:
    """The arguments of ``create_endpoint``."""
    return {"EndpointName": name, "EndpointConfigName": config_name} | _tags(tags or {})


def transform_request(
    name: str,
    model_name: str,
    images: str,
    output: str,
    *,
    content_type: str = "application/x-image",
    most_mb: int = 6,
    instance_type: str = INFERENCE_TYPE,
    instance_count: int = 1,
    tags: Mapping[str, str] | None = None,
    network: Network | None = None,
) -> Request:
    """The arguments of ``create_transform_job``: one image, of at most ``most_mb`` megabytes, per
    object below ``images``. The service takes every key that begins with the prefix, so it ends
    with ``/``."""
    network = network or Network()
    result: Request = {"S3OutputPath": output, "AssembleWith": "None"}
    if network.output_kms_key:
        result["KmsKeyId"] = network.output_kms_key
    resources: Request = {"InstanceType": instance_type, "InstanceCount": instance_count}
    if network.volume_kms_key and not _OWN_DISK.match(instance_type):
        resources["VolumeKmsKeyId"] = network.volume_kms_key
    return {
        "TransformJobName": name,
        "ModelName": model_name,
        "MaxPayloadInMB": most_mb,
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": channel_prefix(images)}
            },
            "ContentType": content_type,
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": result,
        "TransformResources": resources,
    } | _tags(tags or {})


def _tags(tags: Mapping[str, str]) -> Request:
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]} if tags else {}
