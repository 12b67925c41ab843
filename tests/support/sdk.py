"""Run by the Python of an environment with SageMaker's official SDK: what its Estimator would send
for each of the jobs described on standard input, its requests for hosting, and its table of images,
as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3
import sagemaker
from sagemaker import image_uris
from sagemaker.async_inference import AsyncInferenceConfig
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.pytorch import PyTorch
from sagemaker.serverless import ServerlessInferenceConfig
from sagemaker.transformer import Transformer
from sagemaker.tuner import (
    CategoricalParameter,
    ContinuousParameter,
    HyperparameterTuner,
    IntegerParameter,
)


def sent(job: dict[str, Any]) -> dict[str, Any]:
    session = boto3.Session("x", "x", region_name="us-east-1")
    client = session.client("sagemaker")
    request: dict[str, Any] = {}
    client.create_training_job = client.create_hyper_parameter_tuning_job = request.update
    kind = PyTorch if "entry_point" in job["estimator"] else Estimator
    estimator = kind(
        sagemaker_session=sagemaker.Session(session, client, default_bucket="bucket"),
        debugger_hook_config=False,
        disable_profiler=True,
        **job["estimator"],
    )
    channels = {name: TrainingInput(**channel) for name, channel in job["channels"].items()}
    if "tuning" not in job:
        estimator.fit(channels, wait=False, logs=False, job_name=job["name"])
        return request
    kinds = {"Continuous": ContinuousParameter, "Integer": IntegerParameter}
    ranges = {
        name: kinds[kind](low, high, scaling)
        for name, (kind, low, high, scaling) in job["tuning"]["numbers"].items()
    } | {name: CategoricalParameter(values) for name, values in job["tuning"]["lists"].items()}
    HyperparameterTuner(
        estimator, job["tuning"]["metric"], ranges, max_jobs=job["tuning"]["jobs"],
        max_parallel_jobs=job["tuning"]["parallel"], tags=job["estimator"].get("tags"),
    ).fit(channels, job_name=job["name"], wait=False)  # fmt: skip
    return request


def hosted() -> list[dict[str, Any]]:
    """Requests by operation: an endpoint with everything, a serverless and an asynchronous one, a
    batch job."""
    session = boto3.Session("x", "x", region_name="us-east-1")
    client = session.client("sagemaker")
    found: list[dict[str, Any]] = []

    def kept(operation: str) -> Any:
        def call(**request: Any) -> dict[str, str]:
            found[-1][operation] = request
            return {"EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e"}

        return call

    for kind in ("model", "endpoint_config", "endpoint", "transform_job"):
        setattr(client, f"create_{kind}", kept(kind))
    clients = sagemaker.Session(session, client, default_bucket="bucket")
    tags = [{"Key": "team", "Value": "vision"}]
    network = {
        "vpc_config": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        "enable_network_isolation": True,
    }
    machine: dict[str, Any] = {"initial_instance_count": 2, "instance_type": "ml.m5.xlarge"}
    later = AsyncInferenceConfig("s3://b/o/", failure_path="s3://b/o/failed/", kms_key_id="out")
    for model, options in (
        (network, machine | {"kms_key": "disk", "tags": tags}),
        ({}, {"serverless_inference_config": ServerlessInferenceConfig(2048, 7)}),
        ({}, machine | {"async_inference_config": later}),
    ):
        found.append({})
        Model(
            image_uri="image", model_data="s3://b/model.tar.gz", name="m",
            role="arn:aws:iam::1:role/R", sagemaker_session=clients, **model,
        ).deploy(endpoint_name="e", wait=False, **options)  # fmt: skip
    found.append({})
    Transformer(
        "m", 2, "ml.m5.xlarge", output_path="s3://b/o/", assemble_with="None", max_payload=6,
        output_kms_key="out", volume_kms_key="disk", tags=tags, sagemaker_session=clients,
    ).transform(
        "s3://b/i/", content_type="application/x-image", compression_type="None",
        split_type="None", job_name="t", wait=False, logs=False,
    )  # fmt: skip
    return found


images = {
    name: {
        region: image_uris.retrieve(name, region)
        for region in image_uris.config_for_framework(name)["versions"]["1"]["registries"]
    }
    for name in ("object-detection", "image-classification")
}
table = image_uris.config_for_framework("pytorch")["training"]["versions"]["2.8.0"]
pytorch = {
    region: [
        image_uris.retrieve(
            "pytorch", region, version="2.8.0", py_version="py312", instance_type=kind,
            image_scope="training",
        )
        for kind in ("ml.g5.xlarge", "ml.p3.2xlarge", "ml.m5.xlarge")
    ]
    for region in table["registries"]
}  # fmt: skip
answer = {"pytorch": pytorch, "sent": [sent(job) for job in json.load(sys.stdin)], "images": images}
print(json.dumps(answer | {"hosted": hosted()}))
