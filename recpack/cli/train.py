"""``recpack-train``: the console script of the package ``train``, even where a ``train.py`` hides
it."""

from __future__ import annotations

from importlib import import_module
from typing import NoReturn

from recpack.train_package import train


def console() -> NoReturn:
    """Run it."""
    import_module(f"{train.__name__}.cli").console()
    raise AssertionError("the console script ends the process")
