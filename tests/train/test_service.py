from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.aws import DENIED, Aws, Fault
from tests.support.aws_http import Direct
from tests.support.stubs import Stubs
from train.cli import main
from train.endpoint import Endpoint
from train.errors import JobError, SpecError, TrainError
from train.job import Job, attach
from train.logs import Metric
from train.plots import plot_jobs
from train.service import Service, find_role

pytestmark = pytest.mark.once

ROLE = "arn:aws:iam::123456789012:role/service-role/Studio"
OWN = "arn:aws:iam::123456789012:role/Training"


@pytest.fixture
def aws() -> Aws:
    return Aws()


@pytest.fixture
def service(aws: Aws) -> Service:
    return Service(session=Direct(aws))


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes what SageMaker's own machines know about themselves."""

    def write(**facts: str) -> None:
        (tmp_path / "facts.json").write_text(json.dumps(facts))

    monkeypatch.setattr("train.service._NOTEBOOK", tmp_path / "facts.json")
    return write


def test_the_role_of_the_caller(aws: Aws, service: Service) -> None:
    assert find_role(ROLE, service) == ROLE
    assert find_role("Training", service) == find_role(None, service) == OWN
    aws.caller = "user/me"
    with pytest.raises(SpecError, match=r"you are .*user/me, which SageMaker can't use; .*--role"):
        find_role(None, service)
    aws.trusted = "ec2.amazonaws.com"
    with pytest.raises(SpecError, match=r"Training does not trust sagemaker.*give --role"):
        find_role("Training", service)
    aws.plan = lambda *_: Fault(DENIED)
    with pytest.raises(SpecError, match=r"it can't be found: User is not authorized.*give --role"):
        find_role(None, service)


@pytest.mark.parametrize(
    ("facts", "domain", "role"),
    [
        ({"DomainId": "d-1", "ExecutionRoleArn": ROLE}, {}, ROLE),
        ({"DomainId": "d-1", "UserProfileName": "me"},
         {"UserSettings": {"ExecutionRole": ROLE}}, ROLE),
        ({"DomainId": "d-1", "UserProfileName": "me"},
         {"DefaultUserSettings": {"ExecutionRole": ROLE}}, ROLE),
        ({"DomainId": "d-1", "SpaceName": "s"}, {"DefaultSpaceSettings": {"ExecutionRole": ROLE}},
         ROLE),
        ({"ResourceName": "notebook"}, {"RoleArn": ROLE}, ROLE),
        ({"ResourceName": "notebook"}, {}, OWN),
    ],
)  # fmt: skip
def test_the_role_of_a_notebook_and_of_studio(
    aws: Aws, service: Service, notebook: Callable[..., None], facts: dict[str, str],
    domain: dict[str, Any], role: str,
) -> None:  # fmt: skip
    notebook(**facts)
    aws.domain = domain
    assert find_role(None, service) == role


def test_an_installed_sagemaker_is_not_asked(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version 3 has no such function, and version 2 another session and region."""
    (tmp_path / "sagemaker.py").write_text("raise RuntimeError('broken')")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_role(None, service) == OWN


def test_a_region_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SpecError, match="region: missing"):
        _ = Service().region
    with pytest.raises(SpecError, match="region: missing"):
        Service().client("s3")
    assert Service("eu-west-1").region == "eu-west-1"
    session = boto3.Session("x", "x", region_name="us-west-1")
    for name in ("s3", "sagemaker", "iam"):
        assert Service("eu-west-1", session=session).client(name).meta.region_name in (
            "eu-west-1", "aws-global",
        )  # fmt: skip
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    assert Service().region == "eu-west-2"
    assert Service().client("s3").meta.region_name == "eu-west-2"


def test_no_credentials_are_told_as_recpack_tells_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(TrainError, match="no AWS credentials were found; set AWS_ACCESS_KEY_ID"):
        attach("foo", Service("eu-west-1"))
    for command in (["status"], ["predict", "cats", "nothere.jpg"]):
        assert main([*command, "--region", "eu-west-1"]) == 1
        told = f"recpack-train {command[0]}: no AWS credentials were found; set AWS_ACCESS_KEY_ID"
        assert capsys.readouterr().err.startswith(told)


def endpoint_answer(status: str, **more: str) -> dict[str, Any]:
    return {
        "EndpointName": "cats", "EndpointStatus": status, "CreationTime": "2026-01-01",
        "EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/cats",
        "LastModifiedTime": "2026-01-01",
    } | more  # fmt: skip


def test_waiting_for_an_endpoint() -> None:
    stubs = Stubs()
    endpoint = Endpoint("cats", ("cat",), stubs.service)
    for status in ("Creating", "Creating", "InService"):
        stubs.answer("sagemaker", "describe_endpoint", endpoint_answer(status))
    naps: list[float] = []
    assert endpoint.wait(sleep=naps.append, poll=3) is endpoint
    assert naps == [3, 3]
    stubs.answer(
        "sagemaker", "describe_endpoint", endpoint_answer("Failed", FailureReason="no room")
    )
    with pytest.raises(JobError, match="cats: no room"):
        endpoint.wait()
    stubs.refuse("sagemaker-runtime", "invoke_endpoint", "ModelError", "the model died")
    with pytest.raises(JobError, match="cats: the model died"):
        endpoint.predict(__import__("numpy").zeros((9, 9, 3), "uint8"))


def test_jobs_that_follow_each_other_in_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib import pyplot

    service = Stubs().service
    first, second = (
        Job(name, service, [
            Metric(kind, value + epoch / 10, epoch, 1)
            for epoch in range(epochs) for kind, value in (("mAP", 0.1), ("smooth_l1", 2.0))
        ])
        for name, epochs in (("a", 5), ("b", 1))
    )  # fmt: skip
    figures: list[Any] = []
    monkeypatch.setattr(pyplot, "close", figures.append)
    plot_jobs([first, second], tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    upper, lower = figures[0].axes
    assert [list(line.get_xdata()) for line in upper.lines if line.get_label()[0] == "m"] == [
        [1, 2, 3, 4, 5], [6],
    ]  # fmt: skip
    labels = [text.get_text() for text in lower.get_legend().get_texts()]
    assert "smooth_l1, a" in labels
    pyplot.close("all")
    with pytest.raises(TrainError, match="'foo' is not supported"):
        plot_jobs([first], tmp_path / "x.foo")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_plots_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(TrainError, match="pip install matplotlib"):
        plot_jobs([], tmp_path / "x.png")
