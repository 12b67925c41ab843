"""recpack's own algorithm in AWS's PyTorch container, which runs a script that it is given ("script
mode"): what is sent, and what the container is told.

Sources: ``Framework`` and ``PyTorch`` of the official SDK 2.x, with which a test compares requests;
aws/sagemaker-training-toolkit, ``modules`` (the requirements are installed in the folder of the
script) and ``process``, which joins the hyperparameters into one line for a shell, unquoted.
"""

from __future__ import annotations

import gzip
import io
import json
import shlex
import tarfile
from collections.abc import Mapping

from .request import Request
from .wheel import build_wheel

PROGRAM = "recpack_entry.py"  # a train.py would hide the package of this name
_ENTRY = '''\
"""Runs recpack's training in a container. The hyperparameters are in files, not in arguments."""

from train.ssd.container import main

if __name__ == "__main__":
    raise SystemExit(main(["train"]))
'''
_LOG_LEVEL = "20"
_LOSS = r"#quality_metric: host=\S+, epoch=\S+, batch=\S+ train {} <loss>=\(?([^\s()]+)"
METRICS = {
    "train:smooth_l1": _LOSS.format("smooth_l1"),
    "train:cross_entropy": _LOSS.format("cross_entropy"),
    "train:throughput": r"#throughput_metric: host=\S+, train throughput=\(?([^\s()]+)",
    "train:progress": r"#progress_metric: host=\S+, completed \(?([^\s()]+)\)? %",
    "validation:mAP": r"#quality_metric: host=\S+, epoch=\S+, validation mAP <score>=\(?([^\s()]+)",
}
"""The built-in algorithm's metrics and the lines that have them, so that the console shows them."""


def source_url(output: str, job_name: str) -> str:
    """Where the program of a job is."""
    return f"{output.rstrip('/')}/{job_name}/source/sourcedir.tar.gz"


def script_request(request: Request, region: str) -> Request:
    """The arguments of ``create_training_job`` for the same job in the PyTorch container."""
    name = request["TrainingJobName"]
    own = {
        "sagemaker_submit_directory": json.dumps(
            source_url(request["OutputDataConfig"]["S3OutputPath"], name)
        ),
        "sagemaker_program": json.dumps(PROGRAM),
        "sagemaker_container_log_level": _LOG_LEVEL,
        "sagemaker_job_name": json.dumps(name),
        "sagemaker_region": json.dumps(region),
    }
    metrics = [{"Name": name, "Regex": regex} for name, regex in METRICS.items()]
    parameters = {name: _encoded(text) for name, text in request["HyperParameters"].items()}
    algorithm = request["AlgorithmSpecification"] | {
        "MetricDefinitions": metrics,
        "EnableSageMakerMetricsTimeSeries": True,
    }
    return request | {"AlgorithmSpecification": algorithm, "HyperParameters": parameters | own}


def _encoded(text: str) -> str:
    """JSON; a text that a shell would read otherwise is quoted for one."""
    try:
        if isinstance(json.loads(text), (int, float)):
            return text
    except ValueError:
        pass
    return json.dumps(shlex.quote(text))


def decoded(hyperparameters: Mapping[str, str]) -> dict[str, str]:
    """The hyperparameters of such a job as the built-in algorithm's are written."""
    return {name: _decoded(text) for name, text in hyperparameters.items()}


def _decoded(text: str) -> str:
    try:
        value = json.loads(text)
        if not isinstance(value, str):
            return str(value)
        return shlex.split(value)[0] if value.startswith("'") and value.endswith("'") else value
    except (ValueError, RecursionError):  # a tuning sends its values bare
        return text


def is_ours(hyperparameters: Mapping[str, str]) -> bool:
    """Whether a job's hyperparameters are those of a job in this mode."""
    return hyperparameters.get("sagemaker_program") == json.dumps(PROGRAM)


def source() -> bytes:
    """The ``sourcedir.tar.gz``: script, requirements, wheel; the same bytes for the same recpack.
    Raises SpecError."""
    wheel, data = build_wheel()
    files = {PROGRAM: _ENTRY.encode(), "requirements.txt": f"./{wheel}\n".encode(), wheel: data}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)  # of 1970, and nobody's
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)
