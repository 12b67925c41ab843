"""The result of a conversion."""

from __future__ import annotations

from dataclasses import dataclass, field

from recpack.formats.manifest import Manifest
from recpack.problems import Problem
from recpack.sources.base import Scope


@dataclass(frozen=True)
class Result:
    """The result of a conversion: its ``manifest`` and all ``problems``, in order. A split has one
    result for each part in ``parts``, and the manifest of the first. ``scope``: which part of a
    data set was read; None for a list."""

    manifest: Manifest
    problems: list[Problem]
    parts: list[Result] = field(default_factory=list)
    scope: Scope | None = None
