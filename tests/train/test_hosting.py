"""Endpoints are made, replaced and deleted, and nothing that others made ever is."""

from __future__ import annotations

import json

import pytest

from tests.support.aws import BROKEN, DENIED, EXPIRED, ROLE, THROTTLED, Aws, Fault
from tests.support.hosts import MODELS, Typed, connect, model, rest, trained
from train.endpoint import attach_endpoint

pytestmark = pytest.mark.once


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    aws = trained()
    connect(monkeypatch, aws)
    rest(monkeypatch, lambda _: None)
    return aws


def deploy(typed: Typed, *options: str, job: str = "voc-1") -> tuple[int, str, str]:
    return typed("deploy", model(job), "--role", ROLE, *options)


def test_a_live_endpoint_is_never_deleted(aws: Aws, typed: Typed) -> None:
    assert deploy(typed, "--endpoint-name", "prod")[0] == 0
    before = aws.holds()
    code, out, err = deploy(typed, "--endpoint-name", "prod")
    assert (code, out) == (1, "")
    assert "there is an endpoint of this name (InService)" in err
    assert "--update" in err
    assert aws.holds() == before
    assert len(aws.asked("CreateModel")) == 1


def test_an_endpoint_that_another_makes_at_the_same_time(aws: Aws, typed: Typed) -> None:
    def plan(operation: str, _: int) -> None:
        if operation == "CreateModel" and "prod" not in aws.endpoints:
            for kind, into in (("Endpoint", aws.endpoints), ("EndpointConfig", aws.configs)):
                into["prod"] = {f"{kind}Name": "prod", f"{kind}Status": "InService",
                                "EndpointConfigName": "prod", "CreationTime": 1}  # fmt: skip

    aws.plan = plan
    code, _, err = deploy(typed, "--endpoint-name", "prod")
    assert code == 1
    assert "already existing" in err
    assert aws.holds() == {"models": set(), "configs": {"prod"}, "endpoints": {"prod"}}


def test_the_remedy_is_not_the_name_of_what_another_made(aws: Aws, typed: Typed) -> None:
    """Interrupted in the very call that makes the endpoint, and then nothing can be seen."""

    def plan(operation: str, _: int) -> Fault | None:
        if operation == "CreateEndpoint":
            aws.endpoints["prod"] = {"EndpointName": "prod", "EndpointStatus": "InService",
                                     "EndpointConfigName": "theirs", "CreationTime": 1}  # fmt: skip
            raise KeyboardInterrupt
        return Fault(DENIED) if "prod" in aws.endpoints else None

    aws.plan = plan
    code, _, err = deploy(typed, "--endpoint-name", "prod")
    assert code == 130
    (part,) = aws.configs
    assert f"delete it with: recpack-train delete {part}\n" in err
    aws.plan = lambda *_: None
    assert typed("delete", part)[0] == 0
    assert aws.holds() == {"models": set(), "configs": set(), "endpoints": {"prod"}}


def test_a_new_model_takes_the_place_of_the_old_one(aws: Aws, typed: Typed) -> None:
    deploy(typed, "--endpoint-name", "prod")
    old = aws.endpoints["prod"]["EndpointConfigName"]
    code, out, _ = deploy(typed, "--endpoint-name", "prod", "--update", job="voc-2")
    assert (code, json.loads(out)["classes"]) == (0, ["cat", "dog", "cow"])
    (new,) = aws.configs
    assert new != old
    assert aws.endpoints["prod"]["EndpointConfigName"] == new
    (model,) = aws.models.values()
    assert model["PrimaryContainer"]["ModelDataUrl"] == f"{MODELS}/voc-2/output/model.tar.gz"
    assert deploy(typed, "--endpoint-name", "nowhere", "--update")[0] == 1
    assert aws.holds()["endpoints"] == {"prod"}


def test_an_update_that_fails_leaves_the_old_model_serving(aws: Aws, typed: Typed) -> None:
    deploy(typed, "--endpoint-name", "prod")
    before = aws.holds()
    aws.reason = "no room"
    code, _, err = deploy(typed, "--endpoint-name", "prod", "--update")
    assert code == 1
    assert "the old one does: no room" in err
    assert aws.holds() == before


