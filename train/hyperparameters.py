"""Hyperparameters of SageMaker's built-in object detection, checked before anything is paid for.

Names, ranges and defaults: AWS developer guide, "Object Detection Hyperparameters". The service
reports an unknown name only in the log of a running job.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from .errors import SpecError, UsageError
from .values import make_plain, number, plain, whole

if TYPE_CHECKING:
    from recpack import Manifest

LEAST_SHAPE, LEAST_SHAPE_OF_SERVICE = 30, 300
"""The smallest ``image_shape``, of recpack's own algorithm and of SageMaker's."""

Check = Callable[[Any], str]
"""Returns what the value should be; an empty string when it is right."""


def _whole(least: int) -> Check:
    def check(value: Any) -> str:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= least
        return "" if good else f"an integer, {least} or more"

    return check


def _between(low: float, high: float, *, with_low: bool = False, with_high: bool = True) -> Check:
    def check(value: Any) -> str:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        good = good and (low < value < high or (with_low and value == low))
        good = good or (with_high and value == high)
        return "" if good else f"in {'[' if with_low else '('}{low:g}, {high:g}{')]'[with_high]}"

    return check


def _one_of(*choices: Any) -> Check:
    def check(value: Any) -> str:
        good = any(value == choice and type(value) is type(choice) for choice in choices)
        return "" if good else "one of " + ", ".join(map(str, choices))

    return check


def _steps(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"(\d+(,\d+)*)?", value):
        steps = [int(step) for step in value.split(",") if step]
        if steps == sorted(set(steps)) and 0 not in steps:
            return ""
    return "epochs in rising order, separated by commas, like 10,20"


def _pattern(value: Any) -> str:
    try:
        re.compile(value)
    except (re.error, TypeError):
        return "a regular expression"
    return ""


def _parameter(default: Any, check: Check) -> Any:
    return field(default=default, metadata={"check": check})


def _required(check: Check) -> Any:
    return field(metadata={"check": check})


@dataclass(frozen=True, kw_only=True)
class Learning:
    """The hyperparameters that do not depend on the data. ``learning_rate`` and the thresholds are
    ratios, ``image_shape`` the side of a square in pixels (``resnet-18`` and less than 300 are for
    training on one's own machine). None leaves a parameter out, so the service uses its default.
    Raises UsageError that lists everything that is wrong."""

    base_network: Literal["vgg-16", "resnet-50", "resnet-18"] = _parameter(
        "vgg-16", _one_of("vgg-16", "resnet-50", "resnet-18")
    )
    use_pretrained_model: Literal[0, 1] = _parameter(1, _one_of(0, 1))
    epochs: int = _parameter(30, _whole(1))
    mini_batch_size: int = _parameter(32, _whole(1))
    image_shape: int = _parameter(300, _whole(LEAST_SHAPE))
    learning_rate: float = _parameter(0.001, _between(0, 1))
    lr_scheduler_step: str = _parameter("", _steps)
    lr_scheduler_factor: float = _parameter(0.1, _between(0, 1, with_high=False))
    optimizer: Literal["sgd", "adam", "rmsprop", "adadelta"] = _parameter(
        "sgd", _one_of("sgd", "adam", "rmsprop", "adadelta")
    )
    momentum: float = _parameter(0.9, _between(0, 1))
    weight_decay: float = _parameter(0.0005, _between(0, 1, with_high=False))
    overlap_threshold: float = _parameter(0.5, _between(0, 1))
    nms_threshold: float = _parameter(0.45, _between(0, 1))
    early_stopping: bool = _parameter(False, _one_of(True, False))
    early_stopping_min_epochs: int = _parameter(10, _whole(1))
    early_stopping_patience: int = _parameter(5, _whole(1))
    early_stopping_tolerance: float = _parameter(0.0, _between(0, 1, with_low=True))
    freeze_layer_pattern: str | None = _parameter(None, _pattern)
    kv_store: Literal["dist_sync", "dist_async"] | None = _parameter(
        None, _one_of("dist_sync", "dist_async")
    )

    def __post_init__(self) -> None:
        make_plain(self)
        wrong = []
        for parameter in fields(self):
            value = getattr(self, parameter.name)
            if value is None and parameter.default is None:
                continue
            expected = parameter.metadata["check"](value)
            if expected:
                wrong.append(f"{parameter.name}: {value!r} is not {expected}")
        if not wrong and self.lr_scheduler_step:
            last = int(self.lr_scheduler_step.rpartition(",")[2])
            if last >= self.epochs:
                wrong.append(
                    f"lr_scheduler_step: {self.lr_scheduler_step}; with {self.epochs} epochs "
                    f"there is nothing after epoch {last}"
                )
        if wrong:
            raise UsageError("\n".join(wrong))


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """Those that the manifests say."""

    num_classes: int = _required(_whole(1))
    num_training_samples: int = _required(_whole(1))
    label_width: int = _required(_whole(1))


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(Learning, _Counts):
    """All hyperparameters. ``from_manifests`` takes ``num_classes``, ``num_training_samples`` and
    ``label_width`` from the manifests."""

    def as_strings(self) -> dict[str, str]:
        """The values that are sent, as text, without those that are None and without an empty
        ``lr_scheduler_step``."""
        values = {parameter.name: getattr(self, parameter.name) for parameter in fields(self)}
        return {name: str(value) for name, value in values.items() if value not in (None, "")}

    @classmethod
    def from_strings(cls, strings: Mapping[str, str]) -> Hyperparameters:
        """What ``as_strings`` made, as a job is told. Raises UsageError."""
        names = [parameter.name for parameter in fields(cls)]
        if unknown := [_unknown(name, names) for name in strings if name not in names]:
            raise UsageError("\n".join(unknown))
        return cls(**{name: _value(cls, name, value) for name, value in strings.items()})

    def faults_of_service(self) -> Iterator[str]:
        """What recpack's own algorithm takes, and SageMaker's does not."""
        where = "is not of SageMaker's algorithm: add --local, or --algorithm pytorch"
        if self.base_network == "resnet-18":
            yield f"base_network: {self.base_network} {where}"
        if self.image_shape < LEAST_SHAPE_OF_SERVICE:
            yield f"image_shape: {self.image_shape}, less than {LEAST_SHAPE_OF_SERVICE}, {where}"

    @classmethod
    def from_manifests(
        cls, train: Manifest, validation: Manifest | None = None, **choices: Any
    ) -> Hyperparameters:
        """Hyperparameters from the manifests and the user's ``choices`` (values, or strings as on a
        command line).

        Raises UsageError for an unknown name or a value out of its range, SpecError when a choice
        contradicts the manifests or the channels' classes differ.
        """
        wrong = []
        misuse = []
        if validation is not None and train.classes != validation.classes:
            wrong.append(
                "the classes of the channels differ: train has "
                f"{', '.join(train.classes)}; validation has {', '.join(validation.classes)}; "
                "pack validation with --classes and the manifest of train"
            )
        widths = [manifest.label_width for manifest in (train, validation) if manifest is not None]
        from_data: dict[str, Any] = {
            "num_classes": len(train.classes),
            "num_training_samples": train.num_samples,
            "label_width": max(widths),
        }
        values = dict(from_data)
        names = [parameter.name for parameter in fields(cls)]
        for name, value in choices.items():
            if name not in names:
                misuse.append(_unknown(name, names))
                continue
            value = _value(cls, name, value)
            # a larger label_width than the data's does no harm
            if name in from_data and value != from_data[name]:
                if name != "label_width" or not isinstance(value, int):
                    wrong.append(
                        f"{name}: {value}, but the manifest says {from_data[name]}; leave it out"
                    )
                elif value < from_data[name]:
                    wrong.append(f"{name}: {value}, but the data needs {from_data[name]} or more")
            values[name] = value
        try:
            hyperparameters = cls(**values)
        except UsageError as error:
            misuse.append(str(error))
        else:
            batch = hyperparameters.mini_batch_size
            if batch > train.num_samples:
                wrong.append(
                    f"mini_batch_size: {batch}, but train has {train.num_samples} images; choose "
                    "fewer"
                )
        if wrong or misuse:
            raise (SpecError if wrong else UsageError)("\n".join(wrong + misuse))
        return hyperparameters


def _unknown(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"the names are {', '.join(names)}"
    return f"{name}: no such hyperparameter; {hint}"


_BOOLS = {"true": True, "false": False, "1": True, "0": False}


def _value(cls: type[Hyperparameters], name: str, value: Any) -> Any:
    """A string → a value of the parameter's type, or the string itself when that fails."""
    if not isinstance(value, str):
        return plain(value)
    default = next(one.default for one in fields(cls) if one.name == name)
    kind = int if default is MISSING else type(default)
    try:
        if kind in (int, float):
            return whole(value) if kind is int else number(value)
    except ValueError:
        return value
    return _BOOLS.get(value.lower(), value) if kind is bool else value
