"""A ``.rec`` on a local disk with its companions: locked, renamed when complete, else removed.

Every worker writes its own segments at their offsets (``sinks.file_writer``).
"""

from __future__ import annotations

import fcntl
import glob
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from recpack.errors import SinkError
from recpack.sinks.base import COMPANIONS, MANIFEST, Sink, SinkPlan, Written
from recpack.sinks.file_writer import (
    ASIDE,
    SLOT,
    TOKEN,
    FileProbe,
    FileSegmentWriter,
    aside_name,
    copy_into,
)
from recpack.storage.files import PARTIAL, leads_to, lock, sync_folder, write_synced

LENGTHS = ".recpack-lengths"


class FileSink(Sink):
    """``train.rec`` with ``train.idx``, ``train.lst`` and ``train.json`` beside it.

    The sink writes everything under temporary names, syncs it, and renames it, the manifest last.
    The lock on the temporary ``.rec`` shows a second run that this one is alive. Without a lock the
    file is left from a killed run, and the next run removes it. ``spare`` names companions that
    this sink must not write (a list that is packed and already has the companion's path).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        spare: Collection[str] = (),
    ) -> None:
        self.path = Path(os.path.abspath(path))  # workers can have another working directory
        self.name = self.path.name
        if self.path.suffix != ".rec":
            raise SinkError(f"{self.path}: the output's name must end in .rec")
        self._overwrite = overwrite
        self._suffixes = [suffix for suffix in COMPANIONS if suffix not in spare]
        self._lock = -1
        self._token = os.urandom(TOKEN)

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            killed_before = self._take_lock()
            self._remove_unfinished(renames_begun=not killed_before)
            os.pwrite(self._lock, self._token, 0)
        except BaseException as error:  # Ctrl-C too
            self.abort()
            if isinstance(error, OSError):
                raise SinkError(f"{self.path}: can't be written: {error.strerror}") from error
            raise
        return self

    def open(self, plan: SinkPlan) -> FileSegmentWriter:
        lengths = self._temporary(".rec", LENGTHS)
        try:
            os.ftruncate(self._lock, 0)
            lengths.unlink(missing_ok=True)
            with lengths.open("xb") as file:
                file.write(self._token)
                file.truncate(TOKEN + SLOT.size * plan.segments)
        except OSError as error:
            raise SinkError(f"{self.path}: can't be written: {error.strerror}") from error
        return FileSegmentWriter(
            os.fspath(self._temporary(".rec")), os.fspath(lengths), self._token, plan.ordered
        )

    def probe(self) -> FileProbe:
        return FileProbe(os.fspath(self._temporary(".rec")), self._token)

    def publish(
        self,
        written: Written,
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[str | None], str],
    ) -> None:
        try:
            self._gather(written)
            actual, size = os.fstat(self._lock).st_size, written.size
            if actual != size:
                raise SinkError(f"{self.path}: {actual:,} bytes arrived, {size:,} were packed")
            os.fsync(self._lock)
            present = [suffix for suffix in self._suffixes if suffix in companions]
            for suffix in present:
                write_synced(self._temporary(suffix), companions[suffix])
            write_synced(self._temporary(MANIFEST), [manifest(None)])
            # without its manifest an older output does not look finished during the renames
            self.path.with_suffix(MANIFEST).unlink(missing_ok=True)
            for suffix in self._suffixes:
                if suffix not in present:
                    self.path.with_suffix(suffix).unlink(missing_ok=True)
            for suffix in (".rec", *present, MANIFEST):
                self._temporary(suffix).rename(self.path.with_suffix(suffix))
            sync_folder(self.path.parent)
        except OSError as error:
            raise SinkError(f"{self.path}: can't be written: {error.strerror}") from error
        self.abort()

    def abort(self) -> None:
        if self._lock >= 0:
            self._remove_leftovers()
            os.close(self._lock)
            self._lock = -1

    def _gather(self, written: Written) -> None:
        """Copy segments that are in files of their own to their offsets."""
        start = 0
        for segment in written.segments:
            if written.receipts.get(segment.number) == ASIDE:
                aside = aside_name(self._temporary(".rec"), segment.number)
                with open(aside, "rb") as file:
                    copy_into(file.fileno(), self._lock, start, segment.size)
                os.unlink(aside)
            start += segment.size

    def _temporary(self, suffix: str, ending: str = PARTIAL) -> Path:
        return self.path.with_name(self.path.with_suffix(suffix).name + ending)

    def _take_lock(self) -> bool:
        """Create and lock a new temporary ``.rec``; returns whether there was one of a run that was
        killed before it began to rename."""
        partial = self._temporary(".rec")
        killed_before = False
        while True:
            try:
                own = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                self._remove_dead(partial)
                killed_before = True
                continue
            fcntl.flock(own, fcntl.LOCK_EX)  # waits while another run tests our lock
            if leads_to(partial, own):
                self._lock = own
                return killed_before
            os.close(own)

    def _remove_dead(self, partial: Path) -> None:
        """Remove the temporary file of a killed run; not reuse it, because workers of that run
        could still write into it."""
        with suppress(FileNotFoundError):
            dead = os.open(partial, os.O_RDWR)
            try:
                lock(dead, self.path)
                if leads_to(partial, dead):
                    partial.unlink()
            finally:
                os.close(dead)

    def _remove_unfinished(self, *, renames_begun: bool) -> None:
        """Remove an unfinished output. SinkError for a finished one, without ``overwrite``."""
        names = [self.path.with_suffix(suffix) for suffix in (".rec", *self._suffixes, MANIFEST)]
        half_published = (
            renames_begun
            and self._temporary(MANIFEST).exists()
            and not self.path.with_suffix(MANIFEST).exists()
        )
        present = [name for name in names if name.exists()]
        if present and half_published:
            # a run was killed between its renames: these files are an incomplete output
            for name in present:
                name.unlink()
        elif present and not self._overwrite:
            raise SinkError(
                f"{present[0]} exists; choose another name or replace it with --overwrite"
            )
        self._remove_leftovers(keep_lock=True)

    def _remove_leftovers(self, *, keep_lock: bool = False) -> None:
        for suffix in (*COMPANIONS, MANIFEST):
            self._temporary(suffix).unlink(missing_ok=True)
        self._temporary(".rec", LENGTHS).unlink(missing_ok=True)
        partial = self._temporary(".rec")
        for aside in partial.parent.glob(glob.escape(aside_name(partial.name, "")) + "*"):
            aside.unlink(missing_ok=True)
        if not keep_lock and leads_to(partial, self._lock):
            partial.unlink()
