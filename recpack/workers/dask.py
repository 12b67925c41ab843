"""joblib's backend for dask, with better error handling. joblib's own waits forever for a task that
is lost with its workers or with the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, NamedTuple

from joblib._dask import DaskDistributedBackend

from recpack.errors import RecpackError


class _Lost(NamedTuple):
    """Stands for the result of a lost task, with the reason."""

    error: BaseException


class CarefulDaskBackend(DaskDistributedBackend):  # type: ignore[misc]  # joblib has no types
    """Raises RecpackError for a lost task. Cancels the remaining tasks when a run is stopped."""

    def effective_n_jobs(self, n_jobs: int) -> int:
        # with one job joblib would run the tasks in this process
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
        if isinstance(out, CancelledError):  # the scheduler is gone
            out = _Lost(out)
        if isinstance(out, _Lost):
            raise RecpackError(
                f"the cluster lost a task ({type(out.error).__name__}: {out.error}) because its "
                "workers or its scheduler died; run again"
            ) from out.error
        return super().retrieve_result_callback(out)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        self.client.cancel(list(self._results))
        super().abort_everything(ensure_ready)
