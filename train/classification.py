"""Hyperparameters of SageMaker's built-in image classification.

Names, ranges and defaults: AWS developer guide, "Image Classification Hyperparameters".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .kinds import Kind
from .parameters import Counts, Parameters, between, integer, one_of, parameter

if TYPE_CHECKING:
    from recpack import Manifest

_LARGE, _SMALL = (18, 34, 50, 101, 152, 200), (20, 32, 44, 56, 110)
"""Layers of networks for images like ImageNet's, and for images of about 28 pixels."""
_PRETRAINED = "3,224,224"


def _shape(value: Any) -> str:
    good = isinstance(value, str) and re.fullmatch(r"[1-9]\d*(,[1-9]\d*){2}", value)
    return "" if good else "channels,height,width like 3,224,224, or the side of a square"


_RATIO = between(0, 1, with_low=True)


@dataclass(frozen=True, kw_only=True)
class ClassLearning(Parameters):
    """The hyperparameters of image classification that do not depend on the data. ``image_shape``
    is ``"channels,height,width"`` in pixels, or the side of a square in colour; ``resize`` the
    shortest side that images get before. None leaves a parameter out, so the service uses its
    default. Raises UsageError that lists everything that is wrong."""

    num_layers: int = parameter(152, one_of(*_LARGE, *_SMALL))
    image_shape: int | str = parameter(_PRETRAINED, _shape)
    resize: int | None = parameter(None, integer(1), int)
    augmentation_type: Literal["crop", "crop_color", "crop_color_transform"] | None = parameter(
        None, one_of("crop", "crop_color", "crop_color_transform"), str
    )
    learning_rate: float = parameter(0.1, _RATIO)
    lr_scheduler_factor: float = parameter(0.1, _RATIO)
    optimizer: Literal["sgd", "adam", "rmsprop", "nag"] = parameter(
        "sgd", one_of("sgd", "adam", "rmsprop", "nag")
    )
    momentum: float = parameter(0.9, _RATIO)
    weight_decay: float = parameter(0.0001, _RATIO)
    beta_1: float = parameter(0.9, _RATIO)
    beta_2: float = parameter(0.999, _RATIO)
    eps: float = parameter(1e-8, _RATIO)
    gamma: float = parameter(0.9, _RATIO)
    multi_label: Literal[0, 1] = parameter(0, one_of(0, 1))
    use_weighted_loss: Literal[0, 1] = parameter(0, one_of(0, 1))
    precision_dtype: Literal["float32", "float16"] = parameter(
        "float32", one_of("float32", "float16")
    )
    top_k: int | None = parameter(None, integer(2), int)
    checkpoint_frequency: int | None = parameter(None, integer(1), int)

    def __post_init__(self) -> None:
        shape = str(self.image_shape).replace(" ", "")
        if shape.isdecimal():
            shape = f"3,{shape},{shape}"
        object.__setattr__(self, "image_shape", shape)
        super().__post_init__()

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width that the network takes, in pixels."""
        _, height, width = str(self.image_shape).split(",")
        return int(height), int(width)

    def _conflicts(self) -> Iterator[str]:
        yield from super()._conflicts()
        if self.use_pretrained_model and self.num_layers not in _LARGE:
            yield (
                f"num_layers: {self.num_layers}; with use_pretrained_model=1 it is one of "
                f"{', '.join(map(str, _LARGE))}"
            )
        if self.use_pretrained_model and self.image_shape != _PRETRAINED:
            yield (
                f"image_shape: {self.image_shape}; with use_pretrained_model=1 it is {_PRETRAINED}"
            )
        if self.resize is not None and self.resize < max(self.sides):
            yield (
                f"resize: {self.resize}, less than a side of image_shape, {self.image_shape}; "
                "choose more"
            )
        if self.checkpoint_frequency is not None and self.checkpoint_frequency > self.epochs:
            yield (
                f"checkpoint_frequency: {self.checkpoint_frequency}, more than the {self.epochs} "
                "epochs"
            )
        if self.use_weighted_loss and not self.multi_label:
            yield (
                "use_weighted_loss: 1, which is for labels of several classes (multi_label); leave "
                "it out"
            )


@dataclass(frozen=True, kw_only=True)
class ClassHyperparameters(ClassLearning, Counts):
    """All of them. ``from_manifests`` takes ``num_classes``, ``num_training_samples`` and
    ``multi_label`` from the manifests."""

    kind: ClassVar[Kind] = "classification"
    fixed: ClassVar = ("num_layers", "image_shape")
    # AWS developer guide, "Tune an Image Classification Model"
    tunable: ClassVar = {
        **dict.fromkeys(
            ("learning_rate", "momentum", "weight_decay", "beta_1", "beta_2", "eps", "gamma"),
            "Continuous",
        ),
        "mini_batch_size": "Integer", "optimizer": "Categorical",
    }  # fmt: skip

    @classmethod
    def _of_data(cls, manifests: Sequence[Manifest]) -> dict[str, Any]:
        return {"multi_label": int(any(one.label_width > 1 for one in manifests))}
