"""Sets of shards: files that are there already, under one manifest."""

from __future__ import annotations

import json
import zlib
from typing import Any


def one_manifest(parts: list[tuple[dict[str, Any], bytes]], name: str) -> bytes:
    """The manifest of the set ``name`` from those of its shards and their bytes, in order."""
    manifests = [manifest for manifest, _ in parts]
    crc, size, objects = 0, 0, dict.fromkeys(manifests[0]["objects"], 0)
    for manifest, data in parts:
        crc, size = zlib.crc32(data, crc), size + len(data)
        for class_name, count in manifest["objects"].items():
            objects[class_name] += count
    whole = manifests[0] | {
        "rec": {"name": name, "bytes": size, "checksum": f"crc32:{crc:08x}"},
        "num_samples": sum(one["num_samples"] for one in manifests),
        "label_width": max(one["label_width"] for one in manifests),
        "objects": objects,
        "shards": [one["rec"] for one in manifests],
    }
    return json.dumps(whole).encode()
