"""What can go wrong."""

from __future__ import annotations


class TrainError(Exception):
    """Base of all errors of ``train``."""


class SpecError(TrainError):
    """A job that would fail, or train the wrong thing; everything wrong is in the message, and
    nothing was sent."""


class UsageError(SpecError):
    """Of those, what no data could make right: an unknown name, a value out of its range."""


class JobError(TrainError):
    """A training job or an endpoint that ended otherwise than hoped; ``reason`` is the
    service's."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason
