"""What an annotation says, whoever read it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Defect:
    """Something wrong with an annotation or its image: a problem's code, the number of the object
    (from 1; 0 when it is the whole file), and what was read. How bad it is, the judge decides."""

    code: str
    object: int = 0
    field: str = ""
    value: str = ""


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
