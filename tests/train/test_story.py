"""From photographs on a disk to boxes on a picture: pack into S3, train, go on, host, detect, draw,
take down; against moto over HTTP, which does all but the training and the detecting."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody

import recpack
from recpack.cli.app import main as recpack_main
from recpack.demo.s3_server import credentials
from recpack.storage.s3.location import parse_location
from tests.support.botomodel import faults
from tests.support.devkits import jpeg
from tests.support.jobs import put_model
from tests.support.stubs import Stubs
from train.channels import manifest_key, read_channel
from train.cli import main
from train.detections import Detection, Detections
from train.endpoint import Endpoint, attach_endpoint
from train.errors import SpecError, TrainError
from train.hosting import deploy
from train.pictures import colour, load
from train.planning import Plan, fit, plan
from train.service import Service

pytestmark = pytest.mark.once

ROLE = "arn:aws:iam::123456789012:role/Training"
BUCKET = "story"
TRAIN, VALIDATION = f"s3://{BUCKET}/prod/train/train.rec", f"s3://{BUCKET}/prod/val/val.rec"
OUTPUT = f"s3://{BUCKET}/prod/models"
ANSWER = json.dumps({"prediction": [[7, 0.9, 0.25, 0.25, 0.75, 0.75]]}).encode()


class Mixed:
    """moto for all but what it can't: a JPEG as a body, and the models of its jobs."""

    region_name = "us-east-1"

    def __init__(self, url: str, stubs: Stubs) -> None:
        self._url, self._stubs = url, stubs
        self._session = boto3.Session(region_name=self.region_name)

    def client(self, name: str, region_name: str, endpoint_url: str | None = None) -> Any:
        assert endpoint_url is None
        if name == "sagemaker-runtime":
            return self._stubs.client(name, region_name)
        made = self._session.client(name, region_name=region_name, endpoint_url=self._url)
        if name == "sagemaker":
            made.meta.events.register("provide-client-params.*.CreateTrainingJob", self._train)
        return made

    def _train(self, params: dict[str, Any], **_: Any) -> None:
        output = params["OutputDataConfig"]["S3OutputPath"]
        put_model(self.client("s3", self.region_name), output, params["TrainingJobName"])


@pytest.fixture
def stubs() -> Stubs:
    return Stubs()


@pytest.fixture
def service(moto: str, stubs: Stubs, devkit: Path) -> Iterator[Service]:
    with credentials():
        made = Service(session=Mixed(moto, stubs))
        client = made.client("s3")
        client.create_bucket(Bucket=BUCKET)
        for place, year in ((TRAIN, "2007"), (VALIDATION, "2012")):
            recpack.convert(
                devkit, place, year=year, classes="voc", endpoint_url=moto, segment_size="5MiB",
                jobs=1,
            )  # fmt: skip
        yield made
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for one in page.get("Contents", []):
                client.delete_object(Bucket=BUCKET, Key=one["Key"])
        client.delete_bucket(Bucket=BUCKET)


def started(service: Service) -> int:
    return len(service.client("sagemaker").list_training_jobs()["TrainingJobSummaries"])


def expect_detection(stubs: Stubs, body: bytes, content_type: str = "image/jpeg") -> None:
    stubs.answer(
        "sagemaker-runtime", "invoke_endpoint",
        {"Body": StreamingBody(io.BytesIO(ANSWER), len(ANSWER))},
        EndpointName="cats", ContentType=content_type, Body=body,
    )  # fmt: skip


def test_the_whole_story(service: Service, stubs: Stubs, tmp_path: Path) -> None:
    first = fit(
        TRAIN, VALIDATION, OUTPUT, role=ROLE, service=service, job_name="story-1", epochs=5,
        base_network="resnet-50",
    ).wait()  # fmt: skip
    described = first.describe()
    sent = described["HyperParameters"]
    assert sent["epochs"] == "5"
    assert (sent["num_classes"], int(sent["label_width"]) > 6) == ("20", True)

    second = fit(
        TRAIN, VALIDATION, OUTPUT, role=ROLE, service=service, job_name="story-2", epochs=1,
        model=first,
    ).wait()  # fmt: skip
    described = second.describe()
    channels = {one["ChannelName"]: one for one in described["InputDataConfig"]}
    assert channels["model"]["DataSource"]["S3DataSource"]["S3Uri"] == first.model
    assert described["HyperParameters"]["base_network"] == "resnet-50"  # the first job's
    assert described["HyperParameters"]["epochs"] == "1"

    photo = jpeg(200, 120)
    (tmp_path / "photo.jpg").write_bytes(photo)
    with deploy(second, name="cats", role=ROLE, service=service) as endpoint:
        assert endpoint.classes == recpack.VOC_CLASSES
        expect_detection(stubs, photo)
        found = endpoint.predict(tmp_path / "photo.jpg")
        assert [(one.name, one.score) for one in found] == [("cat", 0.9)]
        assert found.pixels() == [(50, 30, 150, 90)]
        found.draw(tmp_path / "photo.jpg").save(tmp_path / "drawn.png")
        again = attach_endpoint("cats", service)
        assert list(again.classes) == list(endpoint.classes)
    drawn = load(tmp_path / "drawn.png")
    assert drawn.shape == (120, 200, 3)
    for x, y in ((50, 60), (150, 60), (100, 90)):
        assert tuple(drawn[y, x]) == colour(7)
    assert tuple(drawn[60, 100]) != colour(7)
    client = service.client("sagemaker")
    assert client.list_endpoints()["Endpoints"] == []
    assert client.list_endpoint_configs()["EndpointConfigs"] == []
    assert client.list_models()["Models"] == []
    endpoint.delete()  # absence is no error
    stubs.done()


