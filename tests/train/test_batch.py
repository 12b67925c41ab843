"""Batch jobs: what they are given, waited for, and leave behind; asynchronous and serverless
endpoints; lists and prices."""

from __future__ import annotations

import json
from argparse import _SubParsersAction
from pathlib import Path

import pytest

import recpack
import train
from tests.support.aws import BROKEN, DENIED, EXPIRED, ROLE, Aws, Fault
from tests.support.devkits import jpeg
from tests.support.hosts import Typed, connect, model, rest, trained
from train.cli import main, parser
from train.pictures import load

pytestmark = pytest.mark.once

IMAGES, OUTPUT = "s3://hosting/images", "s3://hosting/found"
ANSWER = b'{"prediction": [[1, 0.9, 0.1, 0.1, 0.5, 0.5], [0, 0.2, 0, 0, 1, 1]]}'


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    aws = trained()
    aws.answers = [ANSWER]
    for name in ("images/a.jpg", "images/deep/b.png", "images-of-others/x.jpg"):
        aws.objects[f"hosting/{name}"] = jpeg(40, 30)
    aws.objects["hosting/images/"] = b""  # as the AWS console makes folders
    connect(monkeypatch, aws)
    rest(monkeypatch, lambda _: None)
    return aws


def transform(typed: Typed, *options: str) -> tuple[int, str, str]:
    return typed("transform", model(), IMAGES, OUTPUT, "--role", ROLE, *options)


def test_a_batch_job_from_model_to_pictures(aws: Aws, typed: Typed, tmp_path: Path) -> None:
    code, out, err = transform(
        typed, "--draw", str(tmp_path / "drawn"), "--name", "batch-1", "--tag", "team=red",
        "--subnets", "subnet-1", "--security-groups", "sg-1", "--volume-kms-key", "disk",
        "--output-kms-key", "out", "--isolated",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert [one["image"] for one in found] == ["a.jpg", "deep/b.png"]
    assert [(one["class"], one["pixels"]) for one in found[0]["objects"]] == [
        ("dog", [4, 3, 20, 15])
    ]
    drawn = load(tmp_path / "drawn" / "deep" / "b.png")
    assert (drawn != load(jpeg(40, 30))).any()
    assert "batch job batch-1, with model batch-1-" in err
    assert aws.models == {}
    (made,) = aws.asked("CreateModel")
    (sent,) = aws.asked("CreateTransformJob")
    source = sent["TransformInput"]["DataSource"]["S3DataSource"]
    assert source == {"S3DataType": "S3Prefix", "S3Uri": f"{IMAGES}/"}
    assert sent["TransformOutput"] == {
        "S3OutputPath": f"{OUTPUT}/", "AssembleWith": "None", "KmsKeyId": "out",
    }  # fmt: skip
    assert sent["TransformResources"]["VolumeKmsKeyId"] == "disk"
    assert made["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert made["EnableNetworkIsolation"]
    assert made["Tags"] == sent["Tags"] == [{"Key": "team", "Value": "red"}]


def test_results_of_a_job_that_was_not_waited_for(aws: Aws, typed: Typed) -> None:
    code, out, err = transform(typed, "--no-wait", "--name", "batch-1")
    assert code == 0
    assert json.loads(out)["model"] in aws.models
    assert "recpack-train results batch-1 --classes cat,dog" in err
    code, out, _ = typed("results", "batch-1", "--threshold", "0")
    assert (code, len(json.loads(out)[0]["objects"])) == (0, 2)
    assert aws.models == {}
    assert typed("results", "batch-1", "--classes", "cat,dog")[0] == 0
    code, _, err = typed("results", "batch-1")
    assert code == 1
    assert "give the names in the order of their ids, with --classes" in err
    code, _, err = typed("results", "tpyo")
    assert code == 1
    assert "there is no such batch job" in err


def test_a_batch_job_that_is_not_seen_yet(aws: Aws, typed: Typed) -> None:
    aws.hidden = 2
    assert transform(typed)[0] == 0


def test_a_batch_job_that_fails_leaves_no_model(aws: Aws, typed: Typed) -> None:
    aws.end, aws.reason = "Failed", "Bad HTTP status received from algorithm: 400"
    code, out, err = transform(typed)
    assert (code, out) == (1, "")
    assert aws.reason in err
    assert aws.models == {}


def test_interrupted_while_a_batch_job_runs(
    aws: Aws, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    rest(monkeypatch, interrupt)
    code, _, err = transform(typed, "--name", "batch-1")
    assert code == 130
    (left,) = aws.models
    assert f"left: batch job batch-1, model {left}" in err
    assert "recpack-train results batch-1 --classes cat,dog" in err
    rest(monkeypatch, lambda _: None)
    assert typed("results", "batch-1", "--classes", "cat,dog")[0] == 0
    assert aws.models == {}


def test_a_batch_job_that_is_refused(aws: Aws, typed: Typed) -> None:
    aws.plan = lambda name, _: Fault(DENIED) if name == "CreateTransformJob" else None
    code, _, err = transform(typed)
    assert code == 1
    assert "the service refuses the transform job" in err
    assert "deleted again: model voc-1-batch-" in err
    assert aws.models == {}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {"hosting/images/a.xml": b"x"},
            (),
            "images/a.xml is below s3://hosting/images/; keep only",
        ),
        ({"hosting/images/b.jpg": b""}, (), "images/b.jpg has 0 bytes"),
        ({}, ("--name", "a_b"), "use at most 63 letters, digits and inner hyphens"),
        ({}, ("--subnets", "a"), "give both --subnets and --security-groups"),
        ({}, ("--instance-count", "0"), "--instance-count: must be at least 1"),
    ],
)
def test_batch_jobs_that_would_fail(
    aws: Aws, typed: Typed, change: dict[str, bytes], options: tuple[str, ...], message: str
) -> None:
    aws.objects |= change
    code, _, err = transform(typed, *options)
    assert code in (1, 2)
    assert message in err
    assert aws.models == aws.transforms == {}


