"""The result of a conversion."""

from __future__ import annotations

from dataclasses import dataclass, field

from recpack.display import brief
from recpack.formats.manifest import Manifest
from recpack.problem_list import Problems
from recpack.sources.base import Scope


@dataclass(frozen=True, repr=False)
class Result:
    """The result of a conversion: its ``manifest`` and all ``problems``, in order. A split has one
    result for each part in ``parts``, and the manifest of the first. ``scope``: which part of a
    data set was read; None for a list."""

    manifest: Manifest
    problems: Problems
    parts: list[Result] = field(default_factory=list)
    scope: Scope | None = None

    def __repr__(self) -> str:
        parts = {"parts": len(self.parts)} if self.parts else {}
        return brief(self, **self.manifest.facts(), problems=len(self.problems), **parts)

    def _repr_html_(self) -> str:
        tables = [part.manifest._repr_html_() for part in self.parts or [self]]
        return "".join([*tables, self.problems._repr_html_()])