def chosen(service: Service, data: tuple[str, str] = (TRAIN, VALIDATION), **more: Any) -> Plan:
    return plan(*data, OUTPUT, role=ROLE, service=service, **more)


def test_what_is_planned_is_a_sound_request(service: Service) -> None:
    request = chosen(service).request
    assert faults("sagemaker", "CreateTrainingJob", request) == []
    assert request["AlgorithmSpecification"]["TrainingImage"].endswith("/object-detection:1")
    assert request["TrainingJobName"].startswith("train-20")


def put(service: Service, key: str, body: bytes) -> None:
    service.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)


def test_what_would_fail_late_is_refused_before_it_costs_anything(service: Service) -> None:
    before = started(service)
    client = service.client("s3")
    with pytest.raises(SpecError, match="label_width: 7, but the data needs"):
        chosen(service, label_width=7)
    with pytest.raises(SpecError, match="no such hyperparameter; did you mean mini_batch_size"):
        chosen(service, mini_batch_siz=8)
    with pytest.raises(SpecError, match="has no GPU"):
        chosen(service, instance_type="ml.m5.large")
    with pytest.raises(SpecError, match=r"there is no \.rec below s3://story/nowhere/"):
        plan(f"s3://{BUCKET}/nowhere", VALIDATION, OUTPUT, role=ROLE, service=service)
    with pytest.raises(SpecError, match="there is no bucket no-such-bucket"):
        plan("s3://no-such-bucket/x", VALIDATION, OUTPUT, role=ROLE, service=service)
    put(service, "prod/train/stray.rec", b"x")
    with pytest.raises(SpecError, match="2 objects are below s3://story/prod/train/"):
        chosen(service)
    client.delete_object(Bucket=BUCKET, Key="prod/train/stray.rec")
    whole = client.get_object(Bucket=BUCKET, Key="prod/train/train.rec")["Body"].read()
    put(service, "prod/train/train.rec", whole[:-4])
    with pytest.raises(SpecError, match=r"bytes, its manifest says .* it is another file"):
        chosen(service)
    put(service, "other/train/train.rec", whole)
    with pytest.raises(SpecError, match=r"has no manifest, s3://story/other/_recpack/train\.json"):
        plan(f"s3://{BUCKET}/other/train", VALIDATION, OUTPUT, role=ROLE, service=service)
    for hostile in (b" " * (65 << 20), b"\xff", b"[" * 200_000):
        put(service, "other/_recpack/train.json", hostile)
        with pytest.raises(SpecError, match=r"s3://story/other/_recpack/train\.json: "):
            read_channel("train", "s3://story/other/train/", service)
    put(service, "other/_recpack/train.json", b"{}")
    with pytest.raises(SpecError, match="not a manifest of recpack"):
        plan(f"s3://{BUCKET}/other/train", VALIDATION, OUTPUT, role=ROLE, service=service)
    assert started(service) == before


def list_of(photos: Path, *rows: str) -> Path:
    (photos / "image.jpg").write_bytes(jpeg(60, 40))
    path = photos / "rows.lst"
    path.write_text("".join(f"{index}\t{row}\timage.jpg\n" for index, row in enumerate(rows)))
    return path