def test_an_update_that_was_interrupted_goes_on(
    aws: Aws, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts stay, also when they are named to be deleted, and the endpoint is never in what
    is shown as the remedy."""
    deploy(typed, "--endpoint-name", "prod")
    (old,) = aws.configs

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    rest(monkeypatch, interrupt)
    aws.polls = 9
    code, _, err = deploy(typed, "--endpoint-name", "prod", "--update", job="voc-2")
    assert code == 130
    (new,) = set(aws.configs) - {old}
    assert f"the update of prod goes on, with: model {new}, endpoint config {new}" in err
    assert "delete it with" not in err
    code, _, err = typed("delete", new)
    assert code == 1
    assert f"endpoint config {new}: the endpoint prod uses it, so it stays" in err
    assert "delete both with: recpack-train delete prod" in err
    assert set(aws.configs) == set(aws.models) == {old, new}


def test_endpoints_with_long_or_similar_names_do_not_share_parts(aws: Aws, typed: Typed) -> None:
    names = ["a" * 50 + "-blue", "a" * 50 + "-green", "b--c", "b-c"]
    for name in names:
        assert deploy(typed, "--endpoint-name", name)[0] == 0
    aws.polls = 0
    for name in names[::2]:
        assert typed("delete", name)[0] == 0
        assert typed("delete", name)[0] in (0, 1)  # once more, when it is gone
    assert set(aws.endpoints) == set(names[1::2])
    assert len(aws.configs) == len(aws.models) == 2
    kept = {one["EndpointConfigName"] for one in aws.endpoints.values()}
    assert set(aws.configs) == kept


def test_an_endpoint_that_fails_is_deleted_with_its_parts(aws: Aws, typed: Typed) -> None:
    aws.reason = "the image has no such entry point"
    code, _, err = deploy(typed)
    assert code == 1
    assert aws.reason in err
    assert aws.holds()["models"] == aws.holds()["configs"] == set()
    assert [one["EndpointStatus"] for one in aws.endpoints.values()] == ["Deleting"]


@pytest.mark.parametrize("error", [THROTTLED, BROKEN, None])
def test_waiting_outlasts_what_passes(
    aws: Aws, typed: Typed, error: tuple[str, int, str] | None
) -> None:
    aws.plan = lambda name, _: (
        Fault(error)
        if aws.endpoints and name == "DescribeEndpoint" and len(aws.asked(name)) < 20
        else None
    )
    aws.polls = 3
    assert deploy(typed, "--endpoint-name", "prod")[0] == 0
    assert aws.endpoints["prod"]["EndpointStatus"] == "InService"


def test_what_was_just_made_may_not_be_seen_yet(aws: Aws, typed: Typed) -> None:
    aws.hidden = 2
    assert deploy(typed, "--endpoint-name", "prod")[0] == 0
    assert aws.endpoints["prod"]["EndpointStatus"] == "InService"


@pytest.mark.parametrize("error", [EXPIRED, DENIED])
def test_what_can_not_be_deleted_is_named(
    aws: Aws, typed: Typed, error: tuple[str, int, str]
) -> None:
    aws.plan = lambda *_: Fault(error) if aws.endpoints else None
    aws.polls = 9
    code, _, err = deploy(typed)
    assert code == 1
    (name,) = aws.endpoints
    assert f"endpoint {name}" in err
    assert f"recpack-train delete {name}" in err
    aws.plan = lambda *_: None
    code, _, err = typed("delete", name)
    assert code == 0
    assert aws.holds()["models"] == aws.holds()["configs"] == set()


def test_interrupted_while_it_is_being_made(
    aws: Aws, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    rest(monkeypatch, interrupt)
    aws.polls = 5
    code, out, err = deploy(typed, "--endpoint-name", "prod")
    assert (code, out) == (130, "")
    assert "endpoint prod" in err
    assert "recpack-train delete prod" in err
    assert set(aws.endpoints) == {"prod"}
    assert len(aws.models) == len(aws.configs) == 1


@pytest.mark.parametrize(
    "operation", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint"]
)
def test_an_answer_that_is_lost(
    aws: Aws, typed: Typed, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore asks again, and hears that the name is taken: by itself."""
    connect(monkeypatch, aws, attempts=3)
    lost: list[str] = []

    def plan(name: str, _: int) -> Fault | None:
        if name != operation or lost:
            return None
        lost.append(name)
        return Fault(None, "after")

    update = ["--update"] if operation == "UpdateEndpoint" else []
    if update:
        deploy(typed, "--endpoint-name", "prod")
        aws.polls = 0  # it is done when it is asked for again
    aws.plan = plan
    code, _, err = deploy(typed, "--endpoint-name", "prod", *update)
    assert code == 0, err
    assert {name: len(found) for name, found in aws.holds().items()} == {
        "models": 1, "configs": 1, "endpoints": 1,
    }  # fmt: skip


def test_delete_takes_what_deploy_made_and_nothing_else(aws: Aws, typed: Typed) -> None:
    deploy(typed, "--endpoint-name", "prod")
    deploy(typed, "--endpoint-name", "prod-2")
    shared = {"ModelName": "theirs", "CreationTime": 1}
    aws.models["theirs"] = shared
    aws.configs["theirs"] = {"EndpointConfigName": "theirs", "CreationTime": 1,
                             "ProductionVariants": [{"ModelName": "theirs"}]}  # fmt: skip
    aws.endpoints["other"] = {"EndpointName": "other", "EndpointConfigName": "theirs",
                              "EndpointStatus": "InService", "CreationTime": 1}  # fmt: skip
    code, _, err = typed("delete", "prod")
    assert code == 0
    assert "deleted endpoint prod" in err
    assert {name[:7] for name in aws.configs} == {"prod-2-", "theirs"}
    code, _, err = typed("delete", "other")
    assert code == 0
    assert "not made by deploy, so it stays: endpoint config theirs, model theirs" in err
    assert aws.models["theirs"] is shared
    aws.configs["sdk"] = {"EndpointConfigName": "sdk", "CreationTime": 1,
                          "ProductionVariants": [{"ModelName": "theirs"}]}  # fmt: skip
    aws.endpoints["sdk"] = dict(aws.endpoints["prod-2"], EndpointName="sdk",
                                EndpointConfigName="sdk")  # fmt: skip
    assert typed("delete", "sdk")[0] == 0
    assert "sdk" in aws.configs
    code, _, err = typed("delete", "tpyo")
    assert code == 1
    assert "tpyo: there is no such endpoint" in err


def test_delete_takes_what_an_interrupted_deploy_left(aws: Aws, typed: Typed) -> None:
    aws.plan = lambda name, _: Fault(EXPIRED) if name.startswith("Delete") else (
        Fault(DENIED) if name == "CreateEndpoint" else None
    )  # fmt: skip
    code, _, err = deploy(typed, "--endpoint-name", "prod")
    assert code == 1
    assert len(aws.models) == len(aws.configs) == 1
    assert "recpack-train delete prod" in err
    aws.plan = lambda *_: None
    assert typed("delete", "prod")[0] == 0
    assert aws.holds() == {"models": set(), "configs": set(), "endpoints": set()}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("cat", "classes: the model was trained on cat, dog"),
        ("dog,cat", "classes: the model was trained on cat, dog"),
    ],
)
def test_other_classes_than_those_of_the_training(
    aws: Aws, typed: Typed, given: str, message: str
) -> None:
    code, _, err = deploy(typed, "--classes", given)
    assert code == 1
    assert message in err
    assert aws.holds()["models"] == set()


