"""Whether a cluster's workers see the same files as this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from recpack._version import __version__
from recpack.errors import RecpackError, SinkError
from recpack.workers.backends import backend_kind, worker_count
from recpack.workers.run import run
from recpack.workers.settings import DASK, RAY, Workers

if TYPE_CHECKING:
    from recpack.sinks.base import Destination, Probe
    from recpack.storage.trees.base import Tree

_TURNS = 3
_TURN_SECONDS = 0.05
"""Questions per worker on average, and the delay of an answer: it makes the cluster ask the other
workers too."""


def prove_reach(root: Tree, sinks: Sequence[Destination], settings: Workers) -> None:
    """Check, before any work, that workers on other machines have this version of recpack and see
    the same data set and outputs: a path can mean another file on another machine. Raises
    RecpackError that names the machine."""
    if backend_kind(settings.backend) not in (DASK, RAY):
        return
    probes = [probe for sink in sinks if (probe := sink.probe()) is not None]
    count = _TURNS * worker_count(settings.jobs, 1 << 16, settings.backend)
    ask = partial(_ask_worker, root=root.only(()), probes=probes)
    answers = run(ask, range(count), count, jobs=settings.jobs, backend=settings.backend)
    with closing(answers):
        for host, version, fault in answers:
            if version != __version__:
                fault = f"it has recpack {version}, this process {__version__}; install the same"
            if fault:
                raise RecpackError(f"worker on {host}: {fault}")


def _ask_worker(number: int, *, root: Tree, probes: list[Probe]) -> tuple[str, str, str]:
    """The worker's machine, its version of recpack, and what it can't see; runs in a worker."""
    import socket

    del number
    time.sleep(_TURN_SECONDS)
    host = socket.gethostname()
    try:
        visible, reason = root.is_there(), ""
    except OSError as error:
        visible, reason = False, f" ({error.strerror or error})"
    fault = f"it does not see {root}{reason}; put the data on a shared disk, or on S3"
    try:
        for probe in probes:
            probe.demand()
    except SinkError as error:
        fault, visible = str(error), False
    return host, __version__, "" if visible else fault
