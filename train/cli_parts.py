"""What the commands of ``recpack-train`` have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from .errors import UsageError
from .service import Service

Command = Callable[[argparse.Namespace, Service], object]
"""Runs a command; its result is printed as JSON."""

Add = Callable[[str, Command, str, str], argparse.ArgumentParser]
"""Adds a command: its name, what runs it, its help, and the arguments of an example."""


def say(what: object) -> None:
    """Tell the user; standard output is for results."""
    print(what, file=sys.stderr)


def pairs(arguments: Sequence[str], option: str) -> dict[str, str]:
    """``name=value`` arguments of an option. Raises UsageError."""
    wrong = [argument for argument in arguments if "=" not in argument]
    if wrong:
        raise UsageError(f"{option}: {wrong[0]!r}; write name=value")
    found = (argument.partition("=") for argument in arguments)
    return {name: value for name, _, value in found}


def split(text: str | None) -> list[str]:
    """``a,b`` → its parts."""
    return [name for name in (text or "").split(",") if name]
