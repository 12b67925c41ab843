"""The progress of a long job: what ``progress=callable`` is called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from recpack.settings import Settings


class Progress(NamedTuple):
    """``stage``: ``scan``, ``pack``, …, or the file of a download; ``done`` of ``total`` images,
    or of what ``unit`` says; ``bytes_done``: bytes written."""

    stage: str
    done: int
    total: int
    bytes_done: int = 0
    unit: str = "images"


Watch = Callable[[Progress], None] | None


class Monitor(Settings):
    """The callable that is told the progress; not an option of the command line."""

    progress: Watch = None
