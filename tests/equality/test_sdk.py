"""What is sent is what SageMaker's official SDK sends for the same job, field by field."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.train.test_request import KEY, PARAMETERS, SPEC
from train.classification import ClassHyperparameters
from train.images import ACCOUNTS, PYTORCH_ACCOUNTS, image_uri, pytorch_image_uri
from train.kinds import REPOSITORIES
from train.planning import Plan
from train.records import Trained
from train.request import (
    Network,
    Request,
    endpoint_config_request,
    endpoint_request,
    model_request,
    transform_request,
)
from train.script_mode import METRICS, PROGRAM, source_url
from train.service import Service
from train.spec import MODEL, Data, TrainingSpec, channel_prefix
from train.tuning import TuningPlan

pytestmark = pytest.mark.once

SCRIPT = Path(__file__).parents[1] / "support" / "sdk.py"

GOING_ON = replace(SPEC, model="s3://bucket/prod/output/voc-0/output/model.tar.gz")
EVERYTHING = replace(
    SPEC, input_mode="Pipe", spot=True, max_run=3600, max_wait=7200,
    checkpoints="s3://bucket/checkpoints/", tags={"team": "vision"},
    instance_type="ml.p3.2xlarge", instance_count=2,
    hyperparameters=replace(PARAMETERS, kv_store="dist_sync"),
    network=Network(
        subnets=["subnet-1"], security_groups=["sg-1"], volume_kms_key=KEY,
        output_kms_key=KEY, encrypt_traffic=True, isolated=True,
    ),
)  # fmt: skip
WARM = replace(SPEC, keep_alive=600)
IMAGES = replace(SPEC, data=Data("images", "image/jpeg"), validation="s3://bucket/prod/val")
AUGMENTED = replace(
    SPEC, data=Data("augmented", attributes=("source-ref", "bounding-box")), input_mode="Pipe",
    train="s3://bucket/train.manifest", validation="s3://bucket/val.manifest",
)  # fmt: skip
SCRIPT_MODE = replace(
    SPEC, algorithm="pytorch", pretrained="s3://bucket/weights/vgg16.params",
    image=pytorch_image_uri("us-east-1", SPEC.instance_type),
    hyperparameters=replace(
        PARAMETERS, freeze_layer_pattern="^(conv1|conv2)_", learning_rate=1e-5,
        lr_scheduler_step="9,20",
    ),
)  # fmt: skip
SCRIPT_MODE_EVERYTHING = replace(
    EVERYTHING, algorithm="pytorch", model=GOING_ON.model, input_mode="File",
    image=pytorch_image_uri("us-east-1", "ml.m5.xlarge"), instance_type="ml.m5.xlarge",
    network=replace(EVERYTHING.network, isolated=False), output="s3://bucket/prod/output/",
)  # fmt: skip
CLASSES = replace(
    SPEC, image=image_uri("us-east-1", "classification"), train="s3://bucket/photos/train/train.rec",
    hyperparameters=ClassHyperparameters(
        num_classes=3, num_training_samples=900, use_pretrained_model=1, num_layers=50, top_k=2,
        resize=256, augmentation_type="crop_color", learning_rate=0.001, early_stopping=True,
        precision_dtype="float16", checkpoint_frequency=5, lr_scheduler_step="10,20",
    ),
)  # fmt: skip
CLASSES_GOING_ON = replace(
    CLASSES, model=GOING_ON.model, input_mode="Pipe",
    hyperparameters=ClassHyperparameters(
        num_classes=3, num_training_samples=900, multi_label=1, use_weighted_loss=1,
        image_shape="1,28,28", num_layers=20, optimizer="nag",
    ),
)  # fmt: skip
RANGES = {"learning_rate": "0.0001..0.01", "mini_batch_size": "8..64", "optimizer": "sgd,adam"}
TUNING = TuningPlan(
    Plan(replace(EVERYTHING, checkpoints=None), Trained((), {}), Service()), RANGES, 20, 4
)

CLASS_TUNING = TuningPlan(
    Plan(CLASSES, Trained((), {}), Service()),
    {"eps": "0.001..0.5", "mini_batch_size": "8..64", "optimizer": "sgd,nag"},
)

OF_CLASS_TUNING = {
    "tuning": {
        "metric": "validation:accuracy",
        "numbers": {"eps": ("Continuous", 0.001, 0.5, "Logarithmic"),
                    "mini_batch_size": ("Integer", 8, 64, "Linear")},
        "lists": {"optimizer": ["sgd", "nag"]}, "jobs": 10, "parallel": 2,
    }
}  # fmt: skip
OF_TUNING = {
    "tuning": {
        "metric": "validation:mAP",
        "numbers": {"learning_rate": ("Continuous", 0.0001, 0.01, "Logarithmic"),
                    "mini_batch_size": ("Integer", 8, 64, "Linear")},
        "lists": {"optimizer": ["sgd", "adam"]}, "jobs": 20, "parallel": 4,
    }
}  # fmt: skip
OF_EVERYTHING = {
    "use_spot_instances": True, "max_wait": 7200, "tags": [{"Key": "team", "Value": "vision"}],
    "subnets": ["subnet-1"], "security_group_ids": ["sg-1"], "volume_kms_key": KEY,
    "output_kms_key": KEY, "encrypt_inter_container_traffic": True,
    "enable_network_isolation": True,
}  # fmt: skip
JOBS: dict[str, tuple[TrainingSpec, dict[str, Any], dict[str, Any]]] = {
    "initial": (SPEC, {}, {}),
    "incremental": (GOING_ON, {"model_uri": GOING_ON.model, "model_channel_name": "model"}, {}),
    "everything": (
        EVERYTHING, OF_EVERYTHING | {"checkpoint_s3_uri": EVERYTHING.checkpoints}, {},
    ),
    "warm pool": (WARM, {"keep_alive_period_in_seconds": 600}, {}),
    "images": (IMAGES, {}, {}),
    "script mode": (SCRIPT_MODE, {}, {}),
    "script mode, everything": (
        SCRIPT_MODE_EVERYTHING,
        OF_EVERYTHING | {
            "checkpoint_s3_uri": EVERYTHING.checkpoints, "enable_network_isolation": False,
            "model_uri": GOING_ON.model, "model_channel_name": "model",
        },
        {},
    ),
    "augmented manifest": (AUGMENTED, {}, {}),
    "image classification": (CLASSES, {}, {}),
    "image classification, incremental": (
        CLASSES_GOING_ON, {"model_uri": GOING_ON.model, "model_channel_name": "model"}, {},
    ),
    "tuning": (TUNING.plan.spec, OF_EVERYTHING, OF_TUNING),
    "tuning of image classification": (CLASSES, {}, OF_CLASS_TUNING),
}  # fmt: skip
"""Jobs, and what the SDK's Estimator is told beside what all are made of; and of a tuning."""


