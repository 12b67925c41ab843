from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.botomodel import enum, faults
from train.errors import SpecError
from train.hyperparameters import Hyperparameters
from train.machines import DISKS
from train.request import (
    Network,
    endpoint_config_request,
    endpoint_request,
    model_request,
    transform_request,
)
from train.spec import Data, TrainingSpec, channel_prefix, training_request

pytestmark = pytest.mark.once

ROLE = "arn:aws:iam::123456789012:role/service-role/Training"
IMAGE = "811284229777.dkr.ecr.us-east-1.amazonaws.com/object-detection:1"
PARAMETERS = Hyperparameters(num_classes=20, num_training_samples=16551, label_width=352)
SPEC = TrainingSpec(
    job_name="voc-1", role=ROLE, image=IMAGE, train="s3://bucket/prod/train/train.rec",
    validation="s3://bucket/prod/validation", output="s3://bucket/prod/output",
    hyperparameters=PARAMETERS,
)  # fmt: skip
KEY = "arn:aws:kms:us-east-1:123456789012:key/0a1b"
NETWORK = Network(
    subnets=["subnet-1"], security_groups=["sg-1"], volume_kms_key=KEY, output_kms_key=KEY,
    encrypt_traffic=True, isolated=True,
)  # fmt: skip


def test_the_request_of_a_plain_job() -> None:
    request = training_request(SPEC)
    assert faults("sagemaker", "CreateTrainingJob", request) == []
    train, validation = request["InputDataConfig"]
    assert train == {
        "ChannelName": "train",
        "DataSource": {"S3DataSource": {
            "S3DataType": "S3Prefix", "S3Uri": "s3://bucket/prod/train/",
            "S3DataDistributionType": "FullyReplicated",
        }},
        "ContentType": "application/x-recordio", "InputMode": "File",
    }  # fmt: skip
    source = validation["DataSource"]["S3DataSource"]
    assert source["S3Uri"] == "s3://bucket/prod/validation/"
    assert request["HyperParameters"]["label_width"] == "352"
    assert request["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"
    assert not {"VpcConfig", "Tags", "EnableManagedSpotTraining"} & request.keys()


def test_incremental_spot_pipe_and_everything_else() -> None:
    spec = replace(
        SPEC, model="s3://bucket/prod/output/voc-0/output/model.tar.gz", input_mode="Pipe",
        spot=True, max_run=3600, max_wait=7200, checkpoints="s3://bucket/checkpoints/",
        tags={"team": "vision"}, network=NETWORK, instance_type="ml.p3.2xlarge",
        instance_count=2, hyperparameters=replace(PARAMETERS, kv_store="dist_sync"),
    )  # fmt: skip
    request = training_request(spec)
    assert faults("sagemaker", "CreateTrainingJob", request) == []
    *data, model = request["InputDataConfig"]
    assert [channel["InputMode"] for channel in data] == ["Pipe", "Pipe"]
    assert model["ContentType"] == "application/x-sagemaker-model"
    assert model["InputMode"] == "File"
    assert model["DataSource"]["S3DataSource"]["S3Uri"] == spec.model
    assert request["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200,
    }  # fmt: skip
    assert request["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert request["ResourceConfig"]["VolumeKmsKeyId"] == KEY
    assert request["OutputDataConfig"]["KmsKeyId"] == KEY
    assert request["Tags"] == [{"Key": "team", "Value": "vision"}]
    own_disk = training_request(replace(spec, instance_type="ml.g4dn.xlarge"))
    assert "VolumeKmsKeyId" not in own_disk["ResourceConfig"]
    assert training_request(replace(spec, max_wait=None))["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"job_name": "-a"}, "job_name"),
        ({"job_name": "a_b"}, "job_name"),
        ({"job_name": "a" * 64}, "job_name"),
        ({"instance_type": "ml.m5.xlarge"}, "instance_type: ml.m5.xlarge has no GPU"),
        ({"instance_type": "ml.c5.9xlarge"}, "no GPU"),
        ({"input_mode": "FastFile"}, "File or Pipe"),
        ({"instance_count": 2}, "kv_store: missing; 2 instances need dist_sync or dist_async"),
        ({"instance_count": 0}, "instance_count: must be at least 1"),
        ({"train": "/data/train.rec"}, "train: '/data/train.rec'; write s3://"),
        ({"model": "s3://bucket/model"}, "model: s3://bucket/model; give a model.tar.gz"),
        ({"spot": True, "max_run": 10, "max_wait": 9}, "max_wait: 9 s is less than"),
        ({"max_wait": 99}, "only for spot"),
        ({"network": Network(subnets=["subnet-1"])}, "give both subnets"),
    ],
)
def test_jobs_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(SPEC, **changes)


def test_every_type_of_the_algorithms_families_is_taken() -> None:
    families = [f"ml.{name}." for name in ("p2", "p3", "g4dn", "g5")]
    types = enum("sagemaker", "TrainingInstanceType")
    assert sorted(DISKS) == sorted(name for name in types if name.startswith(tuple(families)))


def test_another_container_takes_other_types() -> None:
    own = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
    assert replace(SPEC, image=own, instance_type="ml.g6.xlarge").instance_type == "ml.g6.xlarge"


def test_numbers_of_numpy_are_sent_as_numbers() -> None:
    request = training_request(replace(SPEC, volume_gb=np.int64(60), max_run=np.int32(900)))
    assert type(request["ResourceConfig"]["VolumeSizeInGB"]) is int
    assert type(request["StoppingCondition"]["MaxRuntimeInSeconds"]) is int


@pytest.mark.parametrize("kind", ["images", "augmented"])
def test_channels_without_a_rec(kind: str) -> None:
    spec = {
        "images": replace(SPEC, data=Data("images", "image/png"), validation="s3://bucket/val"),
        "augmented": replace(
            SPEC, data=Data("augmented", attributes=("source-ref", "boxes")), input_mode="Pipe",
            train="s3://bucket/a.manifest", validation="s3://bucket/b.manifest",
        ),
    }[kind]  # fmt: skip
    request = training_request(spec)
    assert faults("sagemaker", "CreateTrainingJob", request) == []
    names = [channel["ChannelName"] for channel in request["InputDataConfig"]]
    assert names == {
        "images": ["train", "train_annotation", "validation", "validation_annotation"],
        "augmented": ["train", "validation"],
    }[kind]  # fmt: skip
    with pytest.raises(SpecError, match="images with JSON files are read in File mode only"):
        replace(SPEC, data=Data("images"), input_mode="Pipe")


@pytest.mark.parametrize(
    "kind", ["ml.p2.xlarge", "ml.p3.16xlarge", "ml.g4dn.xlarge", "ml.g5.2xlarge"]
)
def test_gpu_types_are_taken(kind: str) -> None:
    request = training_request(replace(SPEC, instance_type=kind))
    assert faults("sagemaker", "CreateTrainingJob", request) == []


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("s3://b/p/train/train.rec", "s3://b/p/train/"),
        ("s3://b/p/train", "s3://b/p/train/"),
        ("s3://b/p/train/", "s3://b/p/train/"),
        ("s3://b/train.rec", "s3://b/"),
    ],
)
def test_prefixes_end_with_a_slash(place: str, expected: str) -> None:
    assert channel_prefix(place) == expected


