"""recpack's own algorithm in AWS's PyTorch container: what is sent, and that it can be installed.

What the official SDK sends is compared in ``tests/equality/test_sdk.py``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recpack import __version__
from tests.support.aws import ROLE, Aws, Fault
from tests.support.botomodel import faults
from tests.support.hosts import Typed
from tests.support.jobs import MODEL, OUTPUT, RECORD, fit
from tests.support.s3server import Blob, S3Server
from tests.train.test_request import PARAMETERS, SPEC
from train.errors import SpecError
from train.images import pytorch_image_uri
from train.planning import Plan
from train.records import Trained
from train.request import Network
from train.script_mode import METRICS, PROGRAM, decoded, source
from train.service import Service
from train.spec import Data, TrainingSpec
from train.tuning import TuningPlan
from train.wheel import build_wheel

pytestmark = pytest.mark.once

SOURCE = "voc/models/voc-1/source/sourcedir.tar.gz"
OURS = ("--algorithm", "pytorch", "--set", "use_pretrained_model=0")
OWN = replace(
    SPEC, algorithm="pytorch", image=pytorch_image_uri("us-east-1", SPEC.instance_type),
    hyperparameters=replace(PARAMETERS, use_pretrained_model=0),
)  # fmt: skip


def request(spec: TrainingSpec) -> dict[str, Any]:
    return Plan(spec, Trained((), {}), Service("us-east-1")).request


# ---- what is sent


def test_the_service_takes_the_request() -> None:
    everything = replace(
        OWN, pretrained="s3://bucket/w.params", input_mode="Pipe", spot=True, instance_count=2,
        checkpoints="s3://bucket/checkpoints/", instance_type="ml.m5.xlarge",
    )  # fmt: skip
    for spec in (OWN, everything):
        assert faults("sagemaker", "CreateTrainingJob", request(spec)) == []
    names = [channel["ChannelName"] for channel in request(everything)["InputDataConfig"]]
    assert names == ["train", "validation", "pretrained"]


PATTERNS = ["^(conv1|conv2)_", 'it\'s $HOME; `id` && "x" \\d+ > /tmp/x', "conv.*", "a b", "'", "#"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_containers_shell_gets_each_hyperparameter_as_one_word(pattern: str) -> None:
    """aws/sagemaker-training-toolkit decodes the JSON and joins the values with spaces."""
    learning = replace(PARAMETERS, use_pretrained_model=0, freeze_layer_pattern=pattern)
    sent = request(replace(OWN, hyperparameters=learning))["HyperParameters"]
    values = [str(json.loads(value)) for value in sent.values()]
    run = subprocess.run(
        " ".join(["printf", r"'%s\0'", *values]), shell=True, capture_output=True, check=True
    )
    shown = run.stdout.decode().split("\0")[:-1]
    back = decoded(sent)
    assert shown == list(back.values())
    assert back["freeze_layer_pattern"] == pattern
    learnt = {name: back[name] for name in learning.as_strings()}
    assert learnt == learning.as_strings()


@pytest.mark.parametrize("text", ['"\'"', "\"'a'b'\"", "[" * 2500, "sgd"], ids=len)
def test_what_others_sent_is_left_as_it_is(text: str) -> None:
    assert decoded({"optimizer": text}) == {"optimizer": text}


def test_the_console_finds_the_metrics_in_the_log() -> None:
    """Both forms of numbers."""
    lines = {
        "train:smooth_l1": "#quality_metric: host=algo-1, epoch=0, batch=6 train smooth_l1 <loss>=",
        "train:cross_entropy":
            "#quality_metric: host=algo-1, epoch=0, batch=6 train cross_entropy <loss>=",
        "validation:mAP": "#quality_metric: host=algo-1, epoch=0, validation mAP <score>=",
    }  # fmt: skip
    for name, line in lines.items():
        for number in ("0.25", "(0.25)"):
            found = re.search(METRICS[name], f"[11/26/2026 20:00:00 INFO 1] {line}{number}")
            assert found is not None
            assert found[1] == "0.25"
    progress = re.search(METRICS["train:progress"], "#progress_metric: host=a, completed 50.0 %")
    assert progress is not None
    assert progress[1] == "50.0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": Data("augmented", attributes=("a", "b")), "input_mode": "Pipe"},
         "augmented manifests are read by the built-in algorithm only"),
        ({"network": Network(isolated=True)}, "isolated: the PyTorch container installs"),
        ({"instance_type": "g5.xlarge"}, "instance_type: 'g5.xlarge'; write it like ml.g5.xlarge"),
        ({"pretrained": "s3://b/w.pth"}, "pretrained: s3://b/w.pth; give a model.tar.gz or"),
        ({"hyperparameters": PARAMETERS}, "use_pretrained_model: 1, but there are no weights"),
        ({"algorithm": "built-in", "image": SPEC.image, "pretrained": "s3://b/w.params"},
         "pretrained: the built-in algorithm has its own weights; leave it out"),
    ],
)  # fmt: skip
def test_jobs_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(OWN, **changes)


def test_a_region_without_the_container() -> None:
    with pytest.raises(SpecError, match="region: mars-north-1 has no PyTorch container"):
        pytorch_image_uri("mars-north-1", "ml.g5.xlarge")


def test_a_tuning_is_of_the_built_in_algorithm() -> None:
    with pytest.raises(SpecError, match="algorithm: pytorch; tune the built-in one"):
        TuningPlan(Plan(OWN, Trained((), {}), Service("us-east-1")), {"momentum": "0.1..0.9"})


# ---- jobs


def test_a_job_and_the_next(aws: Aws, s3: S3Server, typed: Typed) -> None:
    """Its program is below its output; the next job knows its network; the built-in algorithm's
    container is told to host its model, with a warning."""
    code, out, err = fit(typed, *OURS, "--set", "base_network=resnet-50", "--wait")
    assert (code, json.loads(out)["model"]) == (0, f"s3://bucket/{MODEL}"), err
    sent = aws.jobs["voc-1"]
    assert "/pytorch-training:2.8.0-gpu-py312" in sent["AlgorithmSpecification"]["TrainingImage"]
    told = sent["HyperParameters"]
    assert told["sagemaker_submit_directory"] == json.dumps(f"s3://bucket/{SOURCE}")
    with tarfile.open(fileobj=io.BytesIO(s3.objects[SOURCE].data)) as tar:
        assert sorted(tar.getnames()) == [
            f"recpack-{build_wheel()[0].split('-')[1]}-py3-none-any.whl", PROGRAM,
            "requirements.txt",
        ]  # fmt: skip
    code, _, err = fit(typed, *OURS, "--model", "voc-1", name="voc-2")
    assert code == 0, err
    assert aws.jobs["voc-2"]["HyperParameters"]["base_network"] == '"resnet-50"'
    other = fit(typed, *OURS, "--model", "voc-1", "--set", "base_network=vgg-16", name="voc-3")
    assert "base_network: the model to continue has resnet-50, but this job has vgg-16" in other[2]
    assert fit(typed, "--model", "voc-1", name="voc-4")[0] == 0, "SageMaker's own goes on from it"
    code, _, err = typed("deploy", "voc-1", "--no-wait", "--role", sent["RoleArn"])
    assert code == 0, err
    assert "its container has not been tried with them" in err
    (model,) = aws.models.values()
    assert "/object-detection:1" in model["PrimaryContainer"]["Image"]


def test_a_job_in_an_image_of_ones_own_and_the_next(aws: Aws, typed: Typed) -> None:
    """One that is made from the Dockerfile has the built-in algorithm's contract, and more
    networks."""
    image = ("--image", "123456789012.dkr.ecr.us-east-1.amazonaws.com/recpack-ssd:1")
    more = ("--set", "base_network=resnet-18", "--set", "image_shape=128")
    assert fit(typed, *image, *more, "--wait")[0] == 0
    code, _, err = fit(typed, *image, *more, "--model", "voc-1", name="voc-2")
    assert code == 0, err
    code, _, err = typed("deploy", "voc-1", "--no-wait", "--role", ROLE, *image)
    assert (code, "has not been tried" in err) == (0, False), err
    assert [one["PrimaryContainer"]["Image"] for one in aws.models.values()] == [image[1]]
    code, _, err = fit(typed, *more, name="voc-3")
    assert code == 2
    assert "base_network: resnet-18 is not of SageMaker's algorithm: add --local, or" in err


def test_weights_to_start_from_are_looked_for(aws: Aws, s3: S3Server, typed: Typed) -> None:
    weights = "s3://bucket/weights/vgg16.params"
    code, _, err = fit(typed, "--algorithm", "pytorch", "--pretrained", weights)
    assert (code, err) == (1, f"recpack-train fit: --pretrained: there is no {weights}\n")
    s3.objects["weights/vgg16.params"] = Blob(b"weights", "0")
    assert fit(typed, "--algorithm", "pytorch", "--pretrained", weights)[0] == 0
    assert aws.jobs["voc-1"]["InputDataConfig"][-1]["ChannelName"] == "pretrained"


def test_a_job_that_is_refused_leaves_nothing(aws: Aws, s3: S3Server, typed: Typed) -> None:
    before = set(s3.objects)
    refused = Fault(("ValidationException", 400, "why"))
    aws.plan = lambda name, _: refused if name == "CreateTrainingJob" else None
    code, _, err = fit(typed, *OURS)
    assert (code, "the service refuses the job: ValidationException: why" in err) == (1, True)
    assert set(s3.objects) == before


def test_a_program_of_another_job_is_not_touched(aws: Aws, s3: S3Server, typed: Typed) -> None:
    before = set(s3.objects)
    s3.objects[SOURCE] = Blob(b"theirs", "0")
    code, _, err = fit(typed, *OURS)
    assert (code, f"s3://bucket/{SOURCE} exists, of another job of this name" in err) == (1, True)
    assert set(s3.objects) - before == {SOURCE}
    assert s3.objects[SOURCE].data == b"theirs"
    assert aws.jobs == {}


def test_a_program_that_may_not_be_written(aws: Aws, s3: S3Server, typed: Typed) -> None:
    before = set(s3.objects)
    s3.fault = lambda request: (
        "403" if request.name == "put_object" and request.key.endswith(".gz") else None
    )
    code, _, err = fit(typed, *OURS)
    assert code == 1
    assert f"s3://bucket/{SOURCE}: the job's program can't be written" in err
    assert set(s3.objects) == before
    assert aws.jobs == {}


def test_what_is_left_is_named(aws: Aws, s3: S3Server, typed: Typed) -> None:
    aws.plan = lambda *_: Fault(None, "after") if aws.asked("CreateTrainingJob") else None
    code, _, err = fit(typed, *OURS)
    assert code == 1
    assert f"and s3://bucket/{RECORD} and s3://bucket/{SOURCE} is there; see" in err
    assert {RECORD, SOURCE} <= set(s3.objects)


def test_a_dry_run_uploads_nothing(aws: Aws, s3: S3Server, typed: Typed) -> None:
    before = set(s3.objects)
    code, out, _ = fit(typed, *OURS, "--dry-run")
    assert code == 0
    assert json.loads(out)["OutputDataConfig"]["S3OutputPath"] == OUTPUT
    assert set(s3.objects) == before
    assert aws.jobs == {}


# ---- the program


def test_the_same_bytes_for_the_same_recpack() -> None:
    assert source() == source()


@pytest.mark.slow
def test_the_wheel_is_installed_and_makes_itself_again(tmp_path: Path) -> None:
    """By pip, in a new environment, from the requirements and in the folder of the script, as AWS's
    container does it; the dependencies are already here."""
    code = tmp_path / "code"
    with tarfile.open(fileobj=io.BytesIO(source())) as tar:
        tar.extractall(code, filter="data")
    home = tmp_path / "home"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run(
        [*pip, "--no-index", "--disable-pip-version-check", "-q", "-r", "requirements.txt"],
        check=True, cwd=code,
    )  # fmt: skip
    script = (
        "import sys, hashlib, recpack; from train.wheel import build_wheel\n"
        "name, data = build_wheel()\n"
        "print(name, hashlib.sha256(data).hexdigest(), recpack.__version__, recpack.__file__)"
    )
    run = subprocess.run(
        [python, "-I", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    name, digest, version, place = run.stdout.split()
    ours = build_wheel()
    assert (name, digest) == (ours[0], hashlib.sha256(ours[1]).hexdigest())
    assert version == __version__
    assert place.startswith(str(home))
    began = subprocess.run(
        [python, code / PROGRAM, "--epochs", "5"], capture_output=True, text=True, cwd=code,
        env={
            **os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path / "ml"),
            "PYTHONPATH": sysconfig.get_path("purelib"),
        },
    )  # fmt: skip
    failure = (tmp_path / "ml" / "output" / "failure").read_text()
    assert failure == "ClientError: num_classes: this hyperparameter is required"
    assert began.returncode == 2, began.stdout
    shown = subprocess.run([home / "bin" / "recpack-train", "--version"], capture_output=True)
    assert shown.returncode == 0
