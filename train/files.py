"""Writes files so that no link is followed and none is left half-written."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import TrainError


def replace(path: str | Path, data: bytes) -> None:
    """Write a file under a random name and rename it. Raises TrainError when it can't."""
    unfinished = f"{path}.{os.urandom(8).hex()}"
    try:
        with open(unfinished, "xb") as file:
            try:
                file.write(data)
                file.flush()
                os.replace(unfinished, path)
            except BaseException:
                os.unlink(unfinished)
                raise
    except OSError as error:
        raise TrainError(f"{path}: can't be written: {error.strerror}") from error
