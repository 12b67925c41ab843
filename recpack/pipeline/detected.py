"""The answer of ``recpack detect``, and the commands in it as a person types them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from shlex import join

from recpack.data.annotation import LabelKind
from recpack.options import DetectSettings
from recpack.settings import options_of
from recpack.storage.paths import base_name
from recpack.storage.s3.location import COMPANIONS, MANIFEST, is_s3
from recpack.storage.trees.open import is_archive_name

_ENDINGS = (
    ".rec", ".idx", ".lst", ".json", ".manifest", ".jsonl", ".csv", ".tsv", ".yaml", ".yml",
)  # fmt: skip


@dataclass(frozen=True)
class Detected:
    """What a path is.

    ``format``: a value of ``--from``, ``rec`` or ``lst``; None for what recpack does not read ·
    ``text``: the format in words · ``labels``: their kind · ``image_sets``: annotations, rows or
    records of each image set that the first command reads; ``other_sets``: of the others (None:
    counting would take long) · ``classes``: objects of each class in the first ``examined``
    annotations, and ``problems``: the errors in them by code · ``unread``: files and folders that
    lie there and are no part of the data set · ``also``: other formats that the folder looks like ·
    ``near``: paths to try instead, and what they are · ``fault``: why it can't be used, with the
    remedy · ``commands`` to type, by what they do, the first one first.
    """

    path: str
    format: str | None
    text: str = ""
    labels: LabelKind | None = None
    image_sets: dict[str, int] = field(default_factory=dict)
    other_sets: dict[str, int | None] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    examined: int = 0
    problems: dict[str, int] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    near: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    commands: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return asdict(self)


class Typist:
    """Writes commands on ``paths``, with the settings that the user gave. Their outputs are in the
    working directory, and have names that are free."""

    def __init__(self, paths: Sequence[str], settings: DetectSettings) -> None:
        self._paths = paths
        self._options: list[str] = []
        for one in options_of(type(settings)):
            if (value := getattr(settings, one.name)) != one.default:
                self._options += [one.flag] if value is True else [one.flag, str(value)]
        first = paths[0].rstrip("/")
        stem = base_name(first if is_s3(first) else os.path.abspath(first))
        while stem.lower().endswith(_ENDINGS) or is_archive_name(stem):
            stem = os.path.splitext(stem)[0]
        self._stem = stem.lstrip("-.") or "out"

    def command(self, verb: str, *rest: str) -> str:
        """``recpack verb PATH… rest…``, for a shell."""
        return join(["recpack", verb, *self._paths, *rest, *self._options])

    def output(self, part: str = "", ending: str = ".rec") -> str:
        """A name that is free, after that of the data; ``part`` of it."""
        stem = self._stem + (f"_{part}" if part else "")
        stem = "".join("_" if mark in "/\\: " else mark for mark in stem)
        endings = (ending, MANIFEST, *COMPANIONS)
        names = [stem, *(f"{stem}_{number}" for number in range(2, 100))]
        return next(
            (
                f"{name}{ending}"
                for name in names
                if not any(os.path.lexists(name + one) for one in endings)
            ),
            f"{stem}{ending}",
        )
