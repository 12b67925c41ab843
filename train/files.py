"""Writes files so that no link is followed and none is left half-written; opens only files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO, Any

from .errors import TrainError


def open_file(path: str | Path, mode: str = "rb") -> IO[Any]:
    """Open a file. Raises OSError, TrainError for what is no file: a pipe or a device would never
    end."""

    def opener(path: str, flags: int) -> int:
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise TrainError(f"{path} is not a file; name a file")
        return descriptor

    return open(path, mode, opener=opener)


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
