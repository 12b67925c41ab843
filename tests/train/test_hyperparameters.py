from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from recpack.formats.manifest import Manifest, RecFile
from train.errors import SpecError
from train.hyperparameters import Hyperparameters

pytestmark = pytest.mark.once

REQUIRED = {"num_classes": 20, "num_training_samples": 16551, "label_width": 352}


def manifest(classes: str = "cat dog", samples: int = 100, label_width: int = 17) -> Manifest:
    return Manifest(
        rec=RecFile("x.rec", 1, "crc32:00000000"),
        num_samples=samples, classes=tuple(classes.split()), label_width=label_width,
        header_width=2, object_width=5, objects={}, recpack_version="0",
    )  # fmt: skip


def test_all_are_sent_as_text() -> None:
    texts = Hyperparameters(**REQUIRED, early_stopping=True, lr_scheduler_step="3,6").as_strings()
    assert texts == {
        "num_classes": "20", "num_training_samples": "16551", "label_width": "352",
        "base_network": "vgg-16", "use_pretrained_model": "1", "epochs": "30",
        "mini_batch_size": "32", "image_shape": "300", "learning_rate": "0.001",
        "lr_scheduler_step": "3,6", "lr_scheduler_factor": "0.1", "optimizer": "sgd",
        "momentum": "0.9", "weight_decay": "0.0005", "overlap_threshold": "0.5",
        "nms_threshold": "0.45", "early_stopping": "True", "early_stopping_min_epochs": "10",
        "early_stopping_patience": "5", "early_stopping_tolerance": "0.0",
    }  # fmt: skip
    names = {parameter.name for parameter in fields(Hyperparameters)}
    left_out = {"freeze_layer_pattern", "kv_store"}
    assert names == {*texts, *left_out}
    assert "lr_scheduler_step" not in Hyperparameters(**REQUIRED).as_strings()


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("num_classes", [0, -1, 1.5, "20", True], [1, 600]),
        ("num_training_samples", [0, None], [1]),
        ("label_width", [0, 7.0], [7]),
        ("base_network", ["vgg", "VGG-16", 16], ["vgg-16", "resnet-50", "resnet-18"]),
        ("use_pretrained_model", [2, True, "1"], [0, 1]),
        ("epochs", [0, 0.5], [1, 240]),
        ("mini_batch_size", [0], [1, 64]),
        ("image_shape", [29, 300.0], [30, 300, 512]),
        ("learning_rate", [0, 1.01, -0.1, float("nan"), "0.1"], [1, 1e-6]),
        ("lr_scheduler_step", ["5,", "a", "10,5", "0,5", "5,5", 5], ["", "5", "5,10"]),
        ("lr_scheduler_factor", [0, 1], [0.5]),
        ("optimizer", ["SGD", "adamw"], ["sgd", "adam", "rmsprop", "adadelta"]),
        ("momentum", [0, 1.5], [1, 0.9]),
        ("weight_decay", [0, 1], [0.5]),
        ("overlap_threshold", [0, 1.1], [1]),
        ("nms_threshold", [0, 1.1], [1]),
        ("early_stopping", [1, "True"], [True, False]),
        ("early_stopping_min_epochs", [0], [1]),
        ("early_stopping_patience", [0], [1]),
        ("early_stopping_tolerance", [-0.1, 1.1], [0, 1, 0.5]),
        ("freeze_layer_pattern", ["(", 3], ["^(conv1_|conv2_).*", None]),
        ("kv_store", ["device"], ["dist_sync", "dist_async", None]),
    ],
)
def test_ranges(name: str, bad: list[Any], good: list[Any]) -> None:
    for value in bad:
        with pytest.raises(SpecError, match=f"^{name}: "):
            Hyperparameters(**REQUIRED | {name: value})
    for value in good:
        Hyperparameters(**REQUIRED | {name: value})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        Hyperparameters(**REQUIRED, epochs=0, momentum=2, optimizer="x")
    assert str(caught.value).count("\n") == 2


def test_the_manifests_fill_in_what_people_get_wrong() -> None:
    made = Hyperparameters.from_manifests(
        manifest(), manifest(samples=9, label_width=42), epochs="5"
    )
    assert (made.num_classes, made.num_training_samples, made.label_width) == (2, 100, 42)
    assert made.epochs == 5
    assert Hyperparameters.from_manifests(manifest(), label_width=350).label_width == 350


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"mini_batch_siz": 8}, "mini_batch_siz: no such hyperparameter; did you mean mini_batch_"),
        ({"zzz": 8}, "zzz: no such hyperparameter; the names are num_classes, "),
        ({"num_classes": "21"}, "num_classes: 21, but the manifest says 2"),
        ({"num_training_samples": 99}, "num_training_samples: 99, but .* says 100"),
        ({"label_width": 12}, "label_width: 12, but the data needs 17"),
        ({"label_width": "wide"}, "label_width: wide, but the manifest"),
        ({"epochs": "many"}, "epochs: 'many' is not an integer"),
        ({"epochs": "1_0"}, "epochs: '1_0' is not an integer"),
        ({"learning_rate": "0.0_1"}, "learning_rate: '0.0_1' is not in"),
        ({"mini_batch_size": 101}, "mini_batch_size: 101, but train has 100 images"),
        ({"epochs": 9, "lr_scheduler_step": "3,9"}, "9 epochs there is nothing after epoch 9"),
        ({"early_stopping": "yes"}, "early_stopping: 'yes' is not one of True, False"),
        ({"learning_rate": "2"}, r"learning_rate: 2.0 is not in \(0, 1\]"),
    ],
)
def test_choices_that_are_refused(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Hyperparameters.from_manifests(manifest(), **chosen)


def test_what_only_the_own_algorithm_takes() -> None:
    small = {"base_network": "resnet-18", "image_shape": "30"}
    made = Hyperparameters.from_manifests(manifest(), **small)
    assert [one.partition(" is not")[0] for one in made.faults_of_service()] == [
        "base_network: resnet-18", "image_shape: 30, less than 300,"
    ]  # fmt: skip
    assert (made.base_network, made.image_shape) == ("resnet-18", 30)
    assert Hyperparameters.from_strings(made.as_strings()) == made
    with pytest.raises(SpecError, match="_kvstore: no such hyperparameter"):
        Hyperparameters.from_strings({"_kvstore": "device"})


def test_channels_with_other_classes_are_refused() -> None:
    with pytest.raises(SpecError, match="train has cat, dog; validation has dog, cat"):
        Hyperparameters.from_manifests(manifest(), manifest("dog cat"))


def test_numbers_of_numpy_are_numbers() -> None:
    made = Hyperparameters.from_manifests(
        manifest(), epochs=np.int64(5), learning_rate=np.float32(0.001),
        momentum=np.float64(0.5), early_stopping=np.bool_(True),
    )  # fmt: skip
    assert [type(value) for value in (made.epochs, made.learning_rate, made.early_stopping)] == [
        int, float, bool,
    ]  # fmt: skip
    texts = made.as_strings()
    assert (texts["epochs"], texts["learning_rate"], texts["early_stopping"]) == (
        "5", "0.001", "True",
    )  # fmt: skip
    assert Hyperparameters(**REQUIRED, epochs=np.int32(7)).epochs == 7
    with pytest.raises(SpecError, match=r"epochs: 0\.5 is not an integer"):
        Hyperparameters(**REQUIRED, epochs=np.float64(0.5))
