"""SageMaker's Pipe mode: the records of a channel come through a FIFO, another one each epoch.

Source: AWS developer guide, "How Amazon SageMaker AI Provides Training Information": the FIFO
``<channel>_<number>`` of the next epoch may not be there yet, and a reader may close one early.
"""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import TrainError

PATIENCE = 300.0
"""Seconds in which the FIFO of an epoch must come, and its first bytes."""
_LOOK = 0.1


class Stopped(TrainError):
    """The training was told to stop while it waited for data."""


class Pipes:
    """The streams of a channel, in a folder. ``stopped`` ends the waiting."""

    def __init__(
        self,
        folder: Path,
        channel: str,
        stopped: Callable[[], bool] = lambda: False,
        patience: float = PATIENCE,
    ) -> None:
        self._folder, self._channel = folder, channel
        self._stopped, self._patience = stopped, patience
        self._next = 0

    def __call__(self, epoch: int) -> BinaryIO:
        """The next stream. The epoch is not its number: a training that goes on after a pause
        begins again with the FIFO 0. Raises TrainError when none comes, Stopped."""
        del epoch
        path = self._folder / f"{self._channel}_{self._next}"
        self._next += 1
        end = time.monotonic() + self._patience
        while not path.exists():
            self._wait(path, "did not come", end)
        # without O_NONBLOCK it would wait for the writer for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                raise TrainError(f"{path} is no FIFO; is this channel in File mode?")
            ready = select.poll()
            ready.register(descriptor, select.POLLIN)
            while not ready.poll(_LOOK * 1000):
                self._wait(path, "sent nothing", end)
            os.set_blocking(descriptor, True)
            return open(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    def _wait(self, path: Path, what: str, end: float) -> None:
        if self._stopped():
            raise Stopped(f"{path}: told to stop")
        if time.monotonic() > end:
            raise TrainError(f"{path}: it {what} in {self._patience:.0f} seconds")
        time.sleep(_LOOK / 10)
