"""The answers of image classification; drawing and evaluating them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .detections import Detections, Found, name_of, parse_response, scored

if TYPE_CHECKING:
    from .detections import Image
    from .pictures import Picture

_LIKELY = 0.5
"""The least score of a class that an image is said to have, where it can have several."""


class Score(NamedTuple):
    """A class: id and name, and its score, 0 to 1."""

    class_id: int
    name: str
    score: float


class Classification(Found[Score]):
    """The scores of all classes of one image. They add up to 1, but where an image can have several
    classes."""

    def draw(self, image: Image | None = None, threshold: float = 0.3) -> Picture:
        """Write names and scores of those with at least this score on the image; None: the one that
        was asked for."""
        from .pictures import write

        shown = self.above(threshold).found
        labels = [f"{one.name} {one.score:.2f}" for one in shown]
        return write(self._own(image), labels, [one.class_id for one in shown])


def parse_answer(
    body: bytes, classes: Sequence[str], width: int, height: int
) -> Detections | Classification:
    """The endpoint's JSON → what it is: an array of numbers is a classification, all else is read
    by ``parse_response``. Raises JobError."""
    try:
        answer = json.loads(body)
        rows = answer["prediction"] if isinstance(answer, dict) else answer
        scores = [scored(one) for one in rows]
    except (ValueError, TypeError, LookupError, RecursionError):
        scores = []
    if not scores:
        return parse_response(body, classes, width, height)
    return classification(enumerate(scores), classes, width, height)


def classification(
    scores: Iterable[tuple[int, float]], classes: Sequence[str], width: int, height: int
) -> Classification:
    """Scores by class id → all of them, of equal ones the lower id first."""
    found = [Score(id_, name_of(id_, classes), score) for id_, score in scores]
    found.sort(key=lambda one: -one.score)
    return Classification(tuple(found), width, height)


@dataclass(frozen=True)
class Accuracy:
    """How right the scores are, 0 to 1.

    Of images with one class: ``accuracy`` is the ratio of images whose class has the highest score,
    ``top_k_accuracy`` of those whose class is among the ``top_k`` highest, ``by_class`` the ratio
    for each class that has images (recall). Of images that can have several: ``accuracy`` is the
    ratio of right answers over all images and classes, a class being said from a score of 0.5,
    ``by_class`` the average precision of each class, whose mean is ``mean``.
    """

    accuracy: float
    by_class: Mapping[str, float]
    top_k: int | None = None
    top_k_accuracy: float | None = None

    def __repr__(self) -> str:
        classes = len(self.by_class)
        return f"Accuracy(accuracy={self.accuracy:.4f}, mean={self.mean:.4f}, classes={classes})"

    def _repr_html_(self) -> str:
        from .notebook import by_class_html

        return by_class_html("accuracy", self.accuracy, self.by_class)

    @property
    def mean(self) -> float:
        """Of ``by_class``; 0 when no class has images."""
        return sum(self.by_class.values()) / len(self.by_class) if self.by_class else 0.0


Pairs = Iterable[tuple[Classification, Sequence[float]]]
"""Scores and labels of images."""


def accuracy_of_one(pairs: Pairs, classes: Sequence[str], top_k: int = 5) -> Accuracy:
    """Of images with one class, whose id is the label's only number."""
    images = right = among = 0
    counts: dict[int, list[int]] = {}
    for scores, (label,) in pairs:
        ids = [one.class_id for one in scores.found]
        best = ids[0] == label
        images, right, among = images + 1, right + best, among + (label in ids[:top_k])
        of_class = counts.setdefault(int(label), [0, 0])
        of_class[0] += best
        of_class[1] += 1
    recall = {name_of(id_, classes): ok / all_ for id_, (ok, all_) in sorted(counts.items())}
    most = max(images, 1)
    return Accuracy(right / most, recall, top_k, among / most)


def accuracy_of_several(pairs: Pairs, classes: Sequence[str]) -> Accuracy:
    """Of images with any number of classes: the label has 0 or 1 for each."""
    import numpy as np

    from .precision import average_precisions

    right = said = 0
    whole = (0.0, 0.0, 1.0, 1.0)  # each class of an image is one object, as large as the image
    rows = []
    for scores, label in pairs:
        found = [(one.class_id, one.score, *whole) for one in scores.found]
        there = {id_ for id_, value in enumerate(label) if value >= _LIKELY}
        right += sum((score >= _LIKELY) == (id_ in there) for id_, score, *_ in found)
        said += len(found)
        objects = np.array([(id_, *whole) for id_ in sorted(there)]).reshape(-1, 5)
        rows.append((np.array(found).reshape(-1, 6), objects))
    precision = average_precisions(rows)
    by_class = {name_of(id_, classes): value for id_, value in precision.items()}
    return Accuracy(right / max(said, 1), by_class)
