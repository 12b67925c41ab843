"""Tunings by the command line."""

from __future__ import annotations

import json

import pytest

from tests.support.aws import EXPIRED, THROTTLED, Aws, Fault
from tests.support.botomodel import faults
from tests.support.hosts import Typed
from tests.support.jobs import DATA, OUTPUT
from tests.support.s3server import Blob, S3Server
from train.errors import UsageError
from train.tuning import plan_tuning

pytestmark = pytest.mark.once

RANGES = ("--range", "learning_rate=0.0001..0.01", "--range", "optimizer=sgd,adam",
          "--range", "mini_batch_size=8..64", "--range", "momentum=0.5..0.9")  # fmt: skip
BEST = "tune-1-001-0a1b2c3d"
CREATE = "CreateHyperParameterTuningJob"


def tune(typed: Typed, *options: str, name: str = "tune-1") -> tuple[int, str, str]:
    return typed("tune", *DATA, *RANGES, "--job-name", name, *options)


def test_the_best_of_many_jobs(aws: Aws, s3: S3Server, typed: Typed) -> None:
    code, out, err = tune(typed, "--jobs", "20", "--parallel", "4", "--wait", "--tag", "a=b")
    assert code == 0, err
    (request,) = aws.asked(CREATE)
    assert faults("sagemaker", CREATE, request) == []
    config = request["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"] == {
        "MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 4,
    }  # fmt: skip
    assert config["HyperParameterTuningJobObjective"] == {
        "Type": "Maximize", "MetricName": "validation:mAP",
    }  # fmt: skip
    assert config["ParameterRanges"] == {
        "ContinuousParameterRanges": [
            {"Name": "learning_rate", "MinValue": "0.0001", "MaxValue": "0.01",
             "ScalingType": "Logarithmic"},
            {"Name": "momentum", "MinValue": "0.5", "MaxValue": "0.9", "ScalingType": "Linear"},
        ],
        "IntegerParameterRanges": [
            {"Name": "mini_batch_size", "MinValue": "8", "MaxValue": "64",
             "ScalingType": "Linear"},
        ],
        "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["sgd", "adam"]}],
    }  # fmt: skip
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert not {"learning_rate", "optimizer", "mini_batch_size", "momentum"} & static.keys()
    assert (static["num_classes"], static["epochs"]) == ("20", "30")
    assert request["Tags"] == [{"Key": "a", "Value": "b"}]
    model = f"{OUTPUT}/tune-1/{BEST}/output/model.tar.gz"
    found = json.loads(out)
    assert (found["tuning"], found["best"]["job"], found["model"]) == ("tune-1", BEST, model)
    assert found["best"]["mAP"] == 0.5
    assert found["best"]["hyperparameters"]["learning_rate"] == "0.0001"
    assert "Completed: 1 Completed" in err
    assert "voc/models/tune-1/recpack.json" in s3.objects


def test_the_best_job_is_hosted_and_continued_like_any_other(
    aws: Aws, s3: S3Server, typed: Typed
) -> None:
    tune(typed, "--wait")
    s3.objects[f"voc/models/tune-1/{BEST}/output/model.tar.gz"] = Blob(b"model", "0")
    code, out, err = typed("deploy", BEST, "--role", DATA[-1], "--no-wait")
    assert (code, json.loads(out)["classes"][0]) == (0, "aeroplane"), err
    code, _, err = typed("fit", *DATA, "--model", BEST, "--job-name", "voc-2")
    assert (code, err) == (0, "started voc-2\n")
    assert aws.jobs["voc-2"]["HyperParameters"]["base_network"] == "vgg-16"


def test_coming_back_to_a_tuning(aws: Aws, typed: Typed) -> None:
    aws.polls = 9
    aws.plan = lambda name, number: (
        Fault(EXPIRED) if name.startswith("DescribeHyper") and number > 3 else None
    )
    code, _, err = tune(typed, "--wait")
    assert code == 1
    assert "the tuning tune-1 goes on; wait for it: recpack-train status tune-1 --wait" in err
    aws.plan = lambda *_: None
    code, out, _ = typed("status", "tune-1")
    assert (code, json.loads(out)["best"]) == (0, None)
    code, out, _ = typed("status", "tune-1", "--wait")
    assert (code, json.loads(out)["best"]["job"]) == (0, BEST)
    assert tune(typed, name="tune-2")[0] == 0
    assert typed("stop", "tune-2")[0] == 0
    assert aws.tunings["tune-2"]["HyperParameterTuningJobStatus"] == "Stopping"


def test_a_tuning_whose_jobs_told_nothing(aws: Aws, typed: Typed) -> None:
    aws.end, aws.reason = "Failed", "all its jobs failed"
    code, out, err = tune(typed, "--wait")
    assert (code, out) == (1, "")
    assert "tune-1: failed: all its jobs failed" in err


