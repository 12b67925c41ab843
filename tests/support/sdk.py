"""Run by the Python of an environment with SageMaker's official SDK: what its Estimator would send
for each of the jobs described on standard input, and its table of images, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3
import sagemaker
from sagemaker import image_uris
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
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
    estimator = Estimator(
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
        estimator, "validation:mAP", ranges, max_jobs=job["tuning"]["jobs"],
        max_parallel_jobs=job["tuning"]["parallel"], tags=job["estimator"].get("tags"),
    ).fit(channels, job_name=job["name"], wait=False)  # fmt: skip
    return request


table = image_uris.config_for_framework("object-detection")["versions"]["1"]["registries"]
images = {region: image_uris.retrieve("object-detection", region) for region in table}
print(json.dumps({"sent": [sent(job) for job in json.load(sys.stdin)], "images": images}))
