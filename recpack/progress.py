"""How far a long job is: what ``progress=callable`` is called with."""

from __future__ import annotations

from typing import NamedTuple


class Progress(NamedTuple):
    """``stage`` is ``scan`` or ``pack``, or the file of a download; ``done`` of ``total`` images,
    or whatever ``unit`` says; ``bytes_done`` written."""

    stage: str
    done: int
    total: int
    bytes_done: int = 0
    unit: str = "images"
