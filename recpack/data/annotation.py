"""An annotation as a value, the same for every format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

LabelKind = Literal["boxes", "class", "classes", "numbers"]
"""What the label of an image is: boxes with classes · one class id · for each class 1 or 0 ·
numbers as they were given."""


@dataclass(frozen=True, slots=True)
class Defect:
    """Something wrong with an annotation or its image: a problem's code, the number of the object
    (from 1; 0 for the whole file), and the value that was read. The judge decides how bad it is."""

    code: str
    object: int = 0
    field: str = ""
    value: str = ""


@dataclass(slots=True)
class Annotation:
    """One parsed annotation.

    ``width`` and ``height`` are the image's size in pixels, 0 when missing. Boxes are columns:
    class ``names``, ``boxes`` (xmin, ymin, xmax, ymax in pixels as written, flat), ``difficult``
    (0 or 1) and ``objects``, the number of each box's object (from 1). A label without boxes is
    only ``names`` and ``objects``, or only ``numbers``.
    """

    filename: str = ""
    width: float = 0.0
    height: float = 0.0
    names: list[str] = field(default_factory=list)
    boxes: list[float] = field(default_factory=list)
    difficult: list[int] = field(default_factory=list)
    objects: list[int] = field(default_factory=list)
    object_count: int = 0
    defects: list[Defect] = field(default_factory=list)
    numbers: Sequence[float] = ()


def is_rotated(degrees: object) -> bool:
    """Whether a ``rotation`` attribute turns a box. Half turns leave it as it is, and what is no
    number is another attribute of this name."""
    if not isinstance(degrees, (int, float, str)) or isinstance(degrees, bool):
        return False
    try:
        angle = float(degrees)
    except (ValueError, OverflowError):
        return False
    return math.isfinite(angle) and angle % 180 != 0