def test_hosting_and_batch_requests() -> None:
    tags = {"team": "vision"}
    model = model_request("m", ROLE, IMAGE, "s3://b/model.tar.gz", tags=tags, network=NETWORK)
    config = endpoint_config_request("c", "m", tags=tags, network=NETWORK)
    endpoint = endpoint_request("e", "c", tags=tags)
    transform = transform_request("t", "m", "s3://b/images/", "s3://b/out/", tags=tags)
    for operation, request in (
        ("CreateModel", model),
        ("CreateEndpointConfig", config),
        ("CreateEndpoint", endpoint),
        ("CreateTransformJob", transform),
    ):
        assert faults("sagemaker", operation, request) == []
        assert request["Tags"] == [{"Key": "team", "Value": "vision"}]
    assert "VpcConfig" in model
    assert config["KmsKeyId"] == KEY
    assert "Tags" not in endpoint_request("e", "c")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("TrainingJobName",), "a_b"),
        (("RoleArn",), "me"),
        (("ResourceConfig", "InstanceType"), "ml.nonsense"),
        (("ResourceConfig", "InstanceCount"), -1),
        (("StoppingCondition", "MaxRuntimeInSeconds"), 0),
        (("OutputDataConfig", "S3OutputPath"), "http://x"),
        (("HyperParameters", "epochs"), 5),
        (("Nonsense",), 1),
    ],
)
def test_the_comparison_with_botocores_model_can_fail(place: tuple[str, ...], value: Any) -> None:
    request = training_request(SPEC)
    inner = request
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    assert faults("sagemaker", "CreateTrainingJob", request)
