"""The endpoint's answers as detections; drawing and evaluating them. Those of image classification
are in ``classes``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeVar

from .errors import JobError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .pictures import Picture

    Pixels = npt.NDArray[np.uint8]
    Image = str | Path | bytes | Pixels

_IN_REPR = 5

Box = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax."""


class Detection(NamedTuple):
    """One object: class id and name, score 0 to 1, box in ratios of the image's size."""

    class_id: int
    name: str
    score: float
    box: Box


class _Scored(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def score(self) -> float: ...


One = TypeVar("One", bound=_Scored, covariant=True)


@dataclass(frozen=True, repr=False)
class Found(Sequence[One]):
    """What was found in one image of ``width`` x ``height`` pixels, highest score first. ``image``
    is the file that an endpoint was asked for, else None; a notebook shows it."""

    found: tuple[One, ...]
    width: int
    height: int
    image: Image | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        names = [f"{one.name} {one.score:.2f}" for one in self.found[:_IN_REPR]]
        names += ["…"] * (len(self) > _IN_REPR)
        shown = f": {', '.join(names)}" if names else ""
        return f"{type(self).__name__}({len(self):,}{shown}; {self.width} x {self.height})"

    def _repr_html_(self) -> str:
        from .notebook import found_html

        return found_html(self)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, item: Any) -> Any:
        return self.found[item]

    def _own(self, image: Image | None) -> Image:
        """``image``, or else its own. Raises UsageError where it has none."""
        image = self.image if image is None else image
        if image is None:
            raise UsageError("draw: give the image; only an answer about a file knows it")
        return image

    def above(self, threshold: float) -> Self:
        """Those with at least this score."""
        return replace(self, found=tuple(one for one in self.found if one.score >= threshold))


class Detections(Found[Detection]):
    """The objects found in one image."""

    def pixels(self) -> list[Box]:
        """The boxes in pixels, in the same order."""
        sides = (self.width, self.height, self.width, self.height)
        return [
            tuple(ratio * side for ratio, side in zip(one.box, sides, strict=True))  # type: ignore[misc]
            for one in self.found
        ]

    def draw(self, image: Image | None = None, threshold: float = 0.3) -> Picture:
        """Draw boxes, names and scores of those with at least this score on the image; None: the
        one that they were found in."""
        from .pictures import draw

        shown = self.above(threshold)
        labels = [f"{one.name} {one.score:.2f}" for one in shown.found]
        ids = [one.class_id for one in shown.found]
        return draw(self._own(image), shown.pixels(), labels, ids)


def scored(value: Any) -> float:
    """A score, which is 0 where the service says that it is no number."""
    score = float(value)
    return 0.0 if math.isnan(score) else score


def parse_response(body: bytes, classes: Sequence[str], width: int, height: int) -> Detections:
    """The endpoint's JSON → detections. A class id beyond ``classes`` gets its number as name.

    The service has two forms of answers: ratios, and pixels with ``annotation=1``. Raises JobError
    for anything else.
    """
    try:
        answer = json.loads(body)
        if "prediction" in answer:
            rows = [
                (int(id_), scored(score), (float(a), float(b), float(c), float(d)))
                for id_, score, a, b, c, d in answer["prediction"]
            ]
        else:
            (size,) = answer["image_size"][:1]
            wide, high = float(size["width"]), float(size["height"])
            rows = [
                (int(one["class_id"]), scored(one["score"]), _ratios(one, wide, high))
                for one in answer["annotations"]
            ]
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        start = body[:200].decode(errors="replace")
        raise JobError(f"the endpoint's answer is not a list of detections: {start!r}") from error
    found = [
        Detection(id_, name_of(id_, classes), score, box) for id_, score, box in rows if id_ >= 0
    ]
    found.sort(key=lambda one: -one.score)
    return Detections(tuple(found), width, height)


def name_of(class_id: int, classes: Sequence[str]) -> str:
    """A class's name; its number when it has none."""
    return classes[class_id] if class_id < len(classes) else str(class_id)


def _ratios(one: dict[str, Any], width: float, height: float) -> Box:
    left, top = float(one["left"]), float(one["top"])
    right, bottom = left + float(one["width"]), top + float(one["height"])
    return left / width, top / height, right / width, bottom / height


class Truth(NamedTuple):
    """An image's objects: class ids, boxes in ratios, and which are difficult (not counted)."""

    class_ids: Sequence[int]
    boxes: Sequence[Box]
    difficult: Sequence[bool]


def truth_of(label: Iterable[Sequence[float]]) -> Truth:
    """The truth of a record, from its ``boxes`` rows (class id, xmin, ymin, xmax, ymax, optionally
    difficult)."""
    rows = [tuple(map(float, row)) for row in label]
    rows = [row for row in rows if row[0] >= 0]
    return Truth(
        [int(row[0]) for row in rows],
        [(row[1], row[2], row[3], row[4]) for row in rows],
        [len(row) > 5 and row[5] == 1 for row in rows],
    )


@dataclass(frozen=True)
class Evaluation:
    """VOC's average precision of each class with objects, and their mean."""

    average_precision: dict[str, float]

    def __repr__(self) -> str:
        return f"Evaluation(mean={self.mean:.4f}, classes={len(self.average_precision)})"

    def _repr_html_(self) -> str:
        from .notebook import by_class_html

        return by_class_html("mean average precision", self.mean, self.average_precision)

    @property
    def mean(self) -> float:
        """The mAP; 0 when no class has objects."""
        values = self.average_precision.values()
        return sum(values) / len(values) if values else 0.0


def evaluate(
    pairs: Iterable[tuple[Detections, Truth]],
    classes: Sequence[str],
    *,
    overlap: float = 0.5,
    eleven_points: bool = False,
) -> Evaluation:
    """VOC's mean average precision. A detection is right when its IoU with an object of its class
    is ``overlap`` or more, and no detection with a higher score matched that object.

    ``eleven_points`` computes it as in VOC2007, else it is the area below the curve (as since
    VOC2010). Matches with difficult objects are not counted, nor classes without other objects;
    what is found in an image without objects is wrong. Of equal scores the earlier image's comes
    first, and in it the earlier detection. Source: the VOC development kit, ``VOCevaldet``.

    GluonCV's ``VOCMApMetric`` and ``VOC07MApMetric`` give the same, with two differences: they add
    1 to xmax and ymax, for boxes in whole pixels, and sort equal scores in no certain order.
    """
    import numpy as np

    from .precision import average_precisions

    def rows(found: Detections, truth: Truth) -> tuple[Any, Any]:
        objects = zip(truth.class_ids, truth.boxes, truth.difficult, strict=True)
        return (
            np.array([(one.class_id, one.score, *one.box) for one in found.found]).reshape(-1, 6),
            np.array([(id_, *box, hard) for id_, box, hard in objects]).reshape(-1, 6),
        )

    found = average_precisions(
        (rows(*pair) for pair in pairs), overlap=overlap, eleven_points=eleven_points
    )
    return Evaluation({name_of(id_, classes): value for id_, value in found.items()})
