"""A ``.rec`` on a local disk with its companions: locked, renamed when complete, else removed.

Every worker writes its own segments at their offsets (``sinks.file_writer``).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Self

from recpack.arguments import demand
from recpack.display import brief
from recpack.errors import ConfigError, SinkError
from recpack.sinks.base import Sink, SinkPlan, Written
from recpack.sinks.file_writer import (
    LONGEST_ASIDE,
    SLOT,
    FileProbe,
    FileSegmentWriter,
    complete,
)
from recpack.sinks.set_journal import demand_no_set, settle_set
from recpack.storage.files import (
    LONGEST_ENDING,
    Claim,
    demand_replaceable,
    demand_room,
    leads_to,
    make_parents,
    write_synced,
)
from recpack.storage.journal import Journal, final_path, settle, write_journal
from recpack.storage.paths import PathOrUrl, local_path
from recpack.storage.s3.location import COMPANIONS, MANIFEST


class FileSink(Sink):
    """``train.rec`` with ``train.idx``, ``train.lst`` and ``train.json`` beside it.

    The sink writes everything under unfinished names and syncs it. It is published from the moment
    when the ``.rec`` is renamed; until then an older output is whole. A journal tells readers where
    the companions are until they are renamed too, the manifest last, and the next run ends what a
    killed one began. A link in the output's place is replaced, and its target stays as it is.
    ``spare`` names companions that this sink must not write (a list that is packed and already has
    the companion's path).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        spare: Collection[str] = (),
    ) -> None:
        demand("path", path, PathOrUrl)
        # absolute, because workers can have another working directory
        self.path = Path(os.path.abspath(local_path(path)))
        self.name = self.path.name
        if self.path.suffix != ".rec":
            raise ConfigError(f"{self.path}: the output's name must end in .rec")
        demand_room(self.path, LONGEST_ENDING + LONGEST_ASIDE)
        self._overwrite = overwrite
        self._usual = [suffix for suffix in COMPANIONS if suffix not in spare]
        self._claim: Claim | None = None
        self._output = -1

    def __repr__(self) -> str:
        return brief(self, path=str(self.path))

    def __enter__(self) -> Self:
        try:
            make_parents(self.path)
            self._claim = Claim(self.path)
            settle_set(self.path)
            settle(self.path)
            self._claim.clear()
            self.demand_free()
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            self._output = os.open(self._claim.temporary(), flags, 0o666)
            fcntl.flock(self._output, fcntl.LOCK_EX)  # while it is held, workers go on
        except BaseException as error:  # Ctrl-C too
            self.abort()
            if isinstance(error, OSError):
                raise SinkError(f"{self.path}: can't be written: {error.strerror}") from error
            raise
        return self

    def open(self, plan: SinkPlan) -> FileSegmentWriter:
        output, lengths = self._temporary(), self._temporary("-lengths")
        try:
            os.ftruncate(self._output, 0)
            lengths.unlink(missing_ok=True)
            with lengths.open("xb") as file:
                file.truncate(SLOT.size * plan.segments)
        except OSError as error:
            raise SinkError(f"{self.path}: can't be written: {error.strerror}") from error
        return FileSegmentWriter(os.fspath(output), os.fspath(lengths), plan.ordered)

    def demand_free(self) -> None:
        demand_no_set(self.path)
        present = self._present()
        if present and not self._overwrite:
            raise SinkError(
                f"{present[0]} exists; choose another name or replace it with --overwrite"
            )

    def probe(self) -> FileProbe:
        return FileProbe(os.fspath(self._temporary()))

    def publish(
        self,
        written: Written,
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[str | None], str],
    ) -> None:
        try:
            try:
                journal = self._write(written, companions, manifest)
                os.rename(self._temporary(), self.path)
            except OSError as error:
                if not self._is_published():  # else it was renamed nevertheless
                    raise SinkError(f"{self.path}: can't be written: {error.strerror}") from error
            try:
                settle(self.path, journal)
            except SinkError:  # perhaps the fault was short
                settle(self.path, journal)
            self.abort()
        except KeyboardInterrupt as error:
            with suppress(SinkError):
                if self._output < 0 or self._is_published():
                    error.add_note(f"{self.path} was published before, and is whole")
            raise

    def abort(self) -> None:
        if self._claim is None:
            return
        if self._output >= 0:  # first, because no more files can be opened where they run short
            output, self._output = self._output, -1
            with suppress(OSError):  # it was synced, or is removed
                os.close(output)
        with suppress(SinkError):  # else readers need what is unfinished: they go by the journal
            settle(self.path)
            self._claim.clear()
        self._claim.close()
        self._claim = None

    def _is_published(self) -> bool:
        """Whether the ``.rec`` has its name. Raises SinkError when that is unknown."""
        try:
            return leads_to(self.path, self._output)
        except OSError as error:
            raise SinkError(
                f"{self.path}: it can't be read ({error.strerror}), but perhaps it is published "
                f"and whole; look with: recpack verify {quote(os.fspath(self.path))}"
            ) from error

    def _write(
        self,
        written: Written,
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[str | None], str],
    ) -> Journal:
        """Everything before the ``.rec`` is renamed."""
        assert self._claim is not None
        complete(self._output, self._temporary(), written, self.path)
        present = [suffix for suffix in self._suffixes if suffix in companions]
        for suffix in present:
            write_synced(self._temporary(suffix), companions[suffix])
        write_synced(self._temporary(MANIFEST), [manifest(None)])
        absent = [suffix for suffix in self._suffixes if suffix not in present]
        self._present()
        return write_journal(self._claim, (*present, MANIFEST), absent)

    @property
    def _suffixes(self) -> list[str]:
        return [*self._usual, *self.extra]

    def _temporary(self, suffix: str = "") -> Path:
        assert self._claim is not None
        return self._claim.temporary(suffix)

    def _present(self) -> list[Path]:
        """The files that would be replaced. SinkError for what can't be."""
        names = [final_path(self.path, one) for one in (".rec", *self._suffixes, MANIFEST)]
        return [name for name in names if demand_replaceable(name)]