def test_places_of_a_batch_job(aws: Aws, typed: Typed) -> None:
    for images, output, message in (
        ("s3://hosting/none", OUTPUT, "images: there are none below s3://hosting/none/"),
        (IMAGES, f"{IMAGES}/found", "output: s3://hosting/images/found/ is below the images"),
        (IMAGES, "s3://nowhere/x", "output: there is no bucket nowhere"),
        ("images", OUTPUT, "write s3://bucket/"),
    ):
        code, _, err = typed("transform", model(), images, output, "--role", ROLE)
        assert code in (1, 2)
        assert message in err
    assert aws.models == aws.transforms == {}


def test_names_of_images_do_not_lead_out_of_the_folder(
    aws: Aws, typed: Typed, tmp_path: Path
) -> None:
    aws.objects["hosting/images/../../out.jpg"] = jpeg(40, 30)
    code, out, err = transform(typed, "--draw", str(tmp_path / "a" / "drawn"))
    assert code == 0
    assert len(json.loads(out)) == 3
    assert "out.jpg: not drawn" in err
    assert not list(tmp_path.glob("*.jpg"))


# ---- serverless and asynchronous endpoints


def deploy(typed: Typed, *options: str, job: str = "voc-1") -> tuple[int, str, str]:
    name = ("--endpoint-name", "prod")
    return typed("deploy", model(job), "--role", ROLE, *name, *options)


