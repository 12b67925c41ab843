"""Records that are in a sink → index, list and manifest beside them, the manifest last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from recpack.formats.manifest import Manifest, RecFile, describe
from recpack.formats.recordio import format_index
from recpack.packing.input import Packed
from recpack.problems import Problem, quarantine_lines
from recpack.sinks.base import INDEX, LIST, QUARANTINE


@dataclass(frozen=True)
class Result:
    """What a conversion made: its ``manifest``, and as ``problems`` everything met on the way, in
    order. A split has one result a part in ``parts``, and the first one's manifest."""

    manifest: Manifest
    problems: list[Problem]
    parts: list[Result] = field(default_factory=list)


def publish(packed: Packed) -> Result:
    """Make everything visible."""
    source, lengths, written = packed.source, packed.lengths, packed.written
    rec: RecFile = {
        "name": packed.sink.name,
        "bytes": written.size,
        "checksum": written.checksum.text(written.value),
    }
    made: list[Manifest] = []

    def manifest(etag: str | None) -> str:
        list_crc32 = source.rows.crc32
        described = describe(
            source.samples, source.classes, source.problems, source.shaping, rec, list_crc32
        )
        made.append(described.proven_by(etag))
        return made[0].to_json()

    offsets = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    companions: dict[str, Iterable[str]] = {
        INDEX: format_index(source.samples.indices, offsets),
        LIST: source.rows,
    }
    quarantined = quarantine_lines(source.problems)
    if quarantined:
        companions[QUARANTINE] = quarantined
    packed.sink.publish(written, companions, manifest)
    return Result(made[0], source.problems)
