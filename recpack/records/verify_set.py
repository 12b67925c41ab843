"""``recpack verify`` of a set of shards: each against its entry in the manifest, then the sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial, reduce
from typing import NamedTuple

from recpack.data.samples import Samples
from recpack.errors import DataError
from recpack.formats.manifest import Manifest
from recpack.progress import Progress, Watch
from recpack.records.verdicts import worst
from recpack.records.verify_stored import Verification, verify_stored
from recpack.storage.checksums import parse_checksum
from recpack.storage.paths import PathOrUrl, base_name
from recpack.storage.s3.client import S3Client
from recpack.workers.backends import worker_count
from recpack.workers.run import run
from recpack.workers.settings import Workers

_TOLD = 10
"""Shards whose faults are told."""
_MOST = 1 << 10


class Shard(NamedTuple):
    """A shard to verify: its path, a manifest that tells of it alone (but ``num_samples`` is that
    of the set), and the rows of its records."""

    path: str
    manifest: Manifest
    rows: Samples | None


def shards_of(
    paths: Sequence[str], manifest: Manifest, rows: Samples | None, starts: Sequence[int]
) -> list[Shard]:
    """The shards of a set. ``rows`` are those of all records; ``starts``: the number of the first
    record of each, and of all."""
    parts: list[Samples | None] = [None] * len(paths)
    if rows is not None:
        cuts = [min(start, len(rows)) for start in starts[:-1]]
        stops = [*cuts[1:], len(rows)]
        parts = [rows.slice(start, stop) for start, stop in zip(cuts, stops, strict=True)]
    return [
        Shard(path, replace(manifest, rec=rec, shards=(rec,)), part)
        for path, rec, part in zip(paths, manifest.shards, parts, strict=True)
    ]


def verify_set(
    path: PathOrUrl,
    manifest: Manifest,
    verify: Callable[[Shard, Workers], Verification],
    shards: Sequence[Shard],
    settings: Workers,
    progress: Watch,
) -> Verification:
    """``verify`` of each shard: several at once, or where there are fewer shards than workers, one
    after the other by all workers. Raises DataError that tells of all shards at fault."""
    alone = Workers(jobs=1, backend="threading")
    several = len(shards) >= worker_count(settings.jobs, _MOST, settings.backend)
    work = partial(_outcome, verify=verify, settings=alone if several else settings)
    outer = settings if several else alone
    done, faults, records, size = list[Verification](), list[DataError](), 0, 0
    results = run(work, shards, len(shards), jobs=outer.jobs, backend=outer.backend)
    with closing(results):
        for result in results:
            if isinstance(result, DataError):
                faults.append(result)
                continue
            done.append(result)
            records, size = records + (result.records or 0), size + result.bytes
            if progress is not None:
                total = max(manifest.num_samples, records)
                progress(Progress("verify", records, total, size))
    if faults:
        lines = [str(fault) for fault in faults[:_TOLD]]
        if len(faults) > _TOLD:
            lines.append(f"and {len(faults) - _TOLD:,} more of {len(shards):,} shards are at fault")
        raise DataError("\n".join(lines), [one for fault in faults for one in fault.problems])
    read = done[0].records is not None
    _demand_sums(path, manifest, records if read else None)
    return replace(
        done[0],
        name=base_name(path),
        bytes=size,
        checksum=manifest.rec["checksum"],
        proof="etag" if any(one.proof == "etag" for one in done) else done[0].proof,
        records=records if read else None,
        shards=len(done),
        readers=worst({one.name: one.readers for one in done}),
    )


def verify_stored_shard(shard: Shard, settings: Workers, *, s3: S3Client) -> Verification:
    """``verify_stored`` for ``verify_set``."""
    del settings
    return verify_stored(shard.path, shard.manifest, s3)


def _outcome(
    shard: Shard, *, verify: Callable[[Shard, Workers], Verification], settings: Workers
) -> Verification | DataError:
    try:
        return verify(shard, settings)
    except DataError as error:
        return error


def _demand_sums(path: PathOrUrl, manifest: Manifest, records: int | None) -> None:
    """Raise DataError unless the manifest tells the sums of its own shards, and this number of
    records."""
    size = sum(shard["bytes"] or 0 for shard in manifest.shards)
    if manifest.rec["bytes"] not in (None, size):
        raise DataError(
            f"{path}: its shards have {size:,} bytes, the manifest {manifest.rec['bytes']:,}; it "
            "is damaged: pack again"
        )
    if (whole := manifest.rec["checksum"]) is not None:
        checksum, expected = parse_checksum(whole)
        parts = [
            (parse_checksum(shard["checksum"])[1], shard["bytes"] or 0)
            for shard in manifest.shards
            if shard["checksum"] is not None
        ]
        value = reduce(lambda before, part: checksum.combine(before, *part), parts, 0)
        if len(parts) == len(manifest.shards) and value != expected:
            raise DataError(
                f"{path}: its shards make {checksum.text(value)}, the manifest says {whole}; it is "
                "damaged: pack again"
            )
    if records not in (None, manifest.num_samples):
        raise DataError(
            f"{path}: its shards have {records:,} records, the manifest {manifest.num_samples:,}"
        )
