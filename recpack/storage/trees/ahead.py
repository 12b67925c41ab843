"""Fetches pieces of a remote data set in advance, by threads, in the order of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

from recpack.storage.files import Closing

READS = 16
"""Requests in flight per worker."""
_AHEAD = 32 << 20
"""Bytes fetched in advance per worker; at least one piece."""

Piece = TypeVar("Piece")
Tag = TypeVar("Tag")


class Request(NamedTuple, Generic[Piece, Tag]):
    """``fetch`` gets a piece of about ``size`` bytes (None: there is nothing to get). ``tag`` comes
    back with the piece."""

    fetch: Callable[[], Piece] | None
    size: int
    tag: Tag


class Prefetcher(Closing):
    """Threads that fetch pieces; they start with the first request."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def in_order(
        self, requests: Iterable[Request[Piece, Tag]]
    ) -> Iterator[tuple[Future[Piece] | None, Tag]]:
        """The future of each request's piece (None without a ``fetch``), and its tag, in order."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(READS)
        ahead: deque[tuple[Future[Piece] | None, int, Tag]] = deque()
        held = 0
        for fetch, size, tag in requests:
            while ahead and (len(ahead) >= READS or held + size > _AHEAD):
                future, first_size, first_tag = ahead.popleft()
                held -= first_size
                yield future, first_tag
            ahead.append((None if fetch is None else self._pool.submit(fetch), size, tag))
            held += size
        for future, _, tag in ahead:
            yield future, tag
