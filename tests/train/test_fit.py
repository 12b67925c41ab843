"""Jobs by the command line: what is started, what is refused before it costs anything, and what is
there before and after."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

import recpack
from tests.support.aws import DENIED, EXPIRED, ROLE, THROTTLED, Aws, Fault
from tests.support.botomodel import faults
from tests.support.hosts import Typed
from tests.support.jobs import DATA, MODEL, OUTPUT, RECORD, TRAIN, VALIDATION, fit, trained
from tests.support.s3server import Blob, S3Server

pytestmark = pytest.mark.once

# ---- what is written down


def test_what_a_job_is_trained_on_is_kept_beside_its_model(
    aws: Aws, s3: S3Server, typed: Typed
) -> None:
    code, out, err = fit(typed)
    assert (code, json.loads(out), err) == (0, {"job": "voc-1"}, "started voc-1\n")
    record = json.loads(s3.objects[RECORD].data)
    assert record["classes"] == list(recpack.VOC_CLASSES)
    manifest = json.loads(s3.objects["voc/_recpack/train.json"].data)
    assert record["data"]["train"] == {
        "rec": TRAIN, "bytes": manifest["rec"]["bytes"], "checksum": manifest["rec"]["checksum"],
        "samples": 70,
    }  # fmt: skip
    assert set(aws.jobs) == {"voc-1"}


def test_a_job_of_the_same_name_is_not_touched(aws: Aws, s3: S3Server, typed: Typed) -> None:
    fit(typed)
    before = s3.objects[RECORD]
    code, out, err = fit(typed, "--set", "epochs=5")
    assert (code, out) == (1, "")
    assert "voc-1: there is a job of this name already; choose another --job-name" in err
    assert s3.objects[RECORD] is before
    aws.jobs.clear()  # as jobs can be deleted
    code, _, err = fit(typed)
    assert code == 1
    assert f"s3://bucket/{RECORD} exists, of another job of this name" in err
    assert s3.objects[RECORD] is before
    assert len(aws.asked("CreateTrainingJob")) == 1


def test_an_answer_about_the_record_that_is_lost(
    aws: Aws, s3: S3Server, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore asks again, and hears that there is one: its own."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    s3.fault = lambda request: (
        "lost" if request.name == "put_object" and request.count == 1 else None
    )
    code, _, err = fit(typed)
    assert code == 0, err
    assert s3.calls["put_object"] == 2
    assert set(aws.jobs) == {"voc-1"}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (("ResourceLimitExceeded", 400,
          "The account-level service limit 'ml.g5.xlarge for training job usage' is 0 Instances, "
          "with current utilization of 0 Instances and a request delta of 1 Instances."),
         "your account's quota 'ml.g5.xlarge for training job usage' does not allow this job "
         "(1 x ml.g5.xlarge)"),
        (("ResourceLimitExceeded", 400,
          "The account-level service limit 'Longest run time for a training job' is 432000 "
          "Seconds"), "quota 'Longest run time for a training job' does not allow"),
        (("ValidationException", 400, "why"), "the service refuses the job: ValidationException"),
        (DENIED, "the service refuses the job: AccessDeniedException: User is not authorized"),
    ],
)  # fmt: skip
def test_a_job_that_is_refused_leaves_nothing(
    aws: Aws, s3: S3Server, typed: Typed, error: tuple[str, int, str], message: str
) -> None:
    before = set(s3.objects)
    aws.plan = lambda name, _: Fault(error) if name == "CreateTrainingJob" else None
    code, out, err = fit(typed)
    assert (code, out) == (1, "")
    assert message in err
    assert set(s3.objects) == before
    assert aws.jobs == {}


def lose_one_answer(aws: Aws, operation: str) -> None:
    lost: list[str] = []

    def plan(name: str, _: int) -> Fault | None:
        if name != operation or lost:
            return None
        lost.append(name)
        return Fault(None, "after")

    aws.plan = plan


@pytest.mark.parametrize("attempts", ["1", "3"])
def test_an_answer_that_is_lost(
    aws: Aws, s3: S3Server, typed: Typed, monkeypatch: pytest.MonkeyPatch, attempts: str
) -> None:
    """botocore asks again, and hears that the name is taken: by itself. Or it does not, and we
    look."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", attempts)
    lose_one_answer(aws, "CreateTrainingJob")
    code, out, err = fit(typed)
    assert (code, json.loads(out)) == (0, {"job": "voc-1"}), err
    assert RECORD in s3.objects