GOOD = "2\t5\t0\t0.1\t0.2\t0.3\t0.4"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [GOOD, "2\t5\t0\t10\t20\t30\t40"],
            "1 of its images have boxes in pixels, not in ratios.*pack it with recpack convert",
        ),
        ([GOOD, "3", "4"], "2 of its images have a single label and no boxes.*pack it with"),
        (["3", "4"], "train.rec has one class per image, and validation: .* boxes; pack both with"),
    ],
)
def test_lists_of_another_template_are_refused(
    service: Service, moto: str, tmp_path: Path, rows: list[str], message: str
) -> None:
    """ "Not enough annotation packed" and "Not enough label packed", an hour into a job."""
    place = f"s3://{BUCKET}/bad/train/train.rec"
    arguments = [list_of(tmp_path, *rows), tmp_path, place, "--endpoint-url", moto]
    assert recpack_main(["pack", *map(str, arguments)]) == 0
    before = started(service)
    with pytest.raises(SpecError, match=f"^train: .*{message}"):
        plan(place, VALIDATION, OUTPUT, role=ROLE, service=service)
    assert started(service) == before


@pytest.mark.parametrize("image", [b"", b"no image", "/no/such.jpg"])
def test_predict_without_an_image(stubs: Stubs, image: bytes | str) -> None:
    """ "'body' must not be null", from a service that has been paid for already."""
    with pytest.raises((SpecError, TrainError, FileNotFoundError), match=r"not an image|such\.jpg"):
        Endpoint("cats", ("cat",), stubs.service).predict(image)


def test_another_file_of_the_same_size_is_refused(service: Service) -> None:
    client = service.client("s3")
    whole = bytearray(client.get_object(Bucket=BUCKET, Key="prod/train/train.rec")["Body"].read())
    whole[len(whole) // 2] ^= 1
    client.put_object(
        Bucket=BUCKET, Key="prod/train/train.rec", Body=bytes(whole), ChecksumAlgorithm="CRC32"
    )
    with pytest.raises(SpecError, match=r"its manifest says crc32:.* it is another file"):
        chosen(service)


def test_a_model_of_other_classes_is_not_gone_on_from(
    service: Service, devkit: Path, moto: str
) -> None:
    first = fit(
        TRAIN, VALIDATION, OUTPUT, role=ROLE, service=service, job_name="classes-1",
        base_network="resnet-50",
    )  # fmt: skip
    swapped = list(recpack.VOC_CLASSES)
    swapped[0], swapped[1] = swapped[1], swapped[0]
    places = [f"s3://{BUCKET}/swapped/{name}/{name}.rec" for name in ("train", "val")]
    for place in places:
        recpack.convert(devkit, place, endpoint_url=moto, classes=swapped, jobs=1)
    before = started(service)
    with pytest.raises(SpecError, match=r"has aeroplane, bicycle.*this data has bicycle, aero"):
        chosen(service, (places[0], places[1]), model="classes-1")
    with pytest.raises(SpecError, match=r"base_network: .* has resnet-50, but this job has vgg-16"):
        chosen(service, model=first, base_network="vgg-16")
    with pytest.raises(SpecError, match="model: nowhere: there is no such training job"):
        chosen(service, model="nowhere")
    put(service, "loose/model.tar.gz", b"x")
    with pytest.warns(UserWarning, match="can't be found"):
        chosen(service, model=f"s3://{BUCKET}/loose/model.tar.gz")
    assert started(service) == before


def test_manifests_are_where_recpack_puts_them(service: Service) -> None:
    for key in ("prod/train/train.rec", "train.rec", "a/train.rec", "a/b/c/d.rec"):
        location = parse_location(f"s3://bucket/{key}")
        assert manifest_key(key) == location.companion(".json").key
    put(service, "prod/train/", b"")  # as the console makes folders
    channel = read_channel("train", f"s3://{BUCKET}/prod/train", service)
    assert (channel.rec, channel.prefix) == (TRAIN, f"s3://{BUCKET}/prod/train/")


# ---- the command line


@pytest.fixture
def typed(service: Service, moto: str, capsys: Any) -> Any:
    del service

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([arguments[0], "--region", "us-east-1", "--endpoint-url", moto, *arguments[1:]])
        out, err = capsys.readouterr()
        return code, out, err

    return run


DATA = ("--train", TRAIN, "--validation", VALIDATION, "--output", OUTPUT, "--role", ROLE)


def test_the_commands(typed: Any, service: Service) -> None:
    before = started(service)
    code, out, _ = typed("fit", *DATA, "--set", "epochs=5", "--job-name", "typed-1", "--dry-run")
    assert code == 0
    request = json.loads(out)
    assert faults("sagemaker", "CreateTrainingJob", request) == []
    assert request["HyperParameters"]["epochs"] == "5"
    assert started(service) == before
    code, out, err = typed("fit", *DATA, "--job-name", "typed-1", "--wait")
    assert (code, json.loads(out)["job"]) == (0, "typed-1")
    assert "Completed" in err
    code, out, _ = typed("status", "typed-1")
    assert (code, json.loads(out)["state"]) == (0, "Completed")
    code, out, _ = typed("status")
    assert "typed-1" in [one["job"] for one in json.loads(out)]
    put_model(service.client("s3"), OUTPUT, "typed-1")
    code, out, _ = typed("deploy", "typed-1", "--endpoint-name", "typed", "--role", ROLE)
    assert (code, json.loads(out)["endpoint"]) == (0, "typed")
    assert typed("delete", "typed")[0] == 0
    assert typed("delete", "typed")[0] == 1  # there is none any more
    assert typed("logs", "typed-1")[0] == 0


def test_what_the_commands_refuse(typed: Any) -> None:
    here = "write s3://bucket/…, or train on this machine with fit --local"
    for arguments, expected, message in (
        (("fit", *DATA, "--set", "epoch=5"), 2, "did you mean epochs?"),
        (("fit", *DATA, "--set", "batch=3"), 2, "did you mean mini_batch_size?"),
        (("fit", *DATA, "--set", "epochs"), 2, "write name=value"),
        (("fit", *DATA, "--set", "num_classes=21"), 1, "the manifest says 20"),
        (("fit", *DATA, "--instance-type", "ml.m5.large"), 2, "has no GPU"),
        (
            ("fit", *DATA, "--train", "t.rec"),
            2,
            f"fit: --train: 't.rec'; {here}",
        ),
        (
            ("fit", *DATA, "--output", "models"),
            2,
            f"fit: --output: 'models'; {here}",
        ),
        (("deploy", "nowhere", "--endpoint-name", "a_b"), 2, "name: 'a_b'; use at most 63"),
        (("status", "nowhere"), 1, "there is no such training job"),
        (("predict", "nowhere", "x.jpg"), 1, "there is no such endpoint"),
    ):
        code, out, err = typed(*arguments)
        assert (code, out) == (expected, ""), err
        assert message in err
        assert "Traceback" not in err
    with pytest.raises(SystemExit) as caught:
        typed("fit", "--train", TRAIN)
    assert caught.value.code == 2


def test_the_example(
    service: Service, stubs: Stubs, devkit: Path, moto: str, tmp_path: Path
) -> None:
    import examples.incremental_training as example

    channels = example.pack(str(devkit), BUCKET, moto)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg(200, 120))
    stubs.answer(
        "sagemaker-runtime", "invoke_endpoint",
        {"Body": StreamingBody(io.BytesIO(ANSWER), len(ANSWER))},
    )  # fmt: skip
    found = example.story(channels, OUTPUT, photo, tmp_path / "drawn.png", ROLE, service)
    assert [one.name for one in found] == ["cat"]
    assert tuple(load(tmp_path / "drawn.png")[60, 50]) == colour(7)
    assert service.client("sagemaker").list_endpoints()["Endpoints"] == []


