"""Class labels: the same commands start, tune, continue, host and measure SageMaker's image
classification."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recpack
from recpack.formats.manifest import Manifest, RecFile
from tests.support.aws import ROLE, Aws
from tests.support.botomodel import faults
from tests.support.devkits import jpeg
from tests.support.hosts import Typed, connect, rest
from tests.support.hosts import trained as hosted
from tests.support.jobs import DATA as BOXES
from tests.support.jobs import MODEL, RECORD, TRAIN, VALIDATION
from tests.support.s3server import Blob, S3Server
from train import hosting
from train.classes import (
    Accuracy,
    Classification,
    Score,
    accuracy_of_one,
    accuracy_of_several,
    parse_answer,
)
from train.classification import ClassHyperparameters
from train.detections import Detections
from train.endpoint import Endpoint
from train.errors import JobError, SpecError, UsageError
from train.evaluation import evaluate_classifier, evaluate_endpoint
from train.logs import parse_metric
from train.pictures import colour, load

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:image_shape. the training fails at an image:UserWarning"),
]

PHOTOS = ("s3://bucket/photos/train/train.rec", "s3://bucket/photos/val/val.rec")
NAMES = "bird,cat,dog"
SEVERAL = ("s3://bucket/tags/train/train.rec", "s3://bucket/tags/val/val.rec")
REQUIRED = {"num_classes": 3, "num_training_samples": 900}
IMAGE = "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"


def listed(folder: Path, labels: list[str]) -> Path:
    """A list with an image for each label."""
    lines = []
    for number, label in enumerate(labels):
        (folder / f"{number}.jpg").write_bytes(jpeg(40 + number, 30))
        lines.append(f"{number}\t{label}\t{number}.jpg\n")
    (folder / "x.lst").write_text("".join(lines))
    return folder / "x.lst"


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Blob]:
    """Channels with one class per image, and with a number for each class."""
    server = S3Server()
    hot = ["1\t0\t0", "0\t1\t1", "1\t1\t0"]
    for labels, places in ((["0", "1", "2"], PHOTOS), (hot, SEVERAL)):
        for times, place in zip((20, 4), places, strict=True):
            folder = tmp_path_factory.mktemp("photos")
            recpack.pack(
                listed(folder, labels * times), folder, place, classes=NAMES.split(","), jobs=1,
                endpoint_url=server.url,
            )  # fmt: skip
    server.close()
    return server.objects


@pytest.fixture
def photos(aws: Aws, s3: S3Server, classified: dict[str, Blob]) -> Aws:
    s3.objects |= deepcopy(classified)
    return aws


def data(channels: tuple[str, str] = PHOTOS) -> tuple[str, ...]:
    return ("--train", channels[0], "--validation", channels[1], *BOXES[4:])


def fit(
    typed: Typed, *options: str, channels: tuple[str, str] = PHOTOS, name: str = "voc-1"
) -> tuple[int, str, str]:
    return typed("fit", *data(channels), "--job-name", name, *options)


# ---- the table


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("num_classes", [0, "3", True], [1, 600]),
        ("num_training_samples", [0, None], [1]),
        ("num_layers", [19, 0, "18", 18.0], [18, 20, 200, 110]),
        ("image_shape", ["3,224", "0,9,9", "a", "3x9x9", "", 0, -1], ["3,224,224", "1, 28,28", 64]),
        ("use_pretrained_model", [2, True, "1"], [0, 1]),
        ("epochs", [0, 0.5], [1, 240]),
        ("mini_batch_size", [0], [1, 512]),
        ("resize", [0, 223, 224.5], [224, 300, None]),
        ("augmentation_type", ["flip", ""], ["crop", "crop_color", "crop_color_transform", None]),
        ("learning_rate", [-0.1, 1.1, float("nan"), "0.1"], [0, 1, 1e-6]),
        ("lr_scheduler_factor", [-0.1, 1.1], [0, 1]),
        ("lr_scheduler_step", ["5,", "10,5", "30"], ["", "5", "5,10"]),
        ("optimizer", ["SGD", "adadelta"], ["sgd", "adam", "rmsprop", "nag"]),
        ("momentum", [-0.1, 1.5], [0, 1]),
        ("weight_decay", [-0.1, 1.1], [0, 1]),
        ("beta_1", [-0.1, 1.1], [0, 1]),
        ("beta_2", [-0.1, 1.1], [0, 1]),
        ("eps", [-0.1, 1.1], [0, 1]),
        ("gamma", [-0.1, 1.1], [0, 1]),
        ("multi_label", [2, True], [0, 1]),
        ("use_weighted_loss", [2, 1], [0]),
        ("precision_dtype", ["float64", "fp16"], ["float32", "float16"]),
        ("top_k", [1, 0, 2.5], [2, 5, None]),
        ("checkpoint_frequency", [0, 31], [1, 30, None]),
        ("early_stopping", [1, "True"], [True, False]),
        ("early_stopping_min_epochs", [0], [1]),
        ("early_stopping_patience", [0], [1]),
        ("early_stopping_tolerance", [-0.1, 1.1], [0, 1]),
        ("kv_store", ["device"], ["dist_sync", "dist_async", None]),
    ],
)
def test_ranges(name: str, bad: list[Any], good: list[Any]) -> None:
    for value in bad:
        with pytest.raises(UsageError, match=f"^{name}: "):
            ClassHyperparameters(**REQUIRED | {name: value})
    for value in good:
        ClassHyperparameters(**REQUIRED | {name: value})


def test_every_parameter_is_in_the_test_of_ranges() -> None:
    (mark,) = (one for one in test_ranges.pytestmark if one.name == "parametrize")
    assert sorted(row[0] for row in mark.args[1]) == sorted(
        one.name for one in fields(ClassHyperparameters)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"use_pretrained_model": 1, "num_layers": 20},
            "num_layers: 20; with use_pretrained_model",
        ),
        (
            {"use_pretrained_model": 1, "image_shape": 64},
            "image_shape: 3,64,64; with use_pretrained",
        ),
        ({"resize": 60, "image_shape": "3,32,64"}, "resize: 60, less than a side of image_shape"),
    ],
)
def test_values_that_do_not_go_together(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ClassHyperparameters(**REQUIRED, **values)


def test_all_are_sent_as_text() -> None:
    learning = ClassHyperparameters(**REQUIRED, image_shape=64, resize=80, top_k=5, multi_label=1)
    texts = learning.as_strings()
    assert (texts["image_shape"], texts["resize"], texts["top_k"], texts["eps"]) == (
        "3,64,64", "80", "5", "1e-08",
    )  # fmt: skip
    assert not {"augmentation_type", "checkpoint_frequency", "label_width"} & texts.keys()
    assert ClassHyperparameters.from_strings(texts) == learning


def manifest(**changes: Any) -> Manifest:
    one = Manifest(
        rec=RecFile("x.rec", 1, "crc32:00000000"), num_samples=100,
        classes=("cat", "dog"), label_width=1, header_width=0, object_width=0,
        objects={"cat": 60, "dog": 40}, recpack_version="0",
    )  # fmt: skip
    return replace(one, **changes)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"num_layer": "18"}, "num_layer: no such hyperparameter; did you mean num_layers?"),
        ({"base_network": "vgg-16"}, "base_network: no such hyperparameter; the names are"),
        ({"num_classes": "21"}, "num_classes: 21, but the manifest says 2"),
        ({"multi_label": "1"}, "multi_label: 1, but the manifest says 0"),
        ({"mini_batch_size": "101"}, "mini_batch_size: 101, but train has 100 images"),
        ({"resize": "wide"}, "resize: 'wide' is not an integer"),
    ],
)
def test_choices_that_are_refused(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ClassHyperparameters.from_manifests(manifest(), **chosen)


# ---- jobs


def test_the_labels_choose_the_algorithm(photos: Aws, s3: S3Server, typed: Typed) -> None:
    code, out, err = fit(typed, "--set", "num_layers=18", "--set", "image_shape=28")
    assert (code, json.loads(out)) == (0, {"job": "voc-1"}), err
    (request,) = photos.asked("CreateTrainingJob")
    assert faults("sagemaker", "CreateTrainingJob", request) == []
    assert request["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    sent = request["HyperParameters"]
    assert (sent["num_classes"], sent["num_training_samples"], sent["multi_label"]) == (
        "3", "60", "0",
    )  # fmt: skip
    assert (sent["num_layers"], sent["image_shape"]) == ("18", "3,28,28")
    assert [one["ContentType"] for one in request["InputDataConfig"]] == [
        "application/x-recordio", "application/x-recordio",
    ]  # fmt: skip
    record = json.loads(s3.objects[RECORD].data)
    assert (record["kind"], record["classes"]) == ("classification", NAMES.split(","))


@pytest.mark.filterwarnings("ignore:multi_label. AWS describes it:UserWarning")
def test_a_number_for_each_class_is_multi_label(photos: Aws, typed: Typed) -> None:
    code, _, err = fit(typed, "--set", "use_weighted_loss=1", channels=SEVERAL)
    assert code == 0, err
    assert photos.jobs["voc-1"]["HyperParameters"]["multi_label"] == "1"
    assert "multi_label: AWS describes it for lists and augmented manifests" in err


def test_small_images_are_warned_of(photos: Aws, typed: Typed) -> None:
    assert "fails at an image of less than 224 x 224 pixels" in fit(typed, "--dry-run")[2]
    for options in (("resize=224",), ("image_shape=3,64,32", "resize=64")):
        settings = [word for one in options for word in ("--set", one)]
        assert fit(typed, "--dry-run", *settings)[2] == ""
    assert photos.jobs == {}


def edited(s3: S3Server, key: str, **changes: Any) -> None:
    blob = s3.objects[key]
    blob.data = json.dumps(json.loads(blob.data) | changes).encode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objects": {"bird": 20, "cat": 20, "dog": 19}}, "has 1 labels that are no class ids"),
        ({"label_width": 2}, "has labels of 2 numbers and 3 classes; give each image one class id"),
        ({"label_width": 3}, "has a number per class, and validation: .* one class per image"),
        ({"source": {"format": "identities"}}, "is in InsightFace's layout"),
    ],
)
def test_labels_that_the_service_can_not_learn(
    photos: Aws, s3: S3Server, typed: Typed, changes: dict[str, Any], message: str
) -> None:
    edited(s3, "photos/_recpack/train.json", **changes)
    before = set(s3.objects)
    code, out, err = fit(typed)
    assert (code, out) == (1, "")
    assert f"recpack-train fit: --train: {PHOTOS[0]} " in err
    assert re.search(message, err)
    assert (photos.jobs, set(s3.objects)) == ({}, before)


@pytest.mark.parametrize(
    ("channels", "options", "code", "message"),
    [
        ((PHOTOS[0], VALIDATION), (), 1, "has one class per image, and validation: .* boxes"),
        ((TRAIN, PHOTOS[1]), (), 1, "train.rec has boxes, and validation: .* one class per image"),
        (PHOTOS, ("--algorithm", "pytorch", "--set", "base_network=vgg-16"), 1,
         "recpack's own detects objects"),
        (PHOTOS, ("--instance-type", "ml.m5.large"), 2, "has no GPU"),
        (PHOTOS, ("--instance-count", "2"), 2, "kv_store: missing"),
        (PHOTOS, ("--instance-count", "2", "--set", "kv_store=dist_sync"), 1,
         "mini_batch_size: 32 on each of 2 machines, but train has 60 images"),
        (PHOTOS, ("--instance-type", "ml.p3.16xlarge", "--set", "mini_batch_size=7"), 1,
         "mini_batch_size: 7, but ml.p3.16xlarge splits a batch among 8 GPUs; choose 8 or more"),
        (PHOTOS, ("--set", "base_network=vgg-16"), 2, "base_network: no such hyperparameter"),
    ],
)  # fmt: skip
def test_jobs_that_are_refused(
    photos: Aws, typed: Typed, channels: tuple[str, str], options: tuple[str, ...], code: int,
    message: str,
) -> None:  # fmt: skip
    found, out, err = fit(typed, *options, channels=channels)
    assert (found, out) == (code, ""), err
    assert re.search(message, err), err
    assert photos.jobs == {}


def test_this_machine_trains_boxes_only(typed: Typed, tmp_path: Path) -> None:
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        recpack.pack(
            listed(tmp_path / name, ["0", "1"]), tmp_path / name, tmp_path / f"{name}.rec", jobs=1
        )
    code, _, err = typed(
        "fit", "--local", "--train", str(tmp_path / "train.rec"), "--validation",
        str(tmp_path / "val.rec"), "--output", str(tmp_path / "models"),
    )  # fmt: skip
    assert code == 1
    assert "recpack's own detects objects, and these labels are classes" in err


def test_models_of_classes_are_not_served_here(typed: Typed, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from train.ssd.artifact import Model, write_files
    from train.ssd.mxnet_files import read_symbol

    nodes = [{"op": "null", "name": "data", "inputs": []},
             {"op": "SoftmaxOutput", "name": "softmax", "inputs": [[0, 0, 0]] * 2}]  # fmt: skip
    graph = {"nodes": nodes, "arg_nodes": [0], "heads": [[1, 0, 0]]}
    write_files(tmp_path, Model(read_symbol(json.dumps(graph).encode(), ""), {}, {}))
    for words in (("deploy", "--local", str(tmp_path)), ("export", str(tmp_path), "x.onnx")):
        code, _, err = typed(*words)
        assert code == 1
        assert "the model detects no objects" in err
        assert "hosted by recpack-train deploy without --local" in err


LOG = (
    "[07/14/2020 22:20:42 INFO 140558353856320] Epoch[0] Train-accuracy=0.150391",
    "[07/14/2020 22:20:42 INFO 140558353856320] Epoch[0] Train-top_k_accuracy_2=0.273438",
    "[07/14/2020 22:20:43 INFO 140558353856320] Epoch[0] Validation-accuracy=0.253906",
    "[07/14/2020 22:20:47 INFO 140558353856320] Epoch[1] Validation-accuracy=0.554688",
    "[07/14/2020 22:20:47 INFO 1405] Storing the best model with validation accuracy: 0.554688",
)


def test_the_log_of_the_algorithm(photos: Aws, typed: Typed, tmp_path: Path) -> None:
    """Lines of a real job, as a notebook on GitHub shows them."""
    found = [parse_metric(line) for line in LOG]
    assert [one and (one.name, one.epoch, one.value) for one in found] == [
        ("train_accuracy", 0, 0.150391), None, ("accuracy", 0, 0.253906), ("accuracy", 1, 0.554688),
        None,
    ]  # fmt: skip
    photos.logs = {"voc-1/algo-1": list(LOG)}
    code, out, err = fit(typed, "--wait")
    assert (code, json.loads(out)["accuracy"]) == (0, {"0": 0.253906, "1": 0.554688})
    assert "epoch 1: accuracy 0.555" in err
    assert json.loads(typed("status", "voc-1")[1])["accuracy"]["1"] == 0.554688
    pytest.importorskip("matplotlib")
    plot = tmp_path / "curve.png"
    assert typed("logs", "voc-1", "--plot", str(plot))[0] == 0
    assert plot.stat().st_size > 1000


def test_a_model_is_continued_with_its_network(photos: Aws, typed: Typed) -> None:
    fit(typed, "--wait", "--set", "num_layers=50", "--set", "image_shape=64")
    code, _, err = fit(typed, "--model", "voc-1", name="voc-2")
    assert code == 0, err
    sent = photos.jobs["voc-2"]
    assert (sent["HyperParameters"]["num_layers"], sent["HyperParameters"]["image_shape"]) == (
        "50", "3,64,64",
    )  # fmt: skip
    assert sent["InputDataConfig"][-1]["ContentType"] == "application/x-sagemaker-model"
    for option, message in (
        ("num_layers=18", "num_layers: the model to continue has 50, but this job has 18"),
        ("image_shape=32", "image_shape: the model to continue has 3,64,64"),
    ):
        code, _, err = fit(typed, "--model", "voc-1", "--set", option, name="voc-3")
        assert code == 1
        assert message in err
    swapped = (PHOTOS[1], PHOTOS[0])
    other = fit(
        typed, "--model", "voc-1", "--set", "mini_batch_size=4", name="voc-3", channels=swapped
    )
    assert "accuracy can't be compared with the earlier job's" in other[2]
    code, _, err = typed("fit", *BOXES, "--model", "voc-1", "--job-name", "voc-4")
    assert code == 1
    assert "is of classification, and the labels of this data are for detection" in err
    assert set(photos.jobs) == {"voc-1", "voc-2", "voc-3"}


def test_boxes_are_not_continued_by_classes(photos: Aws, typed: Typed) -> None:
    assert typed("fit", *BOXES, "--job-name", "voc-1", "--wait")[0] == 0
    code, _, err = fit(typed, "--model", "voc-1", name="voc-2")
    assert code == 1
    assert "is of detection, and the labels of this data are for classification" in err
    assert set(photos.jobs) == {"voc-1"}


def test_a_tuning_looks_for_accuracy(photos: Aws, typed: Typed) -> None:
    code, out, err = typed(
        "tune", *data(), "--range", "beta_1=0.5..0.99", "--range", "optimizer=adam,nag",
        "--job-name", "tune-1", "--wait",
    )  # fmt: skip
    assert code == 0, err
    (request,) = photos.asked("CreateHyperParameterTuningJob")
    assert faults("sagemaker", "CreateHyperParameterTuningJob", request) == []
    objective = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    assert objective["MetricName"] == "validation:accuracy"
    assert json.loads(out)["best"]["accuracy"] == 0.5
    code, _, err = typed("tune", *data(), "--range", "num_layers=18..50")
    assert code == 2
    assert "range: num_layers can't be tuned; the names are learning_rate" in err


# ---- hosting


def test_the_endpoint_has_the_algorithms_container(
    photos: Aws, s3: S3Server, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(hosting.deploy.__kwdefaults__, "sleep", lambda _: None)
    fit(typed, "--wait")
    s3.objects["photos/0.jpg"] = Blob(jpeg(40, 30), "0")
    for model in ("voc-1", f"s3://bucket/{MODEL}"):
        code, out, err = typed("deploy", model, "--role", ROLE, "--no-wait")
        assert (code, json.loads(out)["classes"]) == (0, NAMES.split(",")), err
    photos.jobs.clear()  # jobs can be deleted; the record beside the model tells the kind
    assert typed("deploy", f"s3://bucket/{MODEL}", "--role", ROLE, "--no-wait")[0] == 0
    code, _, err = typed(
        "transform", f"s3://bucket/{MODEL}", "s3://bucket/photos/images", "s3://bucket/found",
        "--role", ROLE,
    )  # fmt: skip
    assert code == 1
    assert "there are none below s3://bucket/photos/images/" in err
    images = [one["PrimaryContainer"]["Image"] for one in photos.asked("CreateModel")]
    assert images == [IMAGE, IMAGE, IMAGE]


SCORES = b"[0.125, 0.5, 0.375]"


@pytest.mark.parametrize("body", [SCORES, b'{"prediction": [0.125, 0.5, 0.375]}\n'])
def test_both_answers_of_the_service(body: bytes) -> None:
    found = parse_answer(body, ("bird", "cat"), 40, 30)
    assert isinstance(found, Classification)
    assert found.found == (Score(1, "cat", 0.5), Score(2, "2", 0.375), Score(0, "bird", 0.125))
    assert (found[0].name, len(found), len(found.above(0.4))) == ("cat", 3, 1)


@pytest.mark.parametrize(
    "body", [b"[]", b'["a"]', b"[[1, 2]]", b'{"prediction": [1, "b"]}', b"[" * 99999, b"null"]
)
def test_answers_that_are_none(body: bytes) -> None:
    with pytest.raises(JobError, match="not a list of detections"):
        parse_answer(body, ("cat",), 4, 4)


def test_boxes_are_boxes_still() -> None:
    for body in (b'{"prediction": []}', b'{"prediction": [[0, 0.9, 0, 0, 1, 1]]}'):
        assert isinstance(parse_answer(body, ("cat",), 4, 4), Detections)


def test_class_names_are_written_on_the_image() -> None:
    photo = np.zeros((90, 120, 3), np.uint8)
    found = parse_answer(SCORES, NAMES.split(","), 120, 90)
    drawn = found.draw(photo).pixels
    assert (drawn[4, 2] == colour(1)).all()
    assert (drawn == colour(2)).all(2).any()
    assert not (drawn == colour(0)).all(2).any()  # less than the threshold
    assert not drawn[60:].any()


@pytest.fixture
def classifier(monkeypatch: pytest.MonkeyPatch, typed: Typed) -> Aws:
    """An endpoint of three classes."""
    aws = hosted()
    record = {"version": 1, "classes": NAMES.split(","), "data": {}, "kind": "classification"}
    aws.objects["hosting/models/voc-1/recpack.json"] = json.dumps(record).encode()
    aws.answers = [SCORES]
    connect(monkeypatch, aws)
    rest(monkeypatch, lambda _: None)
    model = "s3://hosting/models/voc-1/output/model.tar.gz"
    assert typed("deploy", model, "--role", ROLE, "--endpoint-name", "prod")[0] == 0
    return aws


def test_predict_prints_classes(classifier: Aws, typed: Typed, tmp_path: Path) -> None:
    del classifier
    (tmp_path / "photo.jpg").write_bytes(jpeg(40, 30))
    drawn = tmp_path / "drawn.png"
    code, out, err = typed("predict", "prod", str(tmp_path / "photo.jpg"), "--draw", str(drawn))
    assert code == 0, err
    assert json.loads(out) == [
        {"class": "cat", "class_id": 1, "score": 0.5},
        {"class": "dog", "class_id": 2, "score": 0.375},
    ]
    assert (load(drawn) != load(jpeg(40, 30))).any()


def test_each_question_has_its_answer(classifier: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint("prod", NAMES.split(","), connect(monkeypatch, classifier))
    assert endpoint.classify(jpeg(4, 4))[0].name == "cat"
    with pytest.raises(JobError, match="it tells classes, not boxes"):
        endpoint.predict(jpeg(4, 4))
    classifier.answers = [b'{"prediction": []}']
    with pytest.raises(JobError, match="it tells boxes, not classes"):
        endpoint.classify(jpeg(4, 4))


def test_a_batch_job_tells_classes(classifier: Aws, typed: Typed, tmp_path: Path) -> None:
    classifier.objects["hosting/images/a.jpg"] = jpeg(40, 30)
    code, out, err = typed(
        "transform", "s3://hosting/models/voc-1/output/model.tar.gz", "s3://hosting/images",
        "s3://hosting/found", "--role", ROLE, "--draw", str(tmp_path / "drawn"),
    )  # fmt: skip
    assert code == 0, err
    (found,) = json.loads(out)
    assert (found["image"], [one["class"] for one in found["classes"]]) == ("a.jpg", ["cat", "dog"])
    assert (tmp_path / "drawn/a.jpg").exists()


# ---- accuracy


def scores(*numbers: float) -> Classification:
    found = parse_answer(json.dumps(numbers).encode(), NAMES.split(","), 4, 4)
    assert isinstance(found, Classification)
    return found


def test_accuracy_of_one_class() -> None:
    pairs = [
        (scores(0.6, 0.3, 0.1), [0.0]), (scores(0.4, 0.4, 0.2), [1.0]),  # equal: the lower id
        (scores(0.1, 0.2, 0.7), [2.0]), (scores(0.1, 0.2, 0.7), [0.0]),
    ]  # fmt: skip
    found = accuracy_of_one(pairs, NAMES.split(","), 2)
    assert found == Accuracy(0.5, {"bird": 0.5, "cat": 0.0, "dog": 1.0}, 2, 0.75)
    assert found.mean == 0.5
    assert accuracy_of_one([], ()) == Accuracy(0, {}, 5, 0)


def test_accuracy_of_several_classes() -> None:
    """Average precision by hand: bird 1, 2/3 of the first three; cat never; dog 1/2."""
    pairs = [
        (scores(0.9, 0.1, 0.8), [1.0, 0.0, 0.0]),
        (scores(0.8, 0.1, 0.7), [0.0, 0.0, 1.0]),
        (scores(0.7, 0.1, 0.1), [1.0, 0.0, 0.0]),
    ]
    found = accuracy_of_several(pairs, NAMES.split(","))
    assert found.by_class == pytest.approx({"bird": (1 + 2 / 3) / 2, "dog": 0.5})
    assert found.accuracy == pytest.approx(7 / 9)
    assert found.mean == pytest.approx((5 / 6 + 0.5) / 2)


@pytest.fixture
def rec(tmp_path: Path) -> str:
    (tmp_path / "photos").mkdir()
    recpack.pack(
        listed(tmp_path / "photos", ["0", "1", "1"]), tmp_path / "photos", tmp_path / "val.rec",
        classes=NAMES.split(","), jobs=1,
    )  # fmt: skip
    return str(tmp_path / "val.rec")


def test_an_endpoint_is_measured_and_the_run_goes_on(
    classifier: Aws, typed: Typed, rec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = str(tmp_path / "answers.jsonl")
    expected = {
        "accuracy": pytest.approx(2 / 3), "top_2_accuracy": pytest.approx(2 / 3),
        "recall": {"bird": 0.0, "cat": 1.0},
    }  # fmt: skip
    for _ in range(2):
        code, out, err = typed("evaluate", "prod", rec, "--top-k", "2", "--resume", kept)
        assert (code, json.loads(out)) == (0, expected), err
    assert len(classifier.asked("InvokeEndpoint")) == 3
    code, _, err = typed("evaluate", "prod", rec, "--top-k", "0")
    assert code == 2
    endpoint = Endpoint("prod", NAMES.split(","), connect(monkeypatch, classifier))
    assert evaluate_classifier(endpoint, rec).accuracy == pytest.approx(2 / 3)
    with pytest.raises(SpecError, match="its labels are classes of whole images"):
        evaluate_endpoint(endpoint, rec)
    classifier.answers = [b'{"prediction": []}']
    with pytest.raises(SpecError, match="prod: it tells boxes, and the labels are classes"):
        evaluate_classifier(endpoint, rec)


@pytest.mark.usefixtures("classifier")
def test_labels_that_have_no_accuracy(typed: Typed, tmp_path: Path) -> None:
    rows = ["0\t1", "1\t0.5"]
    recpack.pack(
        listed(tmp_path, rows), tmp_path, tmp_path / "val.rec", classes=NAMES.split(","), jobs=1
    )
    code, out, err = typed("evaluate", "prod", str(tmp_path / "val.rec"))
    assert (code, out) == (1, "")
    assert "val.rec has labels of 2 numbers and 3 classes" in err


def test_labels_of_several_classes_are_measured(
    classifier: Aws, typed: Typed, tmp_path: Path
) -> None:
    del classifier
    recpack.pack(
        listed(tmp_path, ["0\t1\t0", "0\t1\t1"]), tmp_path, tmp_path / "val.rec",
        classes=NAMES.split(","), jobs=1,
    )  # fmt: skip
    code, out, err = typed("evaluate", "prod", str(tmp_path / "val.rec"))
    assert code == 0, err
    assert json.loads(out) == {
        "accuracy": pytest.approx(5 / 6), "mAP": pytest.approx(0.75),
        "average_precision": {"cat": 1.0, "dog": 0.5},
    }  # fmt: skip