def test_a_job_that_may_have_been_started_is_named(aws: Aws, s3: S3Server, typed: Typed) -> None:
    aws.plan = lambda *_: Fault(None, "after") if aws.asked("CreateTrainingJob") else None
    code, out, err = fit(typed, "--region", "us-east-1")
    assert (code, out) == (1, "")
    assert f"the job voc-1 may have been started, and s3://bucket/{RECORD} is there" in err
    assert "recpack-train stop voc-1 --region us-east-1" in err
    assert set(aws.jobs) == {"voc-1"}
    assert RECORD in s3.objects
    aws.plan = lambda *_: None
    assert typed("stop", "voc-1", "--region", "us-east-1")[0] == 0


def test_an_output_that_only_the_role_may_write(aws: Aws, s3: S3Server, typed: Typed) -> None:
    s3.fault = lambda request: "403" if request.name == "put_object" else None
    code, _, err = fit(typed)
    assert code == 0
    assert f"the classes can't be kept beside the model, s3://bucket/{RECORD}" in err
    assert set(aws.jobs) == {"voc-1"}


# ---- the model to continue


def swap_classes(s3: S3Server) -> None:
    """As another packing in place would."""
    for name in ("train", "val"):
        blob = s3.objects[f"voc/_recpack/{name}.json"]
        manifest = json.loads(blob.data)
        classes = manifest["classes"]
        classes[0], classes[1] = classes[1], classes[0]
        blob.data = json.dumps(manifest).encode()


def test_data_that_is_packed_again_with_two_classes_swapped(
    aws: Aws, s3: S3Server, typed: Typed
) -> None:
    trained(aws, typed)
    swap_classes(s3)
    before = set(s3.objects)
    for model in ("voc-1", f"s3://bucket/{MODEL}"):
        code, _, err = fit(typed, "--model", model, name="voc-2")
        assert code == 1
        assert "the model to continue has aeroplane, bicycle" in err
        assert "this data has bicycle, aeroplane" in err
    assert set(s3.objects) == before
    assert set(aws.jobs) == {"voc-1"}
    code, _, err = typed("deploy", "voc-1", "--role", ROLE, "--no-wait")
    assert code == 0
    (endpoint,) = aws.endpoints
    code, out, _ = typed("deploy", "voc-1", "--role", ROLE, "--classes", "a")
    assert (code, out) == (1, "")
    assert set(aws.endpoints) == {endpoint}


def test_a_job_of_another_program_is_compared_by_the_data_that_is_there(
    aws: Aws, s3: S3Server, typed: Typed
) -> None:
    trained(aws, typed)
    del s3.objects[RECORD]
    code, _, err = fit(typed, "--model", "voc-1", name="voc-2")
    assert code == 0
    assert "it is not written down what it was trained on; these are the classes that its" in err


def test_other_classes_than_the_hyperparameters_say(aws: Aws, s3: S3Server, typed: Typed) -> None:
    trained(aws, typed)
    del s3.objects[RECORD]
    aws.jobs["voc-1"]["InputDataConfig"] = []
    code, _, err = typed("deploy", "voc-1", "--role", ROLE, "--classes", "a")
    assert code == 1
    assert "classes: the model was trained on 20, but these are 1: a" in err
    assert aws.holds()["models"] == set()


