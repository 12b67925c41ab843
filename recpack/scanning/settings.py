"""The settings of the first pass: labels, order, and the policies for bad data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Literal

from recpack.data.classes import ClassMap, class_map
from recpack.data.policy import Policy
from recpack.errors import ConfigError
from recpack.formats.encoding import Crop
from recpack.settings import Settings, option
from recpack.workers.settings import Cluster, Workers

PARTS = ("train", "val", "test")
"""The parts of a split."""


def parse_fractions(value: str | Sequence[float]) -> tuple[float, ...]:
    """``0.8/0.2``, or the numbers → fractions; ValueError unless they are two or three, above 0,
    and add up to 1."""
    parts = value.split("/") if isinstance(value, str) else value
    try:
        fractions = tuple(float(part) for part in parts)
    except ValueError:
        fractions = ()
    if (
        not 2 <= len(fractions) <= len(PARTS)
        or not all(0 < fraction < 1 for fraction in fractions)
        or abs(sum(fractions) - 1) > 1e-6
    ):
        raise ValueError(
            f"must be two or three fractions that add up to 1, like 0.8/0.2 ({', '.join(PARTS)}; "
            f"got {value!r})"
        )
    return fractions


def checked_fractions(value: str | Sequence[float]) -> str:
    """The text of fractions, if ``parse_fractions`` takes it."""
    parse_fractions(value)
    return value if isinstance(value, str) else "/".join(map(str, value))


def _seed(value: int) -> int | None:
    """True means seed 0, False keeps the order."""
    if isinstance(value, bool):
        return 0 if value else None
    return value


class Labelling(Settings):
    """Labels and the order of the samples. ``class_map`` holds the classes of ``classes``; None
    when they come from the data."""

    title = "labels and order"

    classes: str | Sequence[str] | Mapping[str, int] | None = option(
        default=None,
        help="voc, auto, a file, or a,b,c; a=b makes b an alias of a (default: the names in "
        "the data; voc for a devkit without CVAT's labelmap.txt)",
        metavar="C",
        words=("voc", "auto"),
    )
    shuffle: int | None = option(
        default=0,
        help="seed of the order (default: 0)",
        metavar="SEED",
        off="keep the order of the data set",
        shapes=True,
        read=_seed,
    )
    precision: int | None = option(
        default=None,
        help="decimals of a label, 1 to 6; the AWS tool writes 4 (default: full float32)",
        metavar="N",
        shapes=True,
    )
    one_based: bool = option(default=False, help="first subtract 1 from xmin and ymin", shapes=True)
    difficult: Literal["keep", "drop", "column"] = option(
        default="keep",
        help="difficult objects: keep, drop, or keep and add the flag as a sixth column",
        shapes=True,
    )

    class_map: ClassMap | None = field(init=False, repr=False, default=None)

    def faults(self) -> Iterator[str]:
        if self.precision is not None and not 1 <= self.precision <= 6:
            yield f"precision: must be 1 to 6, or none for full float32 (got {self.precision})"
        if self.shuffle is not None and not 0 <= self.shuffle < 1 << 32:
            yield f"shuffle: must be a seed from 0 to {(1 << 32) - 1} (got {self.shuffle})"
        try:
            classes = class_map("voc" if self.classes is None else self.classes)
            vars(self)["class_map"] = classes
        except ConfigError as error:
            yield str(error)


class BoxPolicy(Policy):
    """The policies for boxes and images that do not fit."""

    title = "bad data"

    box_policy: Literal["repair", "drop", "error"] = option(
        default="repair", help="inverted boxes, and boxes partly outside the image", shapes=True
    )
    negatives: Literal["drop", "keep", "error"] = option(
        default="drop", help="images without objects", shapes=True
    )
    unknown_class: Literal["error", "skip"] = option(
        default="error", help="objects of a class that is not chosen", shapes=True
    )
    size_mismatch: Literal["error", "rescale"] = option(
        default="error", help="boxes that fit <size>, but not the image", shapes=True
    )


class Split(Settings):
    """A split into parts, each with its own output."""

    title = "output"

    split: str | Sequence[float] | None = option(
        default=None,
        help="split by class, like 0.8/0.2: x.rec becomes x_train.rec, x_val.rec (and x_test.rec)",
        metavar="F/F",
        shapes=True,
        read=checked_fractions,
    )


class JudgeSettings(Labelling, BoxPolicy, Crop):
    """The settings of ``Judge``."""


class ScanSettings(JudgeSettings, Cluster):
    """The settings of the first pass."""


class OrderSettings(Labelling, Split, Workers):
    """The settings of ``orders``."""


class MeasureSettings(Policy, Workers):
    """The settings of the first pass over a list."""
