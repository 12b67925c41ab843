"""Measurements, side by side; see ``python -m benchmarks --help``."""

from __future__ import annotations

from typing import NamedTuple


class Measured(NamedTuple):
    """Seconds of one run, and CPU seconds of it on our side."""

    seconds: float
    cpu: float
