"""What the ``with`` block of every sink on S3 does."""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import Self

from recpack.errors import SinkError
from recpack.sinks.base import Destination
from recpack.storage.s3.location import Location


class S3Block(Destination):
    """Begins with ``_preflight`` and ends with ``_leave``; ``location`` is in each error."""

    location: Location

    @abstractmethod
    def _preflight(self) -> None:
        """Everything that can fail before a byte is sent."""

    @abstractmethod
    def _leave(self, error: BaseException | None) -> None:
        """Abort; if that fails too, add a note to ``error``."""

    def __enter__(self) -> Self:
        try:
            self._preflight()
        except BaseException as error:
            reported = self._sink_error(error) if isinstance(error, OSError) else error
            self._leave(reported)
            if reported is error:
                raise
            raise reported from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, trace
        self._leave(error)

    def _sink_error(self, error: OSError) -> SinkError:
        reported = SinkError(f"{self.location}: {error}")
        for note in getattr(error, "__notes__", ()):
            reported.add_note(note)
        return reported
