"""Which processes get Ctrl-C, and the hangup of a terminal that is closed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def block_interrupts() -> Iterator[None]:
    """Processes and threads that start in this block ignore what a terminal sends to the whole
    process group: Ctrl-C and, when it is closed, the hangup. The coordinator stops them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