def test_other_data_is_told_and_the_same_is_not(aws: Aws, typed: Typed) -> None:
    trained(aws, typed)
    assert fit(typed, "--model", "voc-1", name="voc-2")[2] == "started voc-2\n"
    other = ("--train", VALIDATION, "--validation", TRAIN)
    code, _, err = fit(typed, "--model", "voc-1", *other, name="voc-3")
    assert code == 0
    assert (
        f"train: other data than the model was trained on: {VALIDATION} (50 images, crc32:" in err
    )
    assert "mAP can't be compared with the earlier job's" in err


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"TrainingJobStatus": "Failed", "FailureReason": "out of memory"},
         "model: voc-1: it has no model (Failed: Completed: out of memory)"),
        ({"TrainingJobStatus": "InProgress", "left": 99}, "it has no model (InProgress"),
        ({"AlgorithmSpecification": {"TrainingImage": "1.dkr.ecr/xgboost:1"},
          "HyperParameters": {"max_depth": "5"}},
         "it was trained by another algorithm: 1.dkr.ecr/xgboost:1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("given", ["voc-1", f"s3://bucket/{MODEL}"])
def test_a_job_whose_model_can_not_be_used(
    aws: Aws, typed: Typed, state: dict[str, Any], message: str, given: str
) -> None:
    trained(aws, typed)
    aws.jobs["voc-1"] |= state
    code, _, err = fit(typed, "--model", given, name="voc-2")
    assert code == 1
    assert message in err
    assert set(aws.jobs) == {"voc-1"}


def test_a_model_that_is_not_where_it_was(aws: Aws, s3: S3Server, typed: Typed) -> None:
    trained(aws, typed)
    del s3.objects[MODEL]
    code, _, err = fit(typed, "--model", "voc-1", name="voc-2")
    assert code == 1
    assert f"model: there is no s3://bucket/{MODEL}" in err
    s3.objects[MODEL] = Blob(b"", "0")
    assert "is empty" in fit(typed, "--model", "voc-1", name="voc-2")[2]
    assert "there is no such training job in us-east-1" in fit(typed, "--model", "x")[2]
    assert set(aws.jobs) == {"voc-1"}


def test_buckets_of_another_region(aws: Aws, s3: S3Server, typed: Typed) -> None:
    s3.region = "eu-west-1"
    code, _, err = fit(typed)
    assert code == 1
    assert "train: bucket bucket is in eu-west-1, but the job is in us-east-1" in err
    assert aws.jobs == {}


# ---- waiting


def test_a_log_that_may_not_be_read(aws: Aws, typed: Typed) -> None:
    aws.plan = lambda name, _: Fault(DENIED) if name == "DescribeLogStreams" else None
    code, out, err = fit(typed, "--wait")
    assert (code, json.loads(out)["job"]) == (0, "voc-1")
    assert err.count("its log can't be read") == 1
    assert "Completed" in err
    code, out, err = typed("status", "voc-1")
    assert (code, json.loads(out)["state"]) == (0, "Completed")
    assert err.count("its log can't be read") == 1


@pytest.mark.parametrize("error", [EXPIRED, DENIED])
def test_waiting_that_ends_says_how_to_come_back(
    aws: Aws, typed: Typed, error: tuple[str, int, str]
) -> None:
    aws.plan = lambda name, number: (
        Fault(error) if name == "DescribeTrainingJob" and number > 3 else None
    )
    code, _, err = fit(typed, "--wait")
    assert code == 1
    assert error[2] in err
    assert "the job voc-1 goes on" in err
    assert "recpack-train logs voc-1 --follow" in err
    aws.plan = lambda *_: None
    assert typed("logs", "voc-1", "--follow")[0] == 0


def test_a_job_that_is_not_visible_yet(aws: Aws, typed: Typed) -> None:
    aws.hidden = 3
    assert fit(typed, "--wait")[0] == 0
    assert typed("logs", "voc-9", "--follow")[0] == 1


@pytest.mark.parametrize("error", [THROTTLED, None])
def test_waiting_outlasts_what_passes(
    aws: Aws, typed: Typed, error: tuple[str, int, str] | None
) -> None:
    aws.plan = lambda _, number: Fault(error) if 3 <= number < 20 else None
    assert fit(typed, "--wait")[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_waiting_leaves_the_job_alone(aws: Aws, number: signal.Signals) -> None:
    aws.polls = 1_000_000
    process = subprocess.Popen(
        [sys.executable, "-c", "from recpack.cli.train import console; console()", "fit", *DATA,
         "--job-name", "voc-1", "--wait"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        told = [process.stderr.readline() for _ in range(2)]
        assert told[0] == "started voc-1\n"
        assert told[1].startswith("InProgress"), told + process.stderr.readlines()
        process.send_signal(number)
    except BaseException:
        process.kill()
        raise
    finally:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "recpack-train status voc-1" in err
    assert "recpack-train logs voc-1 --follow" in err
    assert "Traceback" not in err
    assert aws.jobs["voc-1"]["TrainingJobStatus"] == "InProgress"


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ("MaxRuntimeExceeded", "it ran for its longest time, --max-run"),
        ("MaxWaitTimeExceeded", "it ran and waited for spot machines"),
        ("Stopped", "it was told to stop"),
    ],
)
def test_a_stopped_job_tells_why_and_where_its_model_is(
    aws: Aws, typed: Typed, phase: str, message: str
) -> None:
    aws.end, aws.phase = "Stopped", phase
    code, out, err = fit(typed, "--wait")
    assert (code, out) == (1, "")
    assert f"voc-1: stopped: {message}" in err
    assert f"its model so far: s3://bucket/{MODEL}" in err
    code, out, _ = typed("status", "voc-1")
    assert message in json.loads(out)["reason"]
    assert fit(typed, "--model", "voc-1", name="voc-2")[0] == 0


def test_lines_that_come_late_and_lines_of_two_machines(aws: Aws, typed: Typed) -> None:
    aws.logs = {
        "voc-1/algo-1": [(1, "first"), (4, "fourth")],
        "voc-1/algo-2": [(2, "second"), (3, "third")],
    }
    reads: list[int] = []

    def plan(name: str, number: int) -> None:
        if name == "DescribeLogStreams" and aws.jobs["voc-1"]["TrainingJobStatus"] == "Completed":
            reads.append(number)
            if len(reads) == 2:
                aws.logs["voc-1/algo-1"].append((9, "late"))

    aws.plan = plan
    code, _, err = fit(typed, "--wait")
    assert code == 0
    lines = ["first", "second", "third", "fourth", "late"]
    assert [line for line in err.splitlines() if line in lines] == lines


# ---- names, places, machines


def test_automatic_names_are_valid(aws: Aws, s3: S3Server, typed: Typed) -> None:
    for key in ("train/train.rec", "_recpack/train.json"):
        name = key.replace("train/train", "x/my_data.v2").replace("train.json", "my_data.v2.json")
        s3.objects[f"voc/{name}"] = s3.objects[f"voc/{key}"]
    code, _, err = typed(
        "fit", "--train", "s3://bucket/voc/x", "--validation", VALIDATION, "--output", OUTPUT,
        "--role", ROLE,
    )  # fmt: skip
    assert code == 0, err
    (name,) = aws.jobs
    assert name.startswith("my-data-v2-20")


def closed(s3: S3Server) -> None:
    """The bucket, when it is looked at for the output."""
    s3.fault = lambda request: (
        "403" if request.name == "head_bucket" and request.count > 2 else None
    )


@pytest.mark.parametrize(
    ("decision", "code", "message"),
    [
        ("allowed", 0, ""),
        ("explicitDeny", 1, "may not write to s3://bucket/voc/models"),
        ("implicitDeny", 0, "it is not known whether arn"),
        ("", 0, "not authorized to perform: iam:SimulatePrincipalPolicy"),
    ],
)
def test_an_output_bucket_that_is_closed_to_the_caller(
    aws: Aws, s3: S3Server, typed: Typed, decision: str, code: int, message: str
) -> None:
    closed(s3)
    aws.decision = decision
    found, _, err = fit(typed)
    assert found == code, err
    assert message in err
    assert ("warning" in err) == (code == 0 and decision != "allowed")
    assert len(aws.jobs) == 1 - code


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--instance-type", "ml.g6.xlarge"], 2, "is not a type that this algorithm trains on"),
        (["--instance-type", "ml.g5.3xlarge"], 2, "ml.g5.3xlarge is not a type that this algorithm"
         " trains on (families P2, P3, G4dn, G5); use ml.g5.xlarge"),
        (["--instance-type", "ml.g4dn.xlrage"], 2, "use ml.g4dn.xlarge"),
        (["--instance-type", "ml.m5.large"], 2, "has no GPU"),
        (["--output", "s3://bucket/voc/train/"], 2, "is below s3://bucket/voc/train/, and"),
        (["--output", "s3://bucket/voc", "--job-name", "train"], 2, "is below s3://bucket/voc/tr"),
        (["--checkpoints", "s3://bucket/voc/val/x"], 2, "checkpoints: s3://bucket/voc/val/x/ is"),
        (["--set", "lr_scheduler_step=10,40"], 2, "with 30 epochs there is nothing after epoch 40"),
        (["--set", "epochs=1_0"], 2, "epochs: '1_0' is not an integer"),
        (["--set", "learning_rate=1_0e-3"], 2, "learning_rate: '1_0e-3' is not in (0, 1]"),
        (["--set", "mini_batch_size=71"], 1, "mini_batch_size: 71, but train has 70 images"),
        (["--max-run", "2419201"], 2, "--max-run: 2,419,201; the service takes at most 2,419,200"),
        (["--tag", "aws:x=1"], 2, "tag: 'aws:x'='1'"),
        (["--tag", "a=b;c"], 2, "tag: 'a'='b;c'"),
        (["--tag", "=b"], 2, "tag: ''='b'"),
        (["--tag", f"a={'x' * 257}"], 2, "at most 128 and 256 characters"),
        (["--keep-alive", "21601"], 2, "--keep-alive: 21,601; the service takes at most 21,600"),
        (["--keep-alive", "600", "--spot"], 2, "--keep-alive: spot machines can't be kept"),
        (["--job-name", "a_b"], 2, "--job-name: 'a_b'; use at most 63 letters"),
    ],
)  # fmt: skip
def test_what_can_not_end_well_is_refused(
    aws: Aws, s3: S3Server, typed: Typed, options: list[str], code: int, message: str
) -> None:
    before = set(s3.objects)
    found, out, err = typed("fit", *DATA, *options)
    assert (found, out) == (code, ""), err
    assert message in err
    assert aws.jobs == {}
    assert set(s3.objects) == before


