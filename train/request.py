"""Descriptions of models and endpoints → arguments of boto3's calls (pure); ``spec`` has those of
training jobs.

Fields: the SageMaker API reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import UsageError

INFERENCE_TYPE = "ml.m5.xlarge"

_TAG = re.compile(r"[\w\s.:/=+\-@]*")
OWN_DISK = re.compile(r"ml\.(g4dn|g5|g6|p4d|p4de|p5)[a-z]*\.")

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
    return request | network.vpc() | tags_of(tags or {})


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
    if network.volume_kms_key and not OWN_DISK.match(instance_type):
        request["KmsKeyId"] = network.volume_kms_key
    if results is not None:
        prefix = as_folder(results)
        output = {"S3OutputPath": prefix, "S3FailurePath": f"{prefix}failed/"}
        if network.output_kms_key:
            output["KmsKeyId"] = network.output_kms_key
        request["AsyncInferenceConfig"] = {"OutputConfig": output}
    return request | tags_of(tags or {})


def endpoint_request(
    name: str, config_name: str, *, tags: Mapping[str, str] | None = None
) -> Request:
    """The arguments of ``create_endpoint``."""
    return {"EndpointName": name, "EndpointConfigName": config_name} | tags_of(tags or {})


def as_folder(url: str) -> str:
    """An S3 prefix with ``/`` at its end, so that its siblings are not meant."""
    return url if url.endswith("/") else url + "/"


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
    if network.volume_kms_key and not OWN_DISK.match(instance_type):
        resources["VolumeKmsKeyId"] = network.volume_kms_key
    return {
        "TransformJobName": name,
        "ModelName": model_name,
        "MaxPayloadInMB": most_mb,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": as_folder(images)}},
            "ContentType": content_type,
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": result,
        "TransformResources": resources,
    } | tags_of(tags or {})


def tag_faults(tags: Mapping[str, str]) -> Iterator[str]:
    """What the service would not take as tags."""
    if len(tags) > 50:
        yield f"tags: {len(tags)}; at most 50"
    for key, value in tags.items():
        good = _TAG.fullmatch(key) and _TAG.fullmatch(value) and not key.lower().startswith("aws:")
        if not good or not 1 <= len(key) <= 128 or len(value) > 256:
            yield (
                f"tag: {key!r}={value!r}; use letters, digits, spaces and . : / = + - @ _, at most "
                "128 and 256 characters, and no name that begins with aws:"
            )


def tags_of(tags: Mapping[str, str]) -> Request:
    """The part of a request with tags; empty without. Raises UsageError."""
    if wrong := list(tag_faults(tags)):
        raise UsageError("\n".join(wrong))
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]} if tags else {}