def test_a_serverless_endpoint(aws: Aws, typed: Typed) -> None:
    assert deploy(typed, "--serverless", "2048,7", "--tag", "a=b")[0] == 0
    (config,) = aws.configs.values()
    (variant,) = config["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 7}
    assert "InstanceType" not in variant
    assert all(made["Tags"] for made in (config, *aws.models.values(), *aws.endpoints.values()))
    assert deploy(typed, "--serverless", "1024", "--update")[0] == 0


def test_an_endpoint_in_a_network_of_its_own(aws: Aws, typed: Typed) -> None:
    code, _, err = deploy(
        typed, "--subnets", "subnet-1,subnet-2", "--security-groups", "sg-1", "--isolated",
        "--volume-kms-key", "disk",
    )  # fmt: skip
    assert code == 0, err
    (made,), (config,) = aws.models.values(), aws.configs.values()
    assert made["VpcConfig"]["Subnets"] == ["subnet-1", "subnet-2"]
    assert made["EnableNetworkIsolation"]
    assert config["KmsKeyId"] == "disk"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--serverless", "2000"), "serverless: 2000 MB; use 1024, 2048"),
        (("--serverless", "1024,900"), "900 calls at once; use 1 to 200"),
        (("--serverless", "much"), "write megabytes, or megabytes,calls: 2048,5"),
        (("--serverless", "1024", "--async", "s3://hosting/x/"), "leave out one of them"),
        (("--serverless", "1024", "--isolated"), "are for instances; leave them out"),
        (("--async", "x"), "async: 'x'; write s3://bucket/"),
        (("--tag", "aws:x=1"), "tag: 'aws:x'='1'"),
    ],
)
def test_what_hosting_refuses(
    aws: Aws, typed: Typed, options: tuple[str, ...], message: str
) -> None:
    code, _, err = deploy(typed, *options)
    assert code == 2
    assert message in err
    assert aws.models == {}


def test_what_runs_on_instances_does_not_become_serverless(aws: Aws, typed: Typed) -> None:
    deploy(typed)
    before = aws.holds()
    code, _, err = deploy(typed, "--serverless", "1024", "--update")
    assert code == 1
    assert "it runs on instances and can't become serverless" in err
    assert aws.holds() == before


@pytest.fixture
def photo(tmp_path: Path) -> str:
    (tmp_path / "photo.jpg").write_bytes(jpeg(40, 30))
    return str(tmp_path / "photo.jpg")


def test_an_asynchronous_endpoint(aws: Aws, typed: Typed, photo: str) -> None:
    code, _, err = deploy(typed, "--async", "s3://hosting/later", "--output-kms-key", "out")
    assert code == 0, err
    (config,) = aws.configs.values()
    assert config["AsyncInferenceConfig"]["OutputConfig"] == {
        "S3OutputPath": "s3://hosting/later/", "S3FailurePath": "s3://hosting/later/failed/",
        "KmsKeyId": "out",
    }  # fmt: skip
    aws.plan = lambda name, number: Fault(BROKEN) if number % 2 and "Object" in name else None
    code, out, err = typed("predict", "prod", photo)
    assert code == 0, err
    assert [one["class"] for one in json.loads(out)] == ["dog"]
    (asked,) = aws.asked("InvokeEndpointAsync")
    assert asked["InputLocation"].startswith("s3://hosting/later/images/")
    assert not [key for key in aws.objects if "later/images" in key]


def test_an_asynchronous_answer_that_does_not_come(aws: Aws, typed: Typed, photo: str) -> None:
    deploy(typed, "--async", "s3://hosting/later/")
    aws.plan = lambda name, _: Fault(EXPIRED) if aws.asked("InvokeEndpointAsync") and (
        name == "GetObject"
    ) else None  # fmt: skip
    code, _, err = typed("predict", "prod", photo)
    assert code == 1
    assert "left: the image s3://hosting/later/images/" in err
    assert "its answer will be s3://hosting/later/" in err
    aws.plan = lambda *_: None
    aws.reason = "the model died"
    code, _, err = typed("predict", "prod", photo)
    assert code == 1
    assert "the service can't detect in the image: the model died" in err


# ---- what runs, and what it costs


