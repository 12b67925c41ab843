"""Publish the records of a sink with index and list, the manifest last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from recpack.formats.manifest import Manifest, RecFile, describe
from recpack.formats.recordio import format_index
from recpack.packing.input import Packed
from recpack.problem_lines import quarantine_lines
from recpack.problems import Problem
from recpack.sources.base import Scope
from recpack.storage.s3.location import INDEX, LIST, QUARANTINE


@dataclass(frozen=True)
class Result:
    """The result of a conversion: its ``manifest`` and all ``problems``, in order. A split has one
    result for each part in ``parts``, and the manifest of the first. ``scope``: which part of a
    data set was read; None for a list."""

    manifest: Manifest
    problems: list[Problem]
    parts: list[Result] = field(default_factory=list)
    scope: Scope | None = None


def publish(packed: Packed) -> Result:
    """Publish a ``.rec`` and its companions."""
    source, lengths, written = packed.source, packed.lengths, packed.written
    rec: RecFile = {
        "name": packed.sink.name,
        "bytes": written.size,
        "checksum": written.checksum.text(written.value),
    }
    manifests: list[Manifest] = []

    def manifest_text(etag: str | None) -> str:
        manifest = describe(
            source.samples,
            source.classes,
            source.problems,
            source.shaping,
            rec,
            packed.rows.crc32,
            source.scope.for_manifest() if source.scope is not None else None,
        )
        manifests.append(manifest.with_etag(etag))
        return manifests[-1].to_json()

    offsets = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    companions: dict[str, Iterable[str]] = {
        INDEX: format_index(source.samples.indices, offsets),
        LIST: packed.rows,
    }
    quarantine = quarantine_lines(source.problems)
    if quarantine:
        companions[QUARANTINE] = quarantine
    packed.sink.publish(written, companions, manifest_text)
    return Result(manifests[-1], source.problems, scope=source.scope)
