"""Hyperparameters of SageMaker's built-in object detection, and of recpack's own.

Names, ranges and defaults: AWS developer guide, "Object Detection Hyperparameters".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .kinds import Kind
from .parameters import Counts, Parameters, between, integer, one_of, parameter, pattern, required

if TYPE_CHECKING:
    from recpack import Manifest

LEAST_SHAPE, LEAST_SHAPE_OF_SERVICE = 30, 300
"""The smallest ``image_shape``, of recpack's own algorithm and of SageMaker's."""


@dataclass(frozen=True, kw_only=True)
class Learning(Parameters):
    """The hyperparameters that do not depend on the data. ``learning_rate`` and the thresholds are
    ratios, ``image_shape`` the side of a square in pixels (``resnet-18`` and less than 300 are for
    training on one's own machine). None leaves a parameter out, so the service uses its default.
    Raises UsageError that lists everything that is wrong."""

    base_network: Literal["vgg-16", "resnet-50", "resnet-18"] = parameter(
        "vgg-16", one_of("vgg-16", "resnet-50", "resnet-18")
    )
    use_pretrained_model: Literal[0, 1] = parameter(1, one_of(0, 1))
    image_shape: int = parameter(300, integer(LEAST_SHAPE))
    learning_rate: float = parameter(0.001, between(0, 1))
    lr_scheduler_factor: float = parameter(0.1, between(0, 1, with_high=False))
    optimizer: Literal["sgd", "adam", "rmsprop", "adadelta"] = parameter(
        "sgd", one_of("sgd", "adam", "rmsprop", "adadelta")
    )
    momentum: float = parameter(0.9, between(0, 1))
    weight_decay: float = parameter(0.0005, between(0, 1, with_high=False))
    overlap_threshold: float = parameter(0.5, between(0, 1))
    nms_threshold: float = parameter(0.45, between(0, 1))
    freeze_layer_pattern: str | None = parameter(None, pattern, str)


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(Learning, Counts):
    """All hyperparameters. ``from_manifests`` takes ``num_classes``, ``num_training_samples`` and
    ``label_width`` from the manifests."""

    kind: ClassVar[Kind] = "detection"
    fixed: ClassVar = ("base_network",)
    # AWS developer guide, "Tune an Object Detection Model"
    tunable: ClassVar = {
        "learning_rate": "Continuous", "momentum": "Continuous", "weight_decay": "Continuous",
        "mini_batch_size": "Integer", "optimizer": "Categorical",
    }  # fmt: skip
    least: ClassVar = ("label_width",)  # a larger one than the data's does no harm

    label_width: int = required(integer(1))

    @classmethod
    def _of_data(cls, manifests: Sequence[Manifest]) -> dict[str, Any]:
        return {"label_width": max(one.label_width for one in manifests)}

    def faults_of_service(self) -> Iterator[str]:
        """What recpack's own algorithm takes, and SageMaker's does not."""
        where = "is not of SageMaker's algorithm: add --local, or --algorithm pytorch"
        if self.base_network == "resnet-18":
            yield f"base_network: {self.base_network} {where}"
        if self.image_shape < LEAST_SHAPE_OF_SERVICE:
            yield f"image_shape: {self.image_shape}, less than {LEAST_SHAPE_OF_SERVICE}, {where}"
