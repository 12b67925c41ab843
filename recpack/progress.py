"""How far a long job is: what ``progress=callable`` is called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from recpack.settings import Settings


class Progress(NamedTuple):
    """``stage`` is ``scan`` or ``pack``, or the file of a download; ``done`` of ``total`` images,
    or whatever ``unit`` says; ``bytes_done`` written."""

    stage: str
    done: int
    total: int
    bytes_done: int = 0
    unit: str = "images"


Watch = Callable[[Progress], None] | None


class Monitor(Settings):
    """Who is told of the progress: a callable, not an option of the command line."""

    progress: Watch = None
