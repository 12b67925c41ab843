"""Amazon SageMaker's object detection and image classification, with the ``.rec`` and the manifest
that recpack wrote: fit, continue from a model, host it, detect, draw, delete it.

``import train`` is light: each name is imported when it is first used. A script with a ``train.py``
of its own beside it imports ``recpack.train``, which is always this package. That is why the
modules here import each other by relative names. ``train.ssd`` is the algorithm itself, in PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import Batch, attach_batch, transform
    from .classes import Accuracy, Classification, Score
    from .classification import ClassHyperparameters
    from .detections import Detection, Detections, Evaluation, evaluate, truth_of
    from .endpoint import Endpoint, attach_endpoint
    from .errors import JobError, SpecError, TrainError, UsageError
    from .evaluation import evaluate_classifier, evaluate_endpoint
    from .hosting import delete_endpoint, deploy
    from .hyperparameters import Hyperparameters
    from .job import Job, attach, jobs
    from .listing import Running, endpoints
    from .planning import Plan, fit, plan
    from .plots import plot_jobs
    from .pricing import price
    from .request import Network
    from .service import Service
    from .tuning import Tuning, plan_tuning, tune

_HOMES = {
    "Detection": "detections", "Detections": "detections", "Evaluation": "detections",
    "evaluate": "detections", "truth_of": "detections", "Endpoint": "endpoint",
    "attach_endpoint": "endpoint", "delete_endpoint": "hosting", "deploy": "hosting",
    "transform": "batch", "attach_batch": "batch", "Batch": "batch", "price": "pricing",
    "Accuracy": "classes", "Classification": "classes", "Score": "classes",
    "ClassHyperparameters": "classification", "evaluate_classifier": "evaluation",
    "endpoints": "listing", "Running": "listing", "evaluate_endpoint": "evaluation",
    "JobError": "errors", "SpecError": "errors", "TrainError": "errors", "UsageError": "errors",
    "Plan": "planning", "fit": "planning", "plan": "planning", "Hyperparameters": "hyperparameters",
    "Job": "job", "attach": "job", "jobs": "job", "plot_jobs": "plots", "Network": "request",
    "Service": "service", "Tuning": "tuning", "plan_tuning": "tuning", "tune": "tuning",
}  # fmt: skip

__all__ = [
    "Accuracy",
    "Batch",
    "ClassHyperparameters",
    "Classification",
    "Detection",
    "Detections",
    "Endpoint",
    "Evaluation",
    "Hyperparameters",
    "Job",
    "JobError",
    "Network",
    "Plan",
    "Running",
    "Score",
    "Service",
    "SpecError",
    "TrainError",
    "Tuning",
    "UsageError",
    "attach",
    "attach_batch",
    "attach_endpoint",
    "delete_endpoint",
    "deploy",
    "endpoints",
    "evaluate",
    "evaluate_classifier",
    "evaluate_endpoint",
    "fit",
    "jobs",
    "plan",
    "plan_tuning",
    "plot_jobs",
    "price",
    "transform",
    "truth_of",
    "tune",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "ssd":
        return import_module(f"{__name__}.ssd")
    if name not in _HOMES:
        raise AttributeError(f"module 'train' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "ssd"]
