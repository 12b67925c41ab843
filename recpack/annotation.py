"""What an annotation says, whoever read it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Defect:
    """A fault inside an annotation that leaves the rest of it readable."""

    code: str
    object: int
    field: str
    value: str


@dataclass(slots=True)
class Annotation:
    """One parsed annotation.

    ``width`` and ``height`` are ``<size>`` in pixels, 0 when missing. Boxes are columns: class
    ``names``, ``boxes`` (xmin, ymin, xmax, ymax in pixels as written, flat), ``difficult`` (0 or
    1) and ``objects``, the number of the ``<object>`` (from 1) that each box belongs to.
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
