"""SageMaker's object detection, in PyTorch: train, continue, serve and export its models.

Needs ``pip install 'recpack[ssd]'``. The launcher in ``train`` never imports this package, and
each name here is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .artifact import Model, read_model, read_weights, write_model
    from .batches import Batch, Loader
    from .detector import Detector
    from .export import to_onnx
    from .fitting import Setup, fit
    from .serving import serve

_HOMES = {
    "Batch": "batches", "Detector": "detector", "Loader": "batches", "Model": "artifact",
    "Setup": "fitting", "fit": "fitting", "read_model": "artifact", "read_weights": "artifact",
    "serve": "serving", "to_onnx": "export", "write_model": "artifact",
}  # fmt: skip

__all__ = [
    "Batch",
    "Detector",
    "Loader",
    "Model",
    "Setup",
    "fit",
    "read_model",
    "read_weights",
    "serve",
    "to_onnx",
    "write_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'train.ssd' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
