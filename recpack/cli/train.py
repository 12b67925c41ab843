"""``recpack-train``: the console script of the package ``train``, even where a ``train.py`` hides
it."""

from __future__ import annotations

from importlib import import_module
from typing import NoReturn

from recpack.cli.process import run_process


def console() -> NoReturn:
    """Run it."""
    run_process("recpack-train", _main)


def _main() -> int:
    from recpack.train_package import train

    return int(import_module(f"{train.__name__}.cli").main())
