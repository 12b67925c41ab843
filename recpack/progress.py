"""How far a long job is: what ``progress=callable`` is called with."""

from __future__ import annotations

from typing import NamedTuple


class Progress(NamedTuple):
    """``stage`` is ``scan`` or ``pack``; ``done`` of ``total`` images; ``bytes_done`` written."""

    stage: str
    done: int
    total: int
    bytes_done: int = 0
