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
from train.images import ACCOUNTS, image_uri
from train.request import (
    Network,
    Request,
    endpoint_config_request,
    endpoint_request,
    model_request,
    transform_request,
)
from train.spec import TrainingSpec, channel_prefix, training_request

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
JOBS: list[tuple[TrainingSpec, dict[str, Any]]] = [
    (SPEC, {}),
    (GOING_ON, {"model_uri": GOING_ON.model, "model_channel_name": "model"}),
    (
        EVERYTHING,
        {
            "use_spot_instances": True, "max_wait": 7200,
            "checkpoint_s3_uri": EVERYTHING.checkpoints,
            "tags": [{"Key": "team", "Value": "vision"}], "subnets": ["subnet-1"],
            "security_group_ids": ["sg-1"], "volume_kms_key": KEY, "output_kms_key": KEY,
            "encrypt_inter_container_traffic": True, "enable_network_isolation": True,
        },
    ),
]  # fmt: skip
"""Jobs, and what the SDK is told beside what all are made of."""


def described(spec: TrainingSpec, more: dict[str, Any]) -> dict[str, Any]:
    estimator = {
        "image_uri": spec.image, "role": spec.role, "instance_count": spec.instance_count,
        "instance_type": spec.instance_type, "volume_size": spec.volume_gb,
        "max_run": spec.max_run, "input_mode": spec.input_mode, "output_path": spec.output,
        "hyperparameters": spec.hyperparameters.as_strings(),
    } | more  # fmt: skip
    channels = {"train": channel_prefix(spec.train), "validation": channel_prefix(spec.validation)}
    return {"estimator": estimator, "channels": channels, "name": spec.job_name}


class Sdk(NamedTuple):
    """What the SDK's Estimator sends for each of JOBS, its images by region, and what it sends to
    host models."""

    sent: list[dict[str, Any]]
    images: dict[str, str]
    hosted: list[dict[str, Any]]


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    """All in one process, whose imports take seconds."""
    python = os.environ.get("RECPACK_SDK_PYTHON")
    if not python:
        pytest.skip("no SageMaker SDK here: make test sets RECPACK_SDK_PYTHON")
    run = subprocess.run(
        [python, SCRIPT], input=json.dumps([described(*job) for job in JOBS]),
        capture_output=True, text=True, check=True,
        env=os.environ | {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"},
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return Sdk(**answer)


@pytest.mark.parametrize("number", range(len(JOBS)), ids=["initial", "incremental", "everything"])
def test_a_job(sdk: Sdk, number: int) -> None:
    assert training_request(JOBS[number][0]) == sdk.sent[number]


def test_the_images(sdk: Sdk) -> None:
    assert {region: image_uri(region) for region in ACCOUNTS} == sdk.images


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
