"""Workers on other machines: a dask or ray cluster that is there already, through joblib.

Nothing of an engine is made here. What a task needs is in its description, image bytes go from the
worker straight to the sink, and so a machine's boundary is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recpack.errors import ConfigError, RecpackError
from recpack.workers.settings import DASK, RAY, Cluster

_RETRIED = {"max_restarts": 3, "max_task_retries": 3}
"""What ray does not do unasked: go on when a worker dies, as dask does."""


@contextmanager
def connect(settings: Cluster) -> Iterator[None]:
    """The cluster of ``settings.backend``, for as long as the block lasts. Raises ConfigError when
    its package is not installed, RecpackError when it does not answer."""
    if settings.backend == DASK:
        with _dask(settings.scheduler):
            yield
    elif settings.backend == RAY:
        with _ray(settings.address):
            yield
    else:
        yield


@contextmanager
def _dask(scheduler: str | None) -> Iterator[None]:
    try:
        import joblib
        from distributed import Client, get_client

        from recpack.workers.dask import CarefulDaskBackend
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