def test_a_model_that_is_not_there(aws: Aws, typed: Typed) -> None:
    code, _, err = typed("deploy", f"{MODELS}/voc-3/output/model.tar.gz", "--role", ROLE,
                         "--classes", "cat")  # fmt: skip
    assert code == 1
    assert f"model: there is no {MODELS}/voc-3/output/model.tar.gz" in err
    assert aws.holds()["models"] == set()


@pytest.mark.parametrize(
    ("error", "words"), [(DENIED, "not authorized"), (EXPIRED, "expired"), (THROTTLED, "Rate")]
)
def test_an_endpoint_that_can_not_be_seen_is_not_one_that_is_missing(
    aws: Aws, typed: Typed, error: tuple[str, int, str], words: str
) -> None:
    deploy(typed, "--endpoint-name", "prod")
    aws.plan = lambda name, _: Fault(error) if name == "DescribeEndpoint" else None
    code, _, err = typed("predict", "prod", "x.jpg")
    assert code == 1
    assert words in err
    assert "no such endpoint" not in err


def test_models_of_several_containers(
    aws: Aws, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = connect(monkeypatch, aws)
    deploy(typed, "--endpoint-name", "prod")
    for one in aws.models.values():
        one["Containers"] = [one.pop("PrimaryContainer"), {"Image": "after"}]
    aws.answers = [json.dumps({"prediction": [[1, 0.9, 0, 0, 1, 1]]}).encode()]
    assert attach_endpoint("prod", service).classes == ("cat", "dog")
