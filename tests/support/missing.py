"""What a test needs and this machine lacks."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import pytest

PROMISED = bool(os.environ.get("CI")) and sys.prefix.endswith(".venv-test")
"""Whether this is ``make test`` in CI, where all is there and nothing is left out in silence."""


def missing(what: str, remedy: str) -> NoReturn:
    """Skip the test; in CI fail."""
    (pytest.fail if PROMISED else pytest.skip)(f"no {what} here: {remedy}")
