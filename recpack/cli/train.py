"""``recpack-train``: the console script of the package ``train``, even where a ``train.py`` hides
it."""

from __future__ import annotations

import sys
from typing import NoReturn


def console() -> NoReturn:
    """Run it."""
    try:  # as in recpack.cli.app
        from recpack.cli.process import run_process

        run_process("recpack-train", _main)
    except KeyboardInterrupt:
        sys.exit(130)


def _main() -> int:
    from importlib import import_module

    package = import_module("recpack.train").__name__
    return int(import_module(f"{package}.cli").main())
