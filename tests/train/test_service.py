from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.stubs import Stubs
from train.endpoint import Endpoint
from train.errors import JobError, SpecError, TrainError
from train.job import Job
from train.logs import Metric
from train.plots import plot_jobs
from train.service import Service, find_role

pytestmark = pytest.mark.once

ROLE = "arn:aws:iam::123456789012:role/service-role/Training"


def role_answer() -> dict[str, Any]:
    return {
        "Role": {
            "Path": "/service-role/", "RoleName": "Training", "RoleId": "A" * 20, "Arn": ROLE,
            "CreateDate": "2026-01-01",
        }
    }  # fmt: skip


def caller(arn: str) -> dict[str, str]:
    return {"UserId": "x", "Account": "123456789012", "Arn": arn}


def test_the_role() -> None:
    stubs = Stubs()
    assert find_role(ROLE, stubs.service) == ROLE
    stubs.answer("iam", "get_role", role_answer(), RoleName="Training")
    assert find_role("Training", stubs.service) == ROLE
    stubs.answer("sts", "get_caller_identity",
                 caller("arn:aws:sts::123456789012:assumed-role/Training/session"))  # fmt: skip
    stubs.answer("iam", "get_role", role_answer(), RoleName="Training")
    assert find_role(None, stubs.service) == ROLE
    user = "arn:aws:iam::123456789012:user/me"
    stubs.answer("sts", "get_caller_identity", caller(user))
    with pytest.raises(SpecError, match=f"you are {user}, which SageMaker can't use"):
        find_role(None, stubs.service)
    stubs.done()


def test_a_region_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SpecError, match="region: missing"):
        _ = Service().region
    with pytest.raises(SpecError, match="region: missing"):
        Service().client("s3")
    assert Service("eu-west-1").region == "eu-west-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    assert Service().region == "eu-west-2"
    assert Service().client("s3").meta.region_name == "eu-west-2"


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


def test_what_is_not_there_is_deleted_already_and_other_errors_are_told() -> None:
    stubs = Stubs()
    endpoint = Endpoint("cats", ("cat",), stubs.service)
    text = 'Could not find endpoint "cats".'
    stubs.refuse("sagemaker", "delete_endpoint", "ValidationException", text)
    stubs.answer("sagemaker", "delete_endpoint_config", EndpointConfigName="cats")
    stubs.refuse("sagemaker", "delete_model", "ValidationException", "Could not find model")
    endpoint.delete()
    stubs.refuse("sagemaker", "delete_endpoint", "AccessDeniedException", "you may not")
    with pytest.raises(Exception, match="you may not"):
        endpoint.delete()
    stubs.done()


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


def test_plots_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(TrainError, match="pip install matplotlib"):
        plot_jobs([], tmp_path / "x.png")
