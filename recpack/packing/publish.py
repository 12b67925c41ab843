"""Publish the records of a sink with index and list, the manifest last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from recpack.columns import Integers
from recpack.formats.lst import CheckedLines
from recpack.formats.manifest import Manifest, RecFile, Source, describe
from recpack.formats.recordio import format_index
from recpack.packing.input import Packed
from recpack.packing.result import Result
from recpack.problem_lines import quarantine_lines
from recpack.problem_list import Problems
from recpack.sinks.base import SetSink, Sink, Written, WrittenShard
from recpack.storage.checksums import Checksum
from recpack.storage.s3.location import INDEX, LIST, PROPERTY, QUARANTINE

_BLOCK = 1 << 16


def publish(packed: Packed) -> Result:
    """Publish a ``.rec`` and its companions, or a set of shards."""
    source, sink = packed.source, packed.sink
    done = [one.written for one in packed.shards]
    whole = Written(done[0].checksum, [segment for written in done for segment in written.segments])
    manifests: list[Manifest] = []

    def manifest_text(*etags: str | None) -> str:
        manifest = describe(
            source.samples.images(),
            source.classes,
            source.problems,
            source.shaping,
            _rec_file(sink.name, whole),
            _list_crc32([one.rows for one in packed.shards if one.rows is not None]),
            source.scope.for_manifest() if source.scope is not None else Source(),
        )
        if isinstance(sink, SetSink):
            named = zip(map(_rec_file, sink.names, done), etags, strict=True)
            shards = tuple(replace(one, etag=etag) for one, etag in named)
            manifests.append(replace(manifest, shards=shards))
        else:
            manifests.append(manifest.with_etag(*etags))
        return manifests[-1].to_json()

    quarantine = quarantine_lines(source.problems)
    others: dict[str, Iterable[str]] = {QUARANTINE: quarantine} if quarantine else {}
    if source.property is not None:
        others[PROPERTY] = [f"{source.property}\n"]
    companions: list[dict[str, Iterable[str]]] = [
        {INDEX: _index(one.keys, one.lengths)} | ({} if one.rows is None else {LIST: one.rows})
        for one in packed.shards
    ]
    if isinstance(sink, SetSink):
        shards = list(map(WrittenShard, done, companions))
        sink.publish(shards, others, lambda etags: manifest_text(*etags))
    else:
        assert isinstance(sink, Sink)
        sink.publish(done[0], companions[0] | others, manifest_text)
    return Result(manifests[-1], Problems(source.problems), scope=source.scope)


def _list_crc32(lists: Sequence[CheckedLines]) -> int | None:
    """The CRC-32 of the lists, one after the other; None without one."""
    value = lists[0].crc32 if lists else None
    for one in lists[1:]:
        assert value is not None
        assert one.crc32 is not None
        value = Checksum.CRC32.combine(value, one.crc32, one.size)
    return value


def _rec_file(name: str, written: Written) -> RecFile:
    return RecFile(name, written.size, written.checksum.text(written.value))


def _index(keys: Integers, lengths: npt.NDArray[np.uint32]) -> Iterator[str]:
    """The lines of the index. The offsets of all records would be much memory."""
    end = 0
    for start in range(0, len(keys), _BLOCK):
        block = slice(start, start + _BLOCK)
        ends = end + np.cumsum(lengths[block], dtype=np.int64)
        yield from format_index(keys[block], ends - lengths[block])
        end = int(ends[-1])