def test_predict_and_evaluate(
    typed: Any, service: Service, moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(TRAIN, VALIDATION, OUTPUT, role=ROLE, service=service, job_name="judged-1")
    typed("deploy", "judged-1", "--endpoint-name", "judged", "--role", ROLE)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    with recpack.RecordReader(VALIDATION) as records:
        known = {bytes(record.image_bytes): record.boxes for record in records}

    def perfect(endpoint: Endpoint, image: bytes | Path) -> Detections:
        rows = known.get(image, []) if isinstance(image, bytes) else [[7, 0.1, 0.1, 0.9, 0.9]]
        found = [
            Detection(int(row[0]), endpoint.classes[int(row[0])], 0.9, tuple(map(float, row[1:5])))
            for row in rows
        ]
        return Detections(tuple(found), 200, 120)

    monkeypatch.setattr(Endpoint, "answer", perfect)
    code, out, _ = typed("evaluate", "judged", VALIDATION)
    assert code == 0
    found = json.loads(out)
    assert found["mAP"] > 0.95  # two boxes of one class that nearly coincide may trade places
    assert set(found["average_precision"]) <= set(recpack.VOC_CLASSES)
    (tmp_path / "photo.jpg").write_bytes(jpeg(200, 120))
    drawn = tmp_path / "drawn.png"
    code, out, _ = typed("predict", "judged", str(tmp_path / "photo.jpg"), "--draw", str(drawn))
    assert (code, json.loads(out)[0]["class"]) == (0, "cat")
    assert tuple(load(drawn)[60, 20]) == colour(7)
    assert typed("delete", "judged")[0] == 0
