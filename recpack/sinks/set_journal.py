"""A set of shards on a disk gets its names together, after all of it is complete.

A run writes everything into an unfinished folder beside the set, the manifest too. When all is
synced, the folder gets the name ``x.rec.recpack-shards``: from this moment the set will be
published, even if the run is killed. ``settle_set`` first removes the older set's manifest, so that
no manifest ever names a shard of another run, then gives each file its name, the new manifest last.
The next run on the set does it for one that was killed.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from shlex import quote

from recpack.errors import DataError, SinkError
from recpack.formats.manifest import Manifest
from recpack.storage.files import TEMPORARY, demand_replaceable, sync_folder
from recpack.storage.s3.location import INDEX, LIST, MANIFEST, QUARANTINE
from recpack.storage.shards import files_of_set, set_name, shard_names


def complete_folder(rec: Path) -> Path:
    """The folder of a set that is complete, but does not have its names yet."""
    return rec.with_name(f"{rec.name}{TEMPORARY}shards")


def named_shards(rec: Path) -> list[str]:
    """The names of the shards that the manifest of this set names; none without one."""
    try:
        return [str(one.name) for one in Manifest.read(rec.with_suffix(MANIFEST)).shards]
    except DataError:
        return []


def demand_no_set(rec: Path) -> None:
    """Raise SinkError when a set of shards has this name (a file would take its manifest away, and
    its shards would stay), or one of its shards."""
    if not os.path.lexists(rec) and (shards := named_shards(rec)):
        raise SinkError(
            f"{rec} is a set of {len(shards)} shards, which one file can't replace; choose another "
            f"name, or remove {rec.with_suffix(MANIFEST).name} and {shards[0]} to {shards[-1]}"
        )
    owner = set_name(rec.name)
    if owner is not None and rec.name in named_shards(rec.with_name(owner)):
        raise SinkError(f"{rec} is a shard of the set {owner}; choose another name")


def settle_set(rec: Path) -> None:
    """Publish a set that is complete, for the holder of the claim. Raises SinkError when it
    can't."""
    folder = complete_folder(rec)
    try:
        found = os.lstat(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SinkError(f"{folder}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise SinkError(f"{folder} is not of a run of yours; move it away, then run again")
    try:
        _publish(rec, folder)
    except (OSError, SinkError) as error:
        reason = str(error) if isinstance(error, SinkError) else f"{folder}: {error.strerror}"
        raise SinkError(
            f"{rec}: all shards are packed, but do not have their names yet ({reason}); remove the "
            f"cause, then run: recpack index {quote(os.fspath(rec))} --overwrite"
        ) from error


def _publish(rec: Path, folder: Path) -> None:
    waiting, manifest = set(os.listdir(folder)), rec.with_suffix(MANIFEST)
    if manifest.name in waiting:  # else all of it was published
        shards = [str(one.name) for one in Manifest.read(folder / manifest.name).shards]
        if shards != shard_names(rec.name, len(shards)):
            raise SinkError(f"{folder / manifest.name}: these are not the shards of {rec.name}")
        if demand_replaceable(manifest):
            os.unlink(manifest)
            sync_folder(rec.parent)
        quarantine = rec.with_suffix(QUARANTINE)
        if waiting.issuperset(shards):  # nothing has its name yet
            quarantine.unlink(missing_ok=True)
        kept = {os.path.splitext(name)[0] for name in shards}
        present = set(os.listdir(rec.parent))
        for name in sorted(files_of_set(rec.name, present)):
            if os.path.splitext(name)[0] not in kept:  # of an older set of another number
                os.unlink(rec.with_name(name))
        for name in shards:
            files = [str(Path(name).with_suffix(suffix)) for suffix in (".rec", INDEX, LIST)]
            if name in waiting:  # no reader may meet the older index beside the new shard
                for older in present.intersection(files[1:]):
                    os.unlink(rec.with_name(older))
            _rename(folder, rec.parent, [one for one in files if one in waiting])
        _rename(folder, rec.parent, list(waiting.intersection([quarantine.name])))
        sync_folder(rec.parent)
        _rename(folder, rec.parent, [manifest.name])
        sync_folder(rec.parent)
    shutil.rmtree(folder, ignore_errors=True)  # what a lost worker left there too
    with suppress(OSError):
        sync_folder(rec.parent)


def _rename(source: Path, target: Path, names: list[str]) -> None:
    for name in names:
        demand_replaceable(target / name)
        os.rename(source / name, target / name)
