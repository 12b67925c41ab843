"""joblib's backend for dask, with its ends tied: there, a task that is lost with its workers, or
with the scheduler, is waited for for ever."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, NamedTuple

from joblib._dask import DaskDistributedBackend

from recpack.errors import RecpackError


class _Lost(NamedTuple):
    """In place of a result: why there is none."""

    error: BaseException


class CarefulDaskBackend(DaskDistributedBackend):  # type: ignore[misc]  # joblib has no types
    """Raises what became of a lost task; cancels what is left when a run is given up."""

    def effective_n_jobs(self, n_jobs: int) -> int:
        # of one job joblib thinks that this process does it
        return max(int(super().effective_n_jobs(n_jobs)), 2)

    def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> Future[Any]:
        future: Future[Any] = super().submit(func, callback)

        def pass_on(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None and callback is not None:
                callback(_Lost(error))

        future.add_done_callback(pass_on)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        if isinstance(out, CancelledError):  # the scheduler has gone
            out = _Lost(out)
        if isinstance(out, _Lost):
            raise RecpackError(
                f"the cluster lost a task ({type(out.error).__name__}: {out.error}); its workers "
                "died, or its scheduler did: run again"
            ) from out.error
        return super().retrieve_result_callback(out)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        self.client.cancel(list(self._results))
        super().abort_everything(ensure_ready)