def described(spec: TrainingSpec, more: dict[str, Any], tuning: dict[str, Any]) -> dict[str, Any]:
    estimator = {
        "image_uri": spec.image, "role": spec.role, "instance_count": spec.instance_count,
        "instance_type": spec.instance_type, "volume_size": spec.volume_gb,
        "max_run": spec.max_run, "input_mode": spec.input_mode, "output_path": spec.output,
        "hyperparameters": spec.hyperparameters.as_strings(),
    } | more  # fmt: skip
    if spec.algorithm == "pytorch":
        estimator |= in_script_mode(spec)
        del estimator["image_uri"]
    common = {
        "distribution": "FullyReplicated", "content_type": spec.data.content_type,
        "s3_data_type": "S3Prefix", "input_mode": spec.input_mode,
    }  # fmt: skip
    channels = {}
    for name in ("train", "validation"):
        url = getattr(spec, name)
        if spec.data.kind == "augmented":
            channels[name] = common | {
                "s3_data": url, "s3_data_type": "AugmentedManifestFile",
                "record_wrapping": "RecordIO", "attribute_names": list(spec.data.attributes),
            }  # fmt: skip
            continue
        prefix = channel_prefix(url)
        channels[name] = common | {"s3_data": prefix}
        if spec.data.kind == "images":
            channels[f"{name}_annotation"] = common | {"s3_data": f"{prefix[:-1]}_annotation/"}
    if spec.pretrained is not None:
        channels["pretrained"] = {
            "s3_data": spec.pretrained, "content_type": MODEL, "s3_data_type": "S3Prefix",
            "input_mode": "File", "distribution": "FullyReplicated",
        }  # fmt: skip
    if tuning:
        estimator["output_path"] = f"{spec.output}/{spec.job_name}/"
    return {"estimator": estimator, "channels": channels, "name": spec.job_name} | tuning


