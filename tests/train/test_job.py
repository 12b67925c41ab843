from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.support.aws import DENIED, THROTTLED, Aws, Fault
from tests.support.aws_http import Direct
from tests.train.test_request import SPEC
from train.errors import JobError
from train.job import Job, Status, attach, find_previous, jobs
from train.logs import Metric, parse_metric
from train.service import Service
from train.spec import training_request

pytestmark = pytest.mark.once

MODEL = "s3://bucket/prod/output/voc-1/output/model.tar.gz"


@pytest.fixture
def aws() -> Aws:
    """A job that has been started."""
    aws = Aws()
    aws.serve("CreateTrainingJob", training_request(SPEC))
    return aws


@pytest.fixture
def service(aws: Aws) -> Service:
    return Service(session=Direct(aws))


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


def test_waiting_tells_every_change_and_every_line(aws: Aws, service: Service) -> None:
    line = "#quality_metric: host=algo-1, epoch={}, validation mAP <score>=({})"
    aws.page = 1

    def plan(operation: str, _: int) -> None:
        asked = len(aws.asked("DescribeTrainingJob"))
        if operation == "DescribeLogStreams" and asked == 2:
            aws.logs["voc-1/a"] = ["hello", line.format(0, 0.25)]
        if operation == "DescribeLogStreams" and asked == 3:
            aws.logs["voc-1/a"] = ["hello", line.format(0, 0.25), line.format(1, 0.5)]
            aws.logs["voc-10/a"] = ["of another job"]

    aws.plan = plan
    states: list[Status] = []
    lines: list[str] = []
    naps: list[float] = []
    metrics: list[Metric] = []
    job = Job("voc-1", service)
    job.wait(
        on_status=states.append, on_line=lines.append, on_metric=metrics.append,
        sleep=naps.append, poll=7,
    )  # fmt: skip
    assert metrics == job.metrics == [Metric("mAP", 0.25, 0), Metric("mAP", 0.5, 1)]
    assert [str(state) for state in states] == ["InProgress: Starting", "Completed"]
    assert lines == ["hello", line.format(0, 0.25), line.format(1, 0.5)]
    assert job.history() == {0: 0.25, 1: 0.5}
    assert naps == [7, 7, 5, 5]  # the last two for lines that come late


@pytest.mark.parametrize("state", ["Failed", "Stopped"])
def test_a_job_that_ends_badly_raises_with_the_reason(
    aws: Aws, service: Service, state: str
) -> None:
    aws.end, aws.reason = state, "ClientError: label_width 350 smaller than estimated width: 380"
    with pytest.raises(JobError, match=f"voc-1: {state.lower()}: .*estimated width: 380") as caught:
        Job("voc-1", service).wait(sleep=lambda _: None)
    assert caught.value.reason == aws.reason
    assert (MODEL in str(caught.value)) == (state == "Stopped")


@pytest.mark.parametrize(("error", "asked"), [(THROTTLED, 40), (DENIED, 1)])
def test_waiting_is_not_for_ever(
    aws: Aws, service: Service, error: tuple[str, int, str], asked: int
) -> None:
    aws.plan = lambda *_: Fault(error)
    with pytest.raises(ClientError, match=error[0]) as caught:
        Job("voc-1", service).wait(sleep=lambda _: None)
    assert len(aws.asked("DescribeTrainingJob")) == asked
    assert "recpack-train logs voc-1 --follow" in caught.value.__notes__[0]


def test_nobody_listens_at_the_address() -> None:
    """A network that is down is no reason to leave a job."""
    naps: list[float] = []
    service = Service("us-east-1", "http://127.0.0.1:1")
    job = Job("voc-1", service)
    job.service.client("sagemaker").meta.config.retries = {"total_max_attempts": 1}

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        job.wait(sleep=nap)
    assert "--region us-east-1 --endpoint-url http://127.0.0.1:1" in caught.value.__notes__[0]


def test_coming_back_to_a_job(service: Service) -> None:
    assert attach("voc-1", service).name == "voc-1"
    with pytest.raises(JobError, match="voc-2: there is no such training job in us-east-1"):
        attach("voc-2", service)
    with pytest.raises(JobError, match=r"voc-1: it has no model \(InProgress: Starting\)"):
        _ = Job("voc-1", service).model
    Job("voc-1", service).stop()
    assert [(name, status.state) for name, status in jobs(service)] == [("voc-1", "Stopping")]
    with pytest.raises(JobError, match="it was told to stop"):
        Job("voc-1", service).wait(sleep=lambda _: None)
    assert Job("voc-1", service).model == MODEL


@pytest.mark.parametrize("by", ["name", "job", "model"])
def test_what_is_known_of_the_model_to_go_on_from(service: Service, by: str) -> None:
    Job("voc-1", service).wait(sleep=lambda _: None)
    given = {"name": "voc-1", "job": Job("voc-1", service), "model": MODEL}[by]
    found = find_previous(given, service)
    assert (found.model, found.train) == (MODEL, "s3://bucket/prod/train/")
    assert found.hyperparameters["num_classes"] == "20"


def test_a_model_of_unknown_origin(service: Service) -> None:
    """Also where a job of another output has the name of a folder in the path."""
    for url in ("s3://bucket/model.tar.gz", "s3://bucket/gone/output/model.tar.gz",
                "s3://elsewhere/voc-1/output/model.tar.gz"):  # fmt: skip
        found = find_previous(url, service)
        assert (found.model, found.train, found.hyperparameters) == (url, None, {})
