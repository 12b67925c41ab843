from __future__ import annotations

import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.stubs import Stubs
from train.errors import JobError
from train.job import Job, Status, attach, find_previous, jobs
from train.logs import Metric, parse_metric

pytestmark = pytest.mark.once

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MODEL = "s3://bucket/models/voc-1/output/model.tar.gz"


def described(state: str = "Completed", phase: str = "Completed", **more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "voc-1",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/voc-1",
        "ModelArtifacts": {"S3ModelArtifacts": MODEL},
        "TrainingJobStatus": state,
        "SecondaryStatus": phase,
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "ResourceConfig": {"VolumeSizeInGB": 1},
        "StoppingCondition": {},
        "CreationTime": START,
    } | more


def no_logs(stubs: Stubs) -> None:
    stubs.refuse("logs", "describe_log_streams", "ResourceNotFoundException")


@pytest.mark.parametrize(
    ("line", "metric"),
    [
        ("[date] #quality_metric: host=algo-1, epoch=0, batch=100 train smooth_l1 <loss>=(0.5)",
         Metric("smooth_l1", 0.5, 0, 100)),
        ("#quality_metric: host=algo-1, epoch=3, batch=7 train cross_entropy <loss>=1.25",
         Metric("cross_entropy", 1.25, 3, 7)),
        ("#quality_metric: host=algo-1, epoch=4, validation mAP <score>=(0.71)",
         Metric("mAP", 0.71, 4)),
        ("#throughput_metric: host=algo-1, train throughput=85.3 records/second",
         Metric("throughput", 85.3)),
        ("#progress_metric: host=algo-1, completed 20 %", Metric("progress", 20)),
        ("#quality_metric: host=algo-1, epoch=4, validation mAP <score>=(1.2e-05)",
         Metric("mAP", 1.2e-5, 4)),
        ("#quality_metric: host=algo-1, epoch=4, validation mAP <score>=(...)", None),
        ("#metrics {\"StartTime\": 1}", None),
        ("nothing of the kind", None),
    ],
)  # fmt: skip
def test_numbers_in_the_log(line: str, metric: Metric | None) -> None:
    assert parse_metric(line) == metric


def test_waiting_tells_every_change_and_every_line() -> None:
    stubs = Stubs()
    stubs.answer("sagemaker", "describe_training_job", described("InProgress", "Starting"))
    no_logs(stubs)
    stubs.answer("sagemaker", "describe_training_job", described("InProgress", "Starting"))
    stubs.answer("logs", "describe_log_streams", {"logStreams": []})
    stubs.answer("sagemaker", "describe_training_job", described("InProgress", "Training"))
    stubs.answer("logs", "describe_log_streams", {"logStreams": [{"logStreamName": "voc-1/a"}]})
    line = "#quality_metric: host=algo-1, epoch={}, validation mAP <score>=({})"
    place = {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": "voc-1/a",
             "startFromHead": True}  # fmt: skip
    stubs.answer(
        "logs", "get_log_events",
        {"events": [{"message": "hello"}, {"message": line.format(0, 0.25)}],
         "nextForwardToken": "t1"},
        **place,
    )  # fmt: skip
    stubs.answer("logs", "get_log_events", {"events": [], "nextForwardToken": "t1"},
                 **place, nextToken="t1")  # fmt: skip
    stubs.answer(
        "sagemaker", "describe_training_job",
        described("Completed", "Completed", BillableTimeInSeconds=99),
    )  # fmt: skip
    stubs.answer("logs", "describe_log_streams", {"logStreams": [{"logStreamName": "voc-1/a"}]})
    stubs.answer(
        "logs", "get_log_events",
        {"events": [{"message": line.format(1, 0.5)}], "nextForwardToken": "t2"},
        **place, nextToken="t1",
    )  # fmt: skip
    stubs.answer("logs", "get_log_events", {"events": [], "nextForwardToken": "t2"},
                 **place, nextToken="t2")  # fmt: skip
    states: list[Status] = []
    lines: list[str] = []
    naps: list[float] = []
    job = Job("voc-1", stubs.service)
    metrics: list[Metric] = []
    job.wait(
        on_status=states.append, on_line=lines.append, on_metric=metrics.append,
        sleep=naps.append, poll=7,
    )  # fmt: skip
    assert metrics == job.metrics == [Metric("mAP", 0.25, 0), Metric("mAP", 0.5, 1)]
    assert [str(state) for state in states] == [
        "InProgress: Starting", "InProgress: Training", "Completed, 99 s billed",
    ]  # fmt: skip
    assert lines == ["hello", line.format(0, 0.25), line.format(1, 0.5)]
    assert job.history() == {0: 0.25, 1: 0.5}
    assert naps == [7, 7, 7]
    stubs.done()