def test_numbers_that_only_python_reads(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--volume-gb", "--instance-count", "--max-run", "--keep-alive"):
        with pytest.raises(SystemExit) as caught:
            typed("fit", *DATA, option, "1_0")
        assert caught.value.code == 2
        assert f"{option}: '1_0' is not an integer" in capsys.readouterr().err


def enlarge(s3: S3Server, size: int) -> None:
    """The training data, by its manifest and what the store says of it."""
    blob = s3.objects["voc/_recpack/train.json"]
    manifest = json.loads(blob.data)
    manifest["rec"] |= {"bytes": size, "checksum": None}
    blob.data = json.dumps(manifest).encode()

    class Large(bytes):
        def __len__(self) -> int:
            return size

    s3.objects["voc/train/train.rec"].data = Large(b"")


def test_a_disk_that_is_smaller_than_the_data(aws: Aws, s3: S3Server, typed: Typed) -> None:
    enlarge(s3, 300_000_000_000)
    code, _, err = fit(typed)
    assert code == 1
    assert "the data has 300 GB, and the disk of ml.g5.xlarge 250; give --input-mode Pipe" in err
    code, _, err = fit(typed, "--instance-type", "ml.p3.2xlarge")
    assert code == 1
    assert "50; give --input-mode Pipe, or --volume-gb 370" in err
    assert aws.jobs == {}
    assert fit(typed, "--instance-type", "ml.p3.2xlarge", "--volume-gb", "370")[0] == 0
    assert fit(typed, "--input-mode", "Pipe", name="voc-2")[0] == 0


def test_the_same_images_in_both_channels(aws: Aws, typed: Typed) -> None:
    code, _, err = fit(typed, "--validation", TRAIN)
    assert code == 0
    assert "validation: these are the images of train" in err
    assert set(aws.jobs) == {"voc-1"}


def test_a_spot_job_keeps_its_state(aws: Aws, s3: S3Server, typed: Typed) -> None:
    assert fit(typed, "--spot")[0] == 0
    assert aws.jobs["voc-1"]["CheckpointConfig"] == {"S3Uri": f"{OUTPUT}/voc-1/checkpoints/"}
    s3.objects["voc/state/1"] = Blob(b"x", "0")
    code, _, err = fit(typed, "--spot", "--checkpoints", "s3://bucket/voc/state/", name="voc-2")
    assert code == 0
    assert "checkpoints: s3://bucket/voc/state/ is not empty; the job goes on from what is" in err


def test_a_region_other_than_the_sessions(
    aws: Aws, s3: S3Server, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    s3.region = "eu-west-1"
    assert fit(typed, "--region", "eu-west-1")[0] == 0
    (image,) = [job["AlgorithmSpecification"]["TrainingImage"] for job in aws.jobs.values()]
    assert ".eu-west-1." in image


def test_tags_network_keys_isolation_and_a_warm_pool(aws: Aws, typed: Typed) -> None:
    code, out, _ = fit(
        typed, "--tag", "team=vision", "--subnets", "subnet-1,subnet-2", "--security-groups",
        "sg-1", "--volume-kms-key", "disk", "--output-kms-key", "out", "--encrypt-traffic",
        "--isolated", "--keep-alive", "600", "--instance-type", "ml.p3.2xlarge",
    )  # fmt: skip
    assert code == 0, out
    job = aws.jobs["voc-1"]
    assert job["Tags"] == [{"Key": "team", "Value": "vision"}]
    assert job["VpcConfig"]["Subnets"] == ["subnet-1", "subnet-2"]
    assert job["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    assert job["ResourceConfig"]["VolumeKmsKeyId"] == "disk"
    assert job["OutputDataConfig"]["KmsKeyId"] == "out"
    assert job["EnableNetworkIsolation"]
    assert job["EnableInterContainerTrafficEncryption"]


# ---- formats without a .rec


@pytest.mark.parametrize("kind", ["image-json", "augmented-manifest"])
def test_the_other_formats_that_recpack_writes(
    aws: Aws, s3: S3Server, typed: Typed, devkit: Path, kind: str, packed: dict[str, Blob]
) -> None:
    s3.objects.clear()
    urls = {}
    for name, year in (("train", "2007"), ("validation", "2012")):
        url = urls[name] = f"s3://bucket/other/{name}" + (
            "" if kind == "image-json" else ".manifest"
        )
        images = None if kind == "image-json" else f"s3://bucket/images/{name}/"
        recpack.convert(
            devkit, url, year=year, classes="voc", endpoint_url=s3.url, output_format=kind,
            images_url=images, jobs=1,
        )  # fmt: skip
        if images is not None:
            for path in devkit.glob(f"VOC{year}/JPEGImages/*"):
                key = f"images/{name}/{path.relative_to(devkit)}"
                s3.objects[key] = Blob(path.read_bytes(), "0")
    words = ("--train", urls["train"], "--validation", urls["validation"], "--output", OUTPUT,
             "--role", ROLE, "--job-name", "voc-1")  # fmt: skip
    code, _, err = typed("fit", *words)
    assert code == 0, err
    job = aws.jobs["voc-1"]
    assert faults("sagemaker", "CreateTrainingJob", aws.asked("CreateTrainingJob")[0]) == []
    channels = {one["ChannelName"]: one for one in job["InputDataConfig"]}
    sources = {name: one["DataSource"]["S3DataSource"] for name, one in channels.items()}
    if kind == "image-json":
        assert {name: one["S3Uri"] for name, one in sources.items()} == {
            "train": f"{urls['train']}/", "train_annotation": f"{urls['train']}_annotation/",
            "validation": f"{urls['validation']}/",
            "validation_annotation": f"{urls['validation']}_annotation/",
        }  # fmt: skip
        assert {one["ContentType"] for one in channels.values()} == {"image/jpeg"}
    else:
        assert sources["train"]["S3Uri"] == urls["train"]
        assert sources["train"]["AttributeNames"] == ["source-ref", "bounding-box"]
        assert channels["train"]["RecordWrapperType"] == "RecordIO"
        assert job["AlgorithmSpecification"]["TrainingInputMode"] == "Pipe"
    sent = {name: job["HyperParameters"][name] for name in
            ("num_classes", "num_training_samples", "label_width")}  # fmt: skip
    widths = [json.loads(packed[f"voc/_recpack/{name}.json"].data)["label_width"]
              for name in ("train", "val")]  # fmt: skip
    assert sent == {"num_classes": "20", "num_training_samples": "70",
                    "label_width": str(max(widths))}  # fmt: skip
    record = json.loads(s3.objects[RECORD].data)
    assert record["data"]["train"]["checksum"].startswith("etags:")
    mixed = (*words[:3], VALIDATION, *words[4:])
    s3.objects |= deepcopy(packed)
    code, _, err = typed("fit", *mixed[:-1], "voc-2")
    assert code == 1
    assert "train and validation have two formats" in err
