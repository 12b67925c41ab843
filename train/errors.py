"""The errors of this package."""

from __future__ import annotations

from typing import Literal

Kind = Literal["TrainingJob", "HyperParameterTuningJob", "TransformJob", "Endpoint"]
"""What AWS lists, by its name there."""


class TrainError(Exception):
    """Base of all errors of ``train``."""


class SpecError(TrainError):
    """A job that would fail or would train the wrong thing. The message lists everything that is
    wrong; nothing was sent."""


class UsageError(SpecError):
    """A SpecError for any data: an unknown name, or a value out of its range."""


class ModelError(TrainError):
    """A model file that can't be used. The message names what is wrong, and where."""


class JobError(TrainError):
    """A training job or an endpoint that failed; ``reason`` is the service's."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class TemporaryError(JobError):
    """A failure that can be gone at the next attempt."""


class MissingError(JobError):
    """There is no such job or endpoint: of this ``name``, of these ``kinds``."""

    def __init__(self, message: str, name: str, *kinds: Kind) -> None:
        super().__init__(message)
        self.name, self.kinds = name, kinds
