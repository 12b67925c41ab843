"""The state of a training after an epoch, so that a killed one goes on as if it had not been."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import SpecError
from ..files import replace

NAME = "checkpoint.pt"

State = dict[str, Any]
"""Tensors and plain values, by name."""


def save(folder: Path, state: State, settings: Mapping[str, str]) -> None:
    """Write the state of a training with these settings in the place of the last one."""
    os.makedirs(folder, exist_ok=True)
    file = io.BytesIO()
    torch.save({"settings": dict(settings), "state": state}, file)
    replace(folder / NAME, file.getvalue())


def load(folder: Path, settings: Mapping[str, str]) -> State | None:
    """The last state; None when there is none. Raises SpecError for that of a training with other
    settings, and for a damaged one."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        before, state = found["settings"], found["state"]
    except Exception as error:  # a damaged pickle can raise any
        raise SpecError(f"{path}: this is no checkpoint of recpack; delete it") from error
    for name in {**settings, **before}:
        if before.get(name) != settings.get(name):
            raise SpecError(
                f"{path}: it is of another training: {name} was {before.get(name)}, now "
                f"{settings.get(name)}; use another folder, or delete it"
            )
    return dict(state)
