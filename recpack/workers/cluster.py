"""Workers on other machines: an existing dask or ray cluster, through joblib.

This module only connects to it. A task's description has everything that the task needs, and image
bytes go directly from the worker to the sink, so workers can be on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recpack.errors import ConfigError, RecpackError
from recpack.workers.settings import DASK, RAY, Cluster

_RETRIED = {"max_restarts": 3, "max_task_retries": 3}
"""Ray must be told to continue when a worker dies; dask does it anyway."""


@contextmanager
def connect(settings: Cluster) -> Iterator[None]:
    """Connect to the cluster of ``settings.backend`` for this block. Raises RecpackError when
    its package is not installed or it does not answer."""
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
        raise RecpackError(f"backend: dask needs pip install 'recpack[dask]' ({error})") from error
    try:
        client = get_client() if scheduler is None else Client(scheduler, set_as_default=False)
    except ValueError as error:
        raise ConfigError(
            "scheduler: missing, and this process has no dask Client; give its address, "
            "like tcp://host:8786"
        ) from error
    except (OSError, TimeoutError) as error:
        raise RecpackError(
            f"scheduler: {scheduler} does not answer: {error}; check that it runs"
        ) from error
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
        raise RecpackError(f"backend: ray needs pip install 'recpack[ray]' ({error})") from error
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise RecpackError(
                f"address: {address} does not answer: {error}; check that it runs and, if its "
                "head was started where ~/.ray/auth_token is, set RAY_AUTH_MODE=token"
            ) from error
    try:
        register_ray()
        with joblib.parallel_config(backend=RAY, ray_remote_args=_RETRIED):
            yield
    except ray.exceptions.RayError as error:
        raise RecpackError(
            f"the cluster lost a task ({type(error).__name__}) because its workers died; run again"
        ) from error
    finally:
        if ours:
            ray.shutdown()