def in_script_mode(spec: TrainingSpec) -> dict[str, Any]:
    """What the SDK's PyTorch estimator is told beside."""
    values = {
        name: value for name, value in vars(spec.hyperparameters).items() if value not in (None, "")
    }
    values |= {"early_stopping": "False"}
    if "freeze_layer_pattern" in values:
        values |= {"freeze_layer_pattern": "'^(conv1|conv2)_'"}  # for the container's shell
    return {
        "entry_point": PROGRAM, "framework_version": "2.8.0", "py_version": "py312",
        "source_dir": source_url(spec.output, spec.job_name), "hyperparameters": values,
        "metric_definitions": [{"Name": name, "Regex": regex} for name, regex in METRICS.items()],
    }  # fmt: skip


class Sdk(NamedTuple):
    """What the SDK's Estimator sends for each of JOBS, its images by region, those of PyTorch for
    three types of machines, and what it sends to host models."""

    sent: list[dict[str, Any]]
    images: dict[str, dict[str, str]]
    pytorch: dict[str, list[str]]
    hosted: list[dict[str, Any]]


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    """All in one process, whose imports take seconds."""
    python = os.environ.get("RECPACK_SDK_PYTHON")
    if not python:
        pytest.skip("no SageMaker SDK here: make test sets RECPACK_SDK_PYTHON")
    run = subprocess.run(
        [python, SCRIPT], input=json.dumps([described(*job) for job in JOBS.values()]),
        capture_output=True, text=True, check=True,
        env=os.environ | {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"},
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return Sdk(**answer)


@pytest.mark.parametrize("name", [name for name in JOBS if "tuning" not in name])
def test_a_job(sdk: Sdk, name: str) -> None:
    plan = Plan(JOBS[name][0], Trained((), {}), Service("us-east-1"))
    assert plan.request == sdk.sent[list(JOBS).index(name)]


def test_a_tuning(sdk: Sdk) -> None:
    for name, plan in (("tuning", TUNING), ("tuning of image classification", CLASS_TUNING)):
        assert plan.request == sdk.sent[list(JOBS).index(name)]


def test_the_images(sdk: Sdk) -> None:
    for kind, repository in REPOSITORIES.items():
        found = {region: image_uri(region, kind) for region in ACCOUNTS}
        assert found == sdk.images[repository]
    types = ("ml.g5.xlarge", "ml.p3.2xlarge", "ml.m5.xlarge")
    assert {
        region: [pytorch_image_uri(region, one) for one in types] for region in PYTORCH_ACCOUNTS
    } == sdk.pytorch


def endpoint(tags: dict[str, str], network: Network | None, **how: Any) -> dict[str, Request]:
    options: dict[str, Any] = {"tags": tags, "network": network}
    return {
        "model": model_request(
            "m", "arn:aws:iam::1:role/R", "image", "s3://b/model.tar.gz", **options
        ),
        "endpoint_config": endpoint_config_request("e", "m", **how, **options),
        "endpoint": endpoint_request("e", "e", tags=tags),
    }


def test_endpoints_and_batch_jobs(sdk: Sdk) -> None:
    tags = {"team": "vision"}
    network = Network(
        subnets=["subnet-1"], security_groups=["sg-1"], volume_kms_key="disk", isolated=True
    )
    keys = Network(volume_kms_key="disk", output_kms_key="out")
    batch = transform_request(
        "t", "m", "s3://b/i", "s3://b/o/", instance_count=2, tags=tags, network=keys
    )
    ours = [
        endpoint(tags, network, instance_count=2),
        endpoint({}, None, serverless=(2048, 7)),
        endpoint({}, Network(output_kms_key="out"), instance_count=2, results="s3://b/o"),
        {"transform_job": batch},
    ]
    for requests in sdk.hosted:  # what it sends although it is empty
        for request in requests.values():
            if not request.get("Tags"):
                request.pop("Tags", None)
            request.get("PrimaryContainer", {}).pop("Environment", None)
    assert ours == sdk.hosted
