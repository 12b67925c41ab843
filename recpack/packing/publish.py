"""Publish the records of a sink with index and list, the manifest last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from recpack.columns import Integers
from recpack.formats.manifest import Manifest, RecFile, describe
from recpack.formats.recordio import format_index
from recpack.packing.input import Packed
from recpack.packing.result import Result
from recpack.problem_lines import quarantine_lines
from recpack.storage.s3.location import INDEX, LIST, PROPERTY, QUARANTINE

_BLOCK = 1 << 16


def publish(packed: Packed) -> Result:
    """Publish a ``.rec`` and its companions."""
    source, written = packed.source, packed.written
    rec: RecFile = {
        "name": packed.sink.name,
        "bytes": written.size,
        "checksum": written.checksum.text(written.value),
    }
    manifests: list[Manifest] = []

    def manifest_text(etag: str | None) -> str:
        manifest = describe(
            source.samples.images(),
            source.classes,
            source.problems,
            source.shaping,
            rec,
            packed.rows.crc32 if packed.rows is not None else None,
            source.scope.for_manifest() if source.scope is not None else None,
        )
        manifests.append(manifest.with_etag(etag))
        return manifests[-1].to_json()

    companions: dict[str, Iterable[str]] = {INDEX: _index(source.samples.indices, packed.lengths)}
    if packed.rows is not None:
        companions[LIST] = packed.rows
    if source.property is not None:
        companions[PROPERTY] = [f"{source.property}\n"]
    quarantine = quarantine_lines(source.problems)
    if quarantine:
        companions[QUARANTINE] = quarantine
    packed.sink.publish(written, companions, manifest_text)
    return Result(manifests[-1], source.problems, scope=source.scope)


def _index(keys: Integers, lengths: npt.NDArray[np.uint32]) -> Iterator[str]:
    """The lines of the index. The offsets of all records would be much memory."""
    end = 0
    for start in range(0, len(keys), _BLOCK):
        block = slice(start, start + _BLOCK)
        ends = end + np.cumsum(lengths[block], dtype=np.int64)
        yield from format_index(keys[block], ends - lengths[block])
        end = int(ends[-1])
