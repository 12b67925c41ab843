"""The names of the shards of a set: ``x-00000-of-00016.rec`` … of the set ``x.rec``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

MOST_SHARDS = 99_999
"""What five digits can count."""
_ENDINGS = (".rec", ".idx", ".lst", ".json")


def shard_name(name: str, number: int, count: int) -> str:
    """The path, key or name of a shard of the set ``name``."""
    return f"{name.removesuffix('.rec')}-{number:05d}-of-{count:05d}.rec"


def shard_names(name: str, count: int) -> list[str]:
    """The names of all shards, in order."""
    return [shard_name(name, number, count) for number in range(count)]


def set_name(name: str | os.PathLike[str]) -> str | None:
    """The path, key or name of the set to which a shard belongs by its name; None for other
    names."""
    found = re.fullmatch(r"(.+)-\d{5}-of-\d{5}\.rec", os.fspath(name), re.DOTALL)
    return f"{found[1]}.rec" if found else None


def files_of_set(name: str, present: Iterable[str]) -> Iterator[str]:
    """Those of the ``present`` names that shards of the set ``name`` have, in any number of shards,
    or what lies beside them."""
    for one in present:
        stem, ending = os.path.splitext(one)
        if ending in _ENDINGS and set_name(f"{stem}.rec") == name:
            yield one