def test_the_list_of_endpoints(aws: Aws, typed: Typed) -> None:
    deploy(typed, "--instance-count", "2")
    typed(
        "deploy", model("voc-2"), "--role", ROLE, "--endpoint-name", "other", "--serverless", "1024"
    )
    aws.page = 1
    aws.invocations = {"prod": 17.0}
    code, out, _ = typed("endpoints")
    assert code == 0
    rows = {one.pop("endpoint"): one for one in json.loads(out)}
    assert list(rows) == ["other", "prod"]  # the newest first
    assert rows["prod"] == {
        "status": "InService", "runs_on": ["2 x ml.m5.xlarge"], "calls_of_last_day": 17,
        "since": rows["prod"]["since"],
    }  # fmt: skip
    assert rows["prod"]["since"].startswith("20")
    assert rows["other"]["runs_on"] == ["serverless, 1024 MB"]
    assert rows["other"]["calls_of_last_day"] == 0
    aws.plan = lambda name, _: Fault(DENIED) if name == "GetMetricStatistics" else None
    code, out, _ = typed("endpoints", "--contains", "pro")
    assert [one["calls_of_last_day"] for one in json.loads(out)] == [None]


def product(usage: str, price: str, unit: str = "Hrs") -> dict[str, object]:
    return {
        "product": {"attributes": {
            "regionCode": "us-east-1", "instanceName": usage.partition(":")[2], "usagetype": usage,
        }},
        "terms": {"OnDemand": {"x": {"priceDimensions": {
            "y": {"unit": unit, "pricePerUnit": {"USD": price}},
        }}}},
    }  # fmt: skip


def test_prices(aws: Aws, typed: Typed) -> None:
    aws.prices = [
        product("USE1-Train:ml.g5.xlarge", "1.5"), product("USE1-Host:ml.g5.xlarge", "2.5"),
        product("USE1-Train:ml.g5.2xlarge", "9"), product("USE1-Train:ml.g5.xlarge", "7", "GB"),
        product("Tsform:ml.m5.xlarge", "1"), product("USE1-Tsform:ml.m5.xlarge", "2"),
    ]  # fmt: skip
    code, out, err = typed("cost", "ml.g5.xlarge", "--hours", "3", "--count", "2")
    assert code == 0
    assert json.loads(out) == {
        "instance_type": "ml.g5.xlarge", "for": "training", "region": "us-east-1", "hours": 3.0,
        "count": 2, "currency": "USD", "price_per_hour": 1.5, "price": 9.0,
    }  # fmt: skip
    assert "without storage" in err
    assert json.loads(typed("cost", "ml.g5.xlarge", "--for", "hosting")[1])["price"] == 2.5
    for words, message in (
        (("ml.m5.large", "--for", "hosting"), "no price of ml.m5.large for hosting in us-east-1"),
        (("ml.m5.xlarge", "--for", "transform"), "2 prices of ml.m5.xlarge"),
        (("ml.g5.xlarge", "--hours", "nan"), "--hours and --count: give numbers above 0"),
    ):
        code, out, err = typed("cost", *words)
        assert (out, code in (1, 2)) == ("", True)
        assert message in err
    aws.plan = lambda name, _: Fault(DENIED) if name == "GetProducts" else None
    code, _, err = typed("cost", "ml.g5.xlarge")
    assert code == 1
    assert "needs the permission pricing:GetProducts" in err
    code, _, err = typed("cost", "ml.g5.xlarge", "--region", "us-gov-west-1")
    assert code == 1
    assert "can't be asked from us-gov-west-1" in err


# ---- the command line


def test_every_option_is_explained_with_its_default() -> None:
    (commands,) = [one for one in parser()._actions if isinstance(one, _SubParsersAction)]
    seen = 0
    for name, command in commands.choices.items():
        for option in command._actions:
            if option.option_strings and option.dest != "help":
                seen += 1
                assert option.help, f"{name} {option.option_strings[0]}"
                if option.default not in (None, False, "", []) and option.nargs != 0:
                    assert "default" in option.help, f"{name} {option.option_strings[0]}"
    assert seen > 50


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"recpack-train {recpack.__version__}\n"


def test_every_public_name_is_there() -> None:
    assert all(getattr(train, name) is not None for name in train.__all__)
    assert len(train.__all__) > 25
