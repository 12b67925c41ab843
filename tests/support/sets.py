"""Sets of shards, made file by file."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import recpack


def shard_name(number: int, count: int, name: str = "x") -> str:
    return f"{name}-{number:05}-of-{count:05}.rec"


def image(number: int) -> bytes:
    """Bytes of a length of its own, that begin with the number."""
    return f"{number} ".encode() + bytes(37 * number % 901)


def write_set(folder: Path, *counts: int, name: str = "x") -> Path:
    """A set with so many records in each shard; returns its name. Record ``i`` of all has the
    scalar label ``i`` and ``image(i)``."""
    parts = []
    total = 0
    for number, count in enumerate(counts):
        path = folder / shard_name(number, len(counts), name)
        with recpack.RecordWriter(path) as writer:
            for position in range(total, total + count):
                writer.write(image(position), label=position)
        total += count
        manifest = path.with_suffix(".json")
        parts.append((json.loads(manifest.read_bytes()), path.read_bytes()))
        manifest.unlink()
    (folder / f"{name}.json").write_bytes(one_manifest(parts, f"{name}.rec"))
    return folder / f"{name}.rec"


def one_manifest(parts: list[tuple[dict[str, Any], bytes]], name: str) -> bytes:
    """The manifest of the set ``name`` from those of its shards and their bytes, in order."""
    manifests = [manifest for manifest, _ in parts]
    crc, size, objects = 0, 0, Counter[str]()
    for manifest, data in parts:
        crc, size = zlib.crc32(data, crc), size + len(data)
        objects.update(manifest["objects"])
    whole = manifests[0] | {
        "rec": {"name": name, "bytes": size, "checksum": f"crc32:{crc:08x}"},
        "num_samples": sum(one["num_samples"] for one in manifests),
        "label_width": max(one["label_width"] for one in manifests),
        "objects": objects,
        "shards": [one["rec"] for one in manifests],
    }
    return json.dumps(whole).encode()
