"""Values of options: NumPy's numbers and text → Python's own."""

from __future__ import annotations

import re
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def plain(value: Any) -> Any:
    """A number of NumPy → int, float or bool, which can be sent; anything else as it is. A float32
    becomes the decimal that it shows."""
    if isinstance(value, (str, bool)) or type(value) is float:
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(str(value))
    return bool(value) if type(value).__name__ in ("bool", "bool_") else value


def make_plain(options: Any) -> None:
    """``plain`` for all fields of a frozen dataclass that is being made."""
    for one in fields(options):
        object.__setattr__(options, one.name, plain(getattr(options, one.name)))


def whole(text: str) -> int:
    """Digits → int. Raises ValueError for what only Python takes for a number, like ``1_0``."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not an integer")
    return int(text)


def number(text: str) -> float:
    """A decimal → float. Raises ValueError."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)
