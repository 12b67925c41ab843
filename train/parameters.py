"""What the tables of hyperparameters have in common: values are checked before anything is paid
for, numbers come from the manifests, and all are sent as text. The service reports an unknown name
only in the log of a running job.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from .errors import SpecError, UsageError
from .kinds import Kind
from .values import make_plain, number, plain, whole

if TYPE_CHECKING:
    from recpack import Manifest

Check = Callable[[Any], str]
"""Returns what the value should be; an empty string when it is right."""


def integer(least: int) -> Check:
    def check(value: Any) -> str:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= least
        return "" if good else f"an integer, {least} or more"

    return check


def between(low: float, high: float, *, with_low: bool = False, with_high: bool = True) -> Check:
    def check(value: Any) -> str:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        good = good and (low < value < high or (with_low and value == low))
        good = good or (with_high and value == high)
        return "" if good else f"in {'[' if with_low else '('}{low:g}, {high:g}{')]'[with_high]}"

    return check


def one_of(*choices: Any) -> Check:
    def check(value: Any) -> str:
        good = any(value == choice and type(value) is type(choice) for choice in choices)
        return "" if good else "one of " + ", ".join(map(str, choices))

    return check


def steps(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"(\d+(,\d+)*)?", value):
        steps = [int(step) for step in value.split(",") if step]
        if steps == sorted(set(steps)) and 0 not in steps:
            return ""
    return "epochs in rising order, separated by commas, like 10,20"


def pattern(value: Any) -> str:
    try:
        re.compile(value)
    except (re.error, TypeError):
        return "a regular expression"
    return ""


def parameter(default: Any, check: Check, kind: type | None = None) -> Any:
    """A field of a table; ``kind`` of its values where the default does not tell it."""
    return field(default=default, metadata={"check": check, "kind": kind or type(default)})


def required(check: Check) -> Any:
    """An integer that the data tells."""
    return field(metadata={"check": check, "kind": int})


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The hyperparameters that both of SageMaker's algorithms have, but for the defaults that each
    has of its own. None leaves one out, so the service uses its default. Raises UsageError that
    lists everything that is wrong."""

    kind: ClassVar[Kind]
    fixed: ClassVar[tuple[str, ...]]
    """Those that a job which continues a model must have from it, beside the classes."""
    tunable: ClassVar[Mapping[str, str]]
    """Those that SageMaker's tuner may try, and the type of their ranges."""
    least: ClassVar[tuple[str, ...]] = ()
    """Those that may be larger than the data says."""

    use_pretrained_model: Literal[0, 1] = parameter(0, one_of(0, 1))
    epochs: int = parameter(30, integer(1))
    mini_batch_size: int = parameter(32, integer(1))
    lr_scheduler_step: str = parameter("", steps)
    early_stopping: bool = parameter(False, one_of(True, False))
    early_stopping_min_epochs: int = parameter(10, integer(1))
    early_stopping_patience: int = parameter(5, integer(1))
    early_stopping_tolerance: float = parameter(0.0, between(0, 1, with_low=True))
    kv_store: Literal["dist_sync", "dist_async"] | None = parameter(
        None, one_of("dist_sync", "dist_async"), str
    )

    def __post_init__(self) -> None:
        make_plain(self)
        wrong = []
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None and one.default is None:
                continue
            expected = one.metadata["check"](value)
            if expected:
                wrong.append(f"{one.name}: {value!r} is not {expected}")
        wrong += [] if wrong else self._conflicts()
        if wrong:
            raise UsageError("\n".join(wrong))

    def _conflicts(self) -> Iterator[str]:
        """What is wrong with values that are good alone."""
        if self.lr_scheduler_step:
            last = int(self.lr_scheduler_step.rpartition(",")[2])
            if last >= self.epochs:
                yield (
                    f"lr_scheduler_step: {self.lr_scheduler_step}; with {self.epochs} epochs "
                    f"there is nothing after epoch {last}"
                )

    def faults_of_service(self) -> Iterator[str]:
        """What recpack's own algorithm takes, and SageMaker's does not."""
        yield from ()

    def as_strings(self) -> dict[str, str]:
        """The values that are sent, as text, without those that are None and without an empty
        ``lr_scheduler_step``."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: str(value) for name, value in values.items() if value not in (None, "")}

    @classmethod
    def from_strings(cls, strings: Mapping[str, str]) -> Self:
        """What ``as_strings`` made, as a job is told. Raises UsageError."""
        names = [one.name for one in fields(cls)]
        if unknown := [_unknown(name, names) for name in strings if name not in names]:
            raise UsageError("\n".join(unknown))
        return cls(**{name: cls._value(name, value) for name, value in strings.items()})

    @classmethod
    def _of_data(cls, manifests: Sequence[Manifest]) -> dict[str, Any]:
        """What the manifests say of the labels."""
        raise NotImplementedError

    @classmethod
    def from_manifests(
        cls, train: Manifest, validation: Manifest | None = None, **choices: Any
    ) -> Self:
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
        from_data: dict[str, Any] = {
            "num_classes": len(train.classes),
            "num_training_samples": train.num_samples,
            **cls._of_data([one for one in (train, validation) if one is not None]),
        }
        values = dict(from_data)
        names = [one.name for one in fields(cls)]
        for name, value in choices.items():
            if name not in names:
                misuse.append(_unknown(name, names))
                continue
            value = cls._value(name, value)
            if name in from_data and value != from_data[name]:
                if name not in cls.least or not isinstance(value, int):
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

    @classmethod
    def _value(cls, name: str, value: Any) -> Any:
        """A string → a value of the parameter's kind, or the string itself when that fails."""
        if not isinstance(value, str):
            return plain(value)
        kind = next(one.metadata["kind"] for one in fields(cls) if one.name == name)
        try:
            if kind in (int, float):
                return whole(value) if kind is int else number(value)
        except ValueError:
            return value
        return _BOOLS.get(value.lower(), value) if kind is bool else value


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Those that all manifests say."""

    num_classes: int = required(integer(1))
    num_training_samples: int = required(integer(1))


def _unknown(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, 1)
    near = near or [one for one in names if len(name) > 2 and name in one]
    hint = f"did you mean {near[0]}?" if near else f"the names are {', '.join(names)}"
    return f"{name}: no such hyperparameter; {hint}"


_BOOLS = {"true": True, "false": False, "1": True, "0": False}
