"""The package ``train`` beside recpack, even where another module has that name.

Scripts for SageMaker are often called ``train.py``, and such a file hides the package from
``import train``. The package is then loaded under the name ``recpack.train``; the script keeps the
name ``train``. This module puts the package in its own place.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train import *  # noqa: F403

_HOME = Path(__file__).resolve().parents[1] / "train" / "__init__.py"
_OTHER_NAME = "recpack.train"


def load() -> ModuleType:
    """The package; the same object each time."""
    for name in ("train", _OTHER_NAME):
        module = sys.modules.get(name)
        if module is not None and _is_ours(getattr(module, "__file__", None)):
            return module
    if "train" not in sys.modules:
        visible = find_spec("train")
        if visible is not None and _is_ours(visible.origin):
            return import_module("train")
    spec = spec_from_file_location(
        _OTHER_NAME, _HOME, submodule_search_locations=[str(_HOME.parent)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{_HOME} does not exist; install recpack again", name="train")
    module = module_from_spec(spec)
    sys.modules[_OTHER_NAME] = module
    spec.loader.exec_module(module)
    return module


def _is_ours(file: str | None) -> bool:
    return file is not None and Path(file).resolve() == _HOME


sys.modules[__name__] = load()  # what ``import recpack.train`` gives
