"""Workers on other machines: a dask or ray cluster that is there already, through joblib.

Nothing of an engine is made here. What a task needs is in its description, image bytes go from the
worker straight to the sink, and so a machine's boundary is none.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from recpack import __version__
from recpack.config import Options
from recpack.errors import ConfigError, RecpackError, SinkError
from recpack.parallel import DASK, RAY, backend_kind, run, workers
from recpack.sinks.base import Probe, Sink
from recpack.trees.base import Tree

_RETRIED = {"max_restarts": 3, "max_task_retries": 3}
"""What ray does not do unasked: go on when a worker dies, as dask does."""
_TURNS = 3
_TURN_SECONDS = 0.05
"""How often each worker is asked on average, and how long it keeps an answer back, so that the
others are asked too."""


@contextmanager
def connected(options: Options) -> Iterator[None]:
    """The cluster of ``options.backend``, for as long as the block lasts. Raises ConfigError when
    its package is not installed, RecpackError when it does not answer."""
    if options.backend == DASK:
        with _dask(options.scheduler):
            yield
    elif options.backend == RAY:
        with _ray(options.address):
            yield
    else:
        yield


@contextmanager
def _dask(scheduler: str | None) -> Iterator[None]:
    try:
        import joblib
        from distributed import Client, get_client

        from recpack.daskbackend import CarefulDaskBackend
    except ImportError as error:
        raise ConfigError(f"backend: dask needs pip install 'recpack[dask]' ({error})") from error
    try:
        client = get_client() if scheduler is None else Client(scheduler, set_as_default=False)
    except ValueError as error:
        raise ConfigError(
            "scheduler: none is given and this process has no dask Client; name the cluster's, "
            "like tcp://host:8786"
        ) from error
    except (OSError, TimeoutError) as error:
        raise RecpackError(f"scheduler: {scheduler} does not answer: {error}") from error
    try:
        with joblib.parallel_config(backend=CarefulDaskBackend(client=client)):
            yield
    finally:
        if scheduler is not None:
            client.close()


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    try:
        import joblib
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise ConfigError(f"backend: ray needs pip install 'recpack[ray]' ({error})") from error
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise RecpackError(f"address: {address} does not answer: {error}") from error
    try:
        register_ray()
        with joblib.parallel_config(backend=RAY, ray_remote_args=_RETRIED):
            yield
    except ray.exceptions.RayError as error:
        lost = f"the cluster lost a task ({type(error).__name__}); its workers died: run again"
        raise RecpackError(lost) from error
    finally:
        if ours:
            ray.shutdown()


def prove_reach(root: Tree, sinks: list[Sink], options: Options) -> None:
    """Prove that workers elsewhere have this recpack, and see the data set and the outputs as this
    process does, before any work begins: not every path means the same on every machine. Raises
    RecpackError naming the machine that does not."""
    if backend_kind(options.backend) not in (DASK, RAY):
        return
    probes = [probe for sink in sinks if (probe := sink.probe()) is not None]
    count = _TURNS * workers(options.jobs, 1 << 16, options.backend)
    ask = partial(_reaches, root=root.only(()), probes=probes)
    answers = run(ask, range(count), count, jobs=options.jobs, backend=options.backend)
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
