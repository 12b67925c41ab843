"""Judge labels without boxes: one class, several, or numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recpack.columns import Float32, Int64
from recpack.data.annotation import Annotation, LabelKind
from recpack.data.samples import Treatment
from recpack.errors import ConfigError
from recpack.formats.image_header import ImageHeader
from recpack.scanning.base_judge import BaseJudge, ScanChunk
from recpack.scanning.judge import Judge
from recpack.scanning.settings import JudgeSettings
from recpack.sources.base import Item


class ClassJudge(BaseJudge):
    """Judges labels of this kind; ``settings`` name the classes."""

    def __init__(
        self, settings: JudgeSettings, image_set: int = 0, labels: LabelKind = "class"
    ) -> None:
        super().__init__(settings, image_set)
        self._labels = labels
        self._dropped = "dropped image" if labels == "class" else "dropped class"
        self._numbers: list[float] = []

    def add(self, item: Item) -> None:
        super().add(item)
        if item.annotation is not None:
            self._numbers += item.annotation.numbers

    def _judge_size(
        self, annotation: Annotation, header: ImageHeader
    ) -> tuple[tuple[float, float], Treatment]:
        del annotation
        if header.passes:
            return header.upright, Treatment.KEEP
        if header.orientation != 1:
            value = str(header.orientation)
            self._note("image-rotated", "re-encoded", field="orientation", value=value)
        else:
            kind = f"{header.kind}, {header.channels} channels of {header.bits} bits"
            self._note("image-converted", "re-encoded", field="image", value=kind)
        return header.upright, Treatment.UPRIGHT

    def finish(self) -> ScanChunk:
        classes = self._gather()
        known = classes >= 0
        count = len(self._sizes)
        if self._labels == "numbers":
            stay = self._judge_samples(np.ones(count, np.int64))
            labels = np.array(self._numbers, np.float32).reshape(count, -1 if count else 1)
        else:
            stay = self._judge_samples(np.bincount(self._owners[known], minlength=count))
            labels = self._of_classes(classes[known], self._owners[known], count)
        kept = labels[stay]
        return self._chunk(stay, kept.ravel(), np.full(len(kept), labels.shape[1], np.int64))

    def _of_classes(self, classes: Int64, owners: Int64, count: int) -> Float32:
        """The labels of images that show these classes, float32 (count, width)."""
        if self._labels == "class":
            labels = np.zeros((count, 1), np.float32)
            labels[owners, 0] = classes
        else:
            labels = np.zeros((count, max(self._ids.values()) + 1), np.float32)
            labels[owners, classes] = 1
        return labels


def judge_of(labels: LabelKind, settings: JudgeSettings, image_set: int) -> BaseJudge:
    """The judge of labels of this kind."""
    if labels == "boxes":
        return Judge(settings, image_set)
    return ClassJudge(settings, image_set, labels)


def faults(settings: JudgeSettings, labels: LabelKind) -> Iterator[str]:
    """The options that can't apply to labels of this kind."""
    for name in ("box_policy", "difficult", "one_based", "size_mismatch"):
        if getattr(settings, name) != getattr(JudgeSettings, name):
            yield f"{name}: only for boxes, and this data set has none; leave it out"
    if labels == "class" and settings.negatives == "keep":
        yield (
            "negatives: keep: an image without a class has no label; leave it out, or give the "
            "background a class of its own"
        )
    if labels == "numbers" and settings.classes is not None:
        yield "classes: the labels of this data set are numbers, not classes; leave it out"


def refuse_options(settings: JudgeSettings, labels: LabelKind) -> None:
    """Raise ConfigError for options that can't apply to labels of this kind."""
    found = list(faults(settings, labels)) if labels != "boxes" else []
    if found:
        raise ConfigError("\n".join(found))
