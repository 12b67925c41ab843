"""What is sent is what SageMaker's official SDK sends for the same job, field by field."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.train.test_request import KEY, PARAMETERS, SPEC
from train.images import ACCOUNTS, image_uri
from train.request import Network, TrainingSpec, prefix, training_request

SCRIPT = Path(__file__).parents[1] / "support" / "sdk.py"


def sdk(spec: TrainingSpec, **more: Any) -> dict[str, Any]:
    """What the SDK's Estimator sends, and its images by region."""
    python = os.environ.get("RECPACK_SDK_PYTHON")
    if not python:
        pytest.skip("no SageMaker SDK here: make test sets RECPACK_SDK_PYTHON")
    estimator = {
        "image_uri": spec.image, "role": spec.role, "instance_count": spec.instance_count,
        "instance_type": spec.instance_type, "volume_size": spec.volume_gb,
        "max_run": spec.max_run, "input_mode": spec.input_mode, "output_path": spec.output,
        "hyperparameters": spec.hyperparameters.texts(),
    } | more  # fmt: skip
    channels = {"train": prefix(spec.train), "validation": prefix(spec.validation)}
    run = subprocess.run(
        [python, SCRIPT],
        input=json.dumps({"estimator": estimator, "channels": channels, "name": spec.job_name}),
        capture_output=True, text=True, check=True,
        env=os.environ | {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"},
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


def test_an_initial_job_and_the_images() -> None:
    found = sdk(SPEC)
    assert training_request(SPEC) == found["sent"]
    assert {region: image_uri(region) for region in ACCOUNTS} == found["images"]


def test_an_incremental_job() -> None:
    spec = replace(SPEC, model="s3://bucket/prod/output/voc-0/output/model.tar.gz")
    sent = sdk(spec, model_uri=spec.model, model_channel_name="model")["sent"]
    assert training_request(spec) == sent


def test_everything_else() -> None:
    spec = replace(
        SPEC, input_mode="Pipe", spot=True, max_run=3600, max_wait=7200,
        checkpoints="s3://bucket/checkpoints/", tags={"team": "vision"},
        instance_type="ml.p3.2xlarge", instance_count=2,
        hyperparameters=replace(PARAMETERS, kv_store="dist_sync"),
        network=Network(
            subnets=["subnet-1"], security_groups=["sg-1"], volume_kms_key=KEY,
            output_kms_key=KEY, encrypt_traffic=True, isolated=True,
        ),
    )  # fmt: skip
    sent = sdk(
        spec, use_spot_instances=True, max_wait=7200, checkpoint_s3_uri=spec.checkpoints,
        tags=[{"Key": "team", "Value": "vision"}], subnets=["subnet-1"],
        security_group_ids=["sg-1"], volume_kms_key=KEY, output_kms_key=KEY,
        encrypt_inter_container_traffic=True, enable_network_isolation=True,
    )["sent"]  # fmt: skip
    assert training_request(spec) == sent