def test_waiting_outlasts_what_passes(aws: Aws, typed: Typed) -> None:
    aws.plan = lambda name, number: (
        Fault(THROTTLED) if name.startswith("DescribeHyper") and 3 <= number < 20 else None
    )
    assert tune(typed, "--wait")[0] == 0


def test_a_tuning_that_is_refused_leaves_nothing(aws: Aws, s3: S3Server, typed: Typed) -> None:
    before = set(s3.objects)
    limit = ("ResourceLimitExceeded", 400, "The account-level service limit 'Number of "
             "hyperparameter tuning jobs' is 100")  # fmt: skip
    aws.plan = lambda name, _: Fault(limit) if name == CREATE else None
    code, _, err = tune(typed)
    assert code == 1
    assert "quota 'Number of hyperparameter tuning jobs' does not allow this job" in err
    assert set(s3.objects) == before
    aws.plan = lambda *_: None
    assert tune(typed)[0] == 0
    code, _, err = tune(typed)
    assert code == 1
    assert "tune-1: there is a job of this name already" in err
    assert len(aws.tunings) == 1


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--range", "epochs=1..5"], 2, "range: epochs can't be tuned; the names are lear"),
        (["--range", "learning_rate=0.1"], 2, "write the lowest and the highest value like 8..64"),
        (["--range", "learning_rate=0.1..0.01"], 2, "write the lowest and the highest value"),
        (["--range", "learning_rate=0.1..2"], 2, "learning_rate=0.1..2: 2.0 is not in (0, 1]"),
        (["--range", "optimizer=sgd,adamw"], 2, "'adamw' is not one of sgd, adam"),
        (["--range", "mini_batch_size=8..1_6"], 2, "'1_6' is not an integer"),
        (["--range", "mini_batch_size=8..71"], 1, "mini_batch_size: 71, but train has 70 images"),
        (["--set", "momentum=0.5"], 2, "range: momentum: also set to one value"),
        (["--jobs", "0"], 2, "jobs: 0; give 1 to 750"),
        (["--jobs", "2", "--parallel", "3"], 2, "parallel: 3; give 1 to 2"),
        (["--job-name", "a" * 33], 2, "use at most 32"),
    ],
)  # fmt: skip
def test_tunings_that_are_refused(
    aws: Aws, s3: S3Server, typed: Typed, options: list[str], code: int, message: str
) -> None:
    before = set(s3.objects)
    found, out, err = typed("tune", *DATA, *RANGES, *options)
    assert (found, out) == (code, ""), err
    assert message in err
    assert aws.tunings == {}
    assert set(s3.objects) == before


def test_a_tuning_of_spot_machines_names_itself(aws: Aws, typed: Typed) -> None:
    code, _, err = typed("tune", *DATA, *RANGES, "--spot")
    assert code == 0, err
    ((name, tuning),) = aws.tunings.items()
    assert name.startswith("tune-20")
    assert len(name) <= 32
    assert "CheckpointConfig" not in tuning["TrainingJobDefinition"]
    assert tuning["TrainingJobDefinition"]["EnableManagedSpotTraining"]
    code, out, _ = typed("tune", *DATA, *RANGES, "--dry-run")
    assert (code, faults("sagemaker", CREATE, json.loads(out))) == (0, [])
    assert len(aws.tunings) == 1


def test_what_jobs_of_a_tuning_can_not_have() -> None:
    """They would continue each other."""
    urls = DATA[1:6:2]
    for name, value in (("checkpoints", "s3://bucket/x"), ("keep_alive", 600)):
        with pytest.raises(UsageError, match=f"{name}: not for a tuning"):
            plan_tuning(*urls, ranges={"momentum": "0.5..0.9"}, **{name: value})


def test_a_name_that_is_none_is_compared_with_those_that_are(
    aws: Aws, s3: S3Server, typed: Typed
) -> None:
    tune(typed, "--wait")
    s3.objects[f"voc/models/tune-1/{BEST}/output/model.tar.gz"] = Blob(b"model", "0")
    assert typed("deploy", BEST, "--endpoint-name", "voc-live", "--no-wait")[0] == 0
    aws.transforms["voc-batch"] = {"CreationTime": 0}
    for command, near in (
        (("status", "tune-2"), "tune-1"), (("stop", f"{BEST}x"), BEST), (("logs", BEST[1:]), BEST),
        (("predict", "voc-life", "x.jpg"), "voc-live"), (("delete", "voclive"), "voc-live"),
        (("results", "voc-bach"), "voc-batch"),
    ):  # fmt: skip
        code, out, err = typed(*command)
        assert (code, out) == (1, "")
        assert err.endswith(f"; did you mean {near!r}?\n"), err
    aws.plan = lambda name, _: Fault(EXPIRED) if name == "ListEndpoints" else None
    code, _, err = typed("predict", "voc-life", "x.jpg")
    assert (code, "did you mean" in err, "there is no such endpoint" in err) == (1, False, True)
