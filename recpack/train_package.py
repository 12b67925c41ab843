"""The package ``train``, found beside recpack whatever the path says.

Scripts for SageMaker are called ``train.py`` by custom, and such a file hides the package from
``import train``. Then it is loaded under the name ``recpack.train``; the name ``train`` stays with
whoever has it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

_HOME = Path(__file__).resolve().parents[1] / "train" / "__init__.py"
_OTHER_NAME = "recpack.train"


def load() -> ModuleType:
    """The package; the same one each time."""
    for name in ("train", _OTHER_NAME):
        module = sys.modules.get(name)
        if module is not None and _is_ours(getattr(module, "__file__", None)):
            return module
    if "train" not in sys.modules:
        found = find_spec("train")
        if found is not None and _is_ours(found.origin):
            return import_module("train")
    spec = spec_from_file_location(
        _OTHER_NAME, _HOME, submodule_search_locations=[str(_HOME.parent)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{_HOME} is not there; install recpack again", name="train")
    module = module_from_spec(spec)
    sys.modules[_OTHER_NAME] = module
    spec.loader.exec_module(module)
    return module


def _is_ours(file: str | None) -> bool:
    return file is not None and Path(file).resolve() == _HOME


train = load()
