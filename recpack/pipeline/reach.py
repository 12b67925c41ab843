"""Whether the workers of a cluster see what this process sees."""

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
    from recpack.sinks.base import Probe, Sink
    from recpack.storage.trees.base import Tree

_TURNS = 3
_TURN_SECONDS = 0.05
"""How often each worker is asked on average, and how long it keeps an answer back, so that the
others are asked too."""


def prove_reach(root: Tree, sinks: Sequence[Sink], settings: Workers) -> None:
    """Prove that workers elsewhere have this recpack, and see the data set and the outputs as this
    process does, before any work begins: not every path means the same on every machine. Raises
    RecpackError naming the machine that does not."""
    if backend_kind(settings.backend) not in (DASK, RAY):
        return
    probes = [probe for sink in sinks if (probe := sink.probe()) is not None]
    count = _TURNS * worker_count(settings.jobs, 1 << 16, settings.backend)
    ask = partial(_reaches, root=root.only(()), probes=probes)
    answers = run(ask, range(count), count, jobs=settings.jobs, backend=settings.backend)
    with closing(answers):
        for host, version, complaint in answers:
            if version != __version__:
                complaint = (
                    f"it has recpack {version}, this process {__version__}; install the same"
                )
            if complaint:
                raise RecpackError(f"worker on {host}: {complaint}")


def _reaches(number: int, *, root: Tree, probes: list[Probe]) -> tuple[str, str, str]:
    """Runs in a worker: its machine, its recpack, and what it can't see."""
    import socket

    del number
    time.sleep(_TURN_SECONDS)
    host = socket.gethostname()
    try:
        seen, reason = root.is_there(), ""
    except OSError as error:
        seen, reason = False, f" ({error.strerror or error})"
    complaint = f"it does not see {root}{reason}; put the data where all workers do, or on S3"
    try:
        for probe in probes:
            probe.demand()
    except SinkError as error:
        complaint, seen = str(error), False
    return host, __version__, "" if seen else complaint