@pytest.mark.parametrize("state", ["Failed", "Stopped"])
def test_a_job_that_ends_badly_raises_with_the_reason(state: str) -> None:
    stubs = Stubs()
    reason = "ClientError: label_width 350 smaller than estimated width: 380"
    stubs.answer(
        "sagemaker", "describe_training_job", described(state, state, FailureReason=reason)
    )
    no_logs(stubs)
    with pytest.raises(JobError, match=f"voc-1: {state.lower()}: .*estimated width: 380") as caught:
        Job("voc-1", stubs.service).wait()
    assert caught.value.reason == reason


def test_a_service_that_does_not_answer_is_asked_again() -> None:
    stubs = Stubs()
    for code, status in (
        ("ThrottlingException", 400), ("InternalFailure", 500), ("ServiceUnavailable", 503),
    ):  # fmt: skip
        stubs.refuse("sagemaker", "describe_training_job", code, "Rate exceeded", status)
    stubs.answer("sagemaker", "describe_training_job", described("InProgress", "Training"))
    stubs.refuse("logs", "describe_log_streams", "ThrottlingException")
    stubs.answer("sagemaker", "describe_training_job", described())
    no_logs(stubs)
    naps: list[float] = []
    Job("voc-1", stubs.service).wait(sleep=naps.append)
    assert len(naps) == 4
    stubs.done()


@pytest.mark.parametrize(
    ("code", "status", "asked"),
    [("ThrottlingException", 400, 40), ("AccessDeniedException", 400, 1)],
)
def test_but_not_for_ever(code: str, status: int, asked: int) -> None:
    stubs = Stubs()
    for _ in range(asked):
        stubs.refuse("sagemaker", "describe_training_job", code, "no", status)
    with pytest.raises(ClientError, match=code):
        Job("voc-1", stubs.service).wait(sleep=lambda _: None)
    stubs.done()


def test_interrupted_waiting_leaves_the_job_alone() -> None:
    stubs = Stubs()
    stubs.answer("sagemaker", "describe_training_job", described("InProgress", "Training"))
    no_logs(stubs)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Job("voc-1", stubs.service).wait(sleep=interrupt)
    stubs.done()  # nothing was sent to stop it


def test_coming_back_to_a_job() -> None:
    stubs = Stubs()
    stubs.answer("sagemaker", "describe_training_job", described(), TrainingJobName="voc-1")
    assert attach("voc-1", stubs.service).name == "voc-1"
    stubs.refuse("sagemaker", "describe_training_job", "ValidationException",
                 "Requested resource not found.")  # fmt: skip
    with pytest.raises(JobError, match="voc-2: there is no such training job in us-east-1"):
        attach("voc-2", stubs.service)
    stubs.answer("sagemaker", "stop_training_job", TrainingJobName="voc-1")
    Job("voc-1", stubs.service).stop()
    stubs.answer(
        "sagemaker", "list_training_jobs",
        {"TrainingJobSummaries": [{
            "TrainingJobName": "voc-1", "TrainingJobArn": described()["TrainingJobArn"],
            "CreationTime": START, "TrainingJobStatus": "Stopped",
        }]},
    )  # fmt: skip
    assert [(name, status.state) for name, status in jobs(stubs.service)] == [("voc-1", "Stopped")]
    stubs.done()


def test_a_job_without_a_model() -> None:
    stubs = Stubs()
    empty = {"S3ModelArtifacts": ""}
    answer = described("InProgress", "Starting", ModelArtifacts=empty)
    stubs.answer("sagemaker", "describe_training_job", answer)
    with pytest.raises(JobError, match=r"voc-1: it has no model \(InProgress: Starting\)"):
        _ = Job("voc-1", stubs.service).model


CHANNELS = [
    {"ChannelName": "train", "DataSource": {"S3DataSource": {
        "S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train/"}}},
]  # fmt: skip


@pytest.mark.parametrize("by", ["name", "job", "model"])
def test_what_is_known_of_the_model_to_go_on_from(by: str) -> None:
    stubs = Stubs()
    known = described(HyperParameters={"num_classes": "20"}, InputDataConfig=CHANNELS)
    for _ in range(2):
        stubs.answer("sagemaker", "describe_training_job", known, TrainingJobName="voc-1")
    given = {"name": "voc-1", "job": Job("voc-1", stubs.service), "model": MODEL}[by]
    found = find_previous(given, stubs.service)
    assert (found.model, found.train) == (MODEL, "s3://bucket/train/")
    assert found.hyperparameters == {"num_classes": "20"}
    stubs.done()


def test_a_model_of_unknown_origin() -> None:
    stubs = Stubs()
    assert find_previous("s3://bucket/model.tar.gz", stubs.service).train is None
    stubs.refuse("sagemaker", "describe_training_job", "ValidationException",
                 "Requested resource not found.")  # fmt: skip
    found = find_previous("s3://bucket/gone/output/model.tar.gz", stubs.service)
    assert (found.model, found.hyperparameters) == ("s3://bucket/gone/output/model.tar.gz", {})
    stubs.done()
