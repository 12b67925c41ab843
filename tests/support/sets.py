"""Sets of shards, made file by file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import recpack


def shard_name(number: int, count: int, name: str = "x") -> str:
    return f"{name}-{number:05}-of-{count:05}.rec"


def image(number: int) -> bytes:
    """Bytes of a length of its own, that begin with the number."""
    return f"{number} ".encode() + bytes(37 * number % 901)


def write_set(folder: Path, *counts: int, name: str = "x") -> Path:
    """A set with so many records in each shard; returns its name. Record ``i`` of all has the
    scalar label ``i`` and ``image(i)``."""
    files: list[recpack.Manifest] = []
    total = 0
    for number, count in enumerate(counts):
        path = folder / shard_name(number, len(counts), name)
        with recpack.RecordWriter(path) as writer:
            for position in range(total, total + count):
                writer.write(image(position), label=position)
        total += count
        files.append(recpack.Manifest.read(path.with_suffix(".json")))
        path.with_suffix(".json").unlink()
    whole = replace(
        files[0],
        rec={
            "name": f"{name}.rec",
            "bytes": sum(one.rec["bytes"] or 0 for one in files),
            "checksum": None,
        },
        num_samples=total,
        shards=tuple(one.rec for one in files),
    )
    (folder / f"{name}.json").write_text(whole.to_json())
    return folder / f"{name}.rec"
