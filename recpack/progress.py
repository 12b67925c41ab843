"""The progress of a long job: what ``progress=callable`` is called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """``stage``: ``scan``, ``pack``, …, or the file of a download; ``done`` of ``total`` images,
    or of what ``unit`` says; ``bytes_done``: bytes written."""

    stage: str
    done: int
    total: int
    bytes_done: int = 0
    unit: str = "images"


Watch = Callable[[Progress], None] | None
