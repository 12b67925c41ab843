"""Pieces of a distant data set, fetched ahead by threads in the order they will be asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

from recpack.storage.files import Closing

READS = 16
"""Requests in flight in a worker."""
_AHEAD = 32 << 20
"""Bytes fetched ahead in a worker; one piece at least."""

Piece = TypeVar("Piece")
Tag = TypeVar("Tag")


class Wanted(NamedTuple, Generic[Piece, Tag]):
    """A piece of about ``size`` bytes that ``fetch`` gets, None where there is nothing to get, and
    what it is wanted for."""

    fetch: Callable[[], Piece] | None
    size: int
    tag: Tag


class Fetching(Closing):
    """A few threads, made when the first piece is wanted."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def in_order(
        self, wanted: Iterable[Wanted[Piece, Tag]]
    ) -> Iterator[tuple[Future[Piece] | None, Tag]]:
        """Each piece, on its way or there, with what it is wanted for."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(READS)
        ahead: deque[tuple[Future[Piece] | None, int, Tag]] = deque()
        held = 0
        for fetch, size, tag in wanted:
            while ahead and (len(ahead) >= READS or held + size > _AHEAD):
                future, done, first = ahead.popleft()
                held -= done
                yield future, first
            ahead.append((None if fetch is None else self._pool.submit(fetch), size, tag))
            held += size
        for future, _, tag in ahead:
            yield future, tag
