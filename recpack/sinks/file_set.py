"""A set of shards on a local disk: all of it is complete before any file gets its name.

The workers write as in ``sinks.file``; see ``sinks.set_journal`` for the publication.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self

from recpack.errors import ConfigError, SinkError
from recpack.sinks.base import SegmentWriter, SetSink, SinkPlan, WrittenShard
from recpack.sinks.file_writer import (
    LONGEST_ASIDE,
    SLOT,
    FileProbe,
    FileSegmentWriter,
    complete,
)
from recpack.sinks.set_journal import complete_folder, named_shards, settle_set
from recpack.storage.files import (
    Claim,
    demand_replaceable,
    demand_room,
    lock,
    make_parents,
    sync_folder,
    temporary_path,
    write_synced,
)
from recpack.storage.journal import settle
from recpack.storage.paths import local_path
from recpack.storage.s3.location import MANIFEST, QUARANTINE
from recpack.storage.shards import files_of_set, shard_names

_SYNCS = 8
"""Shards that are synced to the disk at a time."""


class FileSetSink(SetSink):
    """``x-00000-of-00016.rec`` …, each with its ``.idx`` and ``.lst``, and ``x.json`` of the set
    ``x.rec``.

    The sink writes everything into an unfinished folder and syncs it; until it is complete, an
    older set is whole. A set and a file never replace each other: they would have the same
    manifest. With ``overwrite`` a set replaces an older one, with all shards that its manifest
    names. It holds two files open, whatever the number of shards.
    """

    def __init__(
        self, path: str | os.PathLike[str], shards: int, *, overwrite: bool = False
    ) -> None:
        # absolute, because workers can have another working directory
        self.path = Path(os.path.abspath(local_path(path)))
        self.name, self.shards = self.path.name, shards
        if self.path.suffix != ".rec":
            raise ConfigError(f"{self.path}: the output's name must end in .rec")
        if os.fsencode(self.name) != self.name.encode("utf-8", "replace"):
            raise SinkError(f"{self.path}: a manifest can't name it; choose a name in UTF-8")
        self.names = shard_names(self.name, shards)
        demand_room(temporary_path(self.path, "0" * 16) / self.names[0], LONGEST_ASIDE)
        self._overwrite = overwrite
        self._claim: Claim | None = None
        self._held = -1

    def __enter__(self) -> Self:
        try:
            make_parents(self.path)
            self._claim = Claim(self.path)
            settle_set(self.path)
            settle(self.path)
            self._claim.clear()
            self.demand_free()
            self._folder.mkdir()
            self._held = os.open(self._lengths, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            lock(self._held, self.path)  # while it is held, workers go on
        except BaseException as error:  # Ctrl-C too
            self.abort()
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise
        return self

    def writers(self, plan: SinkPlan) -> Sequence[SegmentWriter]:
        try:
            shutil.rmtree(self._folder)
            self._folder.mkdir()
            os.ftruncate(self._held, 0)  # what is read beyond its end is 0
            os.ftruncate(self._held, SLOT.size * plan.segments)
            partials = [self._folder / name for name in self.names]
            for partial in partials:
                partial.touch(exist_ok=False)
        except OSError as error:
            raise self._failed(error) from error
        lengths = os.fspath(self._lengths)
        return [
            FileSegmentWriter(os.fspath(partial), lengths, plan.ordered, first, lengths)
            for partial, first in zip(partials, plan.shards[:-1], strict=True)
        ]

    def probe(self) -> FileProbe:
        return FileProbe(os.fspath(self._lengths))

    def publish(
        self,
        shards: Sequence[WrittenShard],
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[Sequence[str | None]], str],
    ) -> None:
        folder = self._folder
        try:
            paths = [folder / name for name in self.names]
            with ThreadPoolExecutor(_SYNCS) as pool:
                deque(pool.map(self._complete, paths, shards), maxlen=0)
            for suffix, lines in companions.items():
                write_synced(folder / self.path.with_suffix(suffix).name, lines)
            text = manifest([None] * len(shards))
            write_synced(folder / self.path.with_suffix(MANIFEST).name, [text])
            sync_folder(folder)
            self.demand_free()
            os.rename(folder, complete_folder(self.path))
            sync_folder(self.path.parent)
        except OSError as error:
            if not complete_folder(self.path).is_dir():  # else it was renamed nevertheless
                raise self._failed(error) from error
        try:
            settle_set(self.path)
        except SinkError:  # perhaps the fault was short
            settle_set(self.path)
        except KeyboardInterrupt as error:
            with suppress(SinkError):
                settle_set(self.path)
                error.add_note(f"{self.path} was published before, and is whole")
            raise
        self.abort()

    def abort(self) -> None:
        if self._claim is None:
            return
        if self._held >= 0:  # first, because no more files can be opened where they run short
            held, self._held = self._held, -1
            with suppress(OSError):
                os.close(held)
        with suppress(SinkError):  # what is complete stays: the next run publishes it
            settle_set(self.path)
        self._claim.clear()
        self._claim.close()
        self._claim = None

    def _complete(self, partial: Path, shard: WrittenShard) -> None:
        output = os.open(partial, os.O_RDWR | os.O_NOFOLLOW)
        try:
            complete(output, partial, shard.written, self.path.with_name(partial.name))
        finally:
            os.close(output)
        for suffix, lines in shard.companions.items():
            write_synced(partial.with_suffix(suffix), lines)

    def demand_free(self) -> None:
        if os.path.lexists(self.path):
            raise SinkError(
                f"{self.path} is one file, and a set of shards can't replace it; choose another "
                f"name, or remove it and {self.path.with_suffix(MANIFEST).name}"
            )
        folder = self.path.parent
        names = set(os.listdir(folder)) if folder.exists() else set()
        own = {self.path.with_suffix(suffix).name for suffix in (QUARANTINE, MANIFEST)}
        files = sorted(files_of_set(self.name, names), key=lambda one: (one[-4:] != ".rec", one))
        present = [*files, *sorted(own & names)]
        if present and not self._overwrite:
            raise SinkError(
                f"{self.path.with_name(present[0])} exists; choose another name or replace it with "
                "--overwrite"
            )
        known = {os.path.splitext(one)[0] for one in (*self.names, *named_shards(self.path))}
        for name in present:
            stem, ending = os.path.splitext(name)
            if name not in own and (ending == MANIFEST or stem not in known):
                raise SinkError(
                    f"{self.path.with_name(name)} is a shard of another set of this name, which no "
                    "manifest names; move it away, or choose another name"
                )
            demand_replaceable(self.path.with_name(name))

    @property
    def _folder(self) -> Path:
        assert self._claim is not None
        return self._claim.temporary()

    @property
    def _lengths(self) -> Path:
        assert self._claim is not None
        return self._claim.temporary("-lengths")

    def _failed(self, error: OSError) -> SinkError:
        return SinkError(f"{self.path}: can't be written: {error.strerror}")
