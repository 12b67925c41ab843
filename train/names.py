"""Names of jobs, models and endpoints: letters, digits and inner hyphens, at most 63."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterator, Sequence

from .errors import UsageError

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_SUFFIX = r"-\d{8}-\d{6}-[0-9a-f]{4}"
_LONGEST = 63
_ADDED = len("-20260101-000000-abcd")
_STEM = _LONGEST - _ADDED


def unique_name(text: str, longest: int = _LONGEST) -> str:
    """A valid name that begins like ``text`` and ends with the time and four random digits, of at
    most ``longest`` characters."""
    stem = _stem(text)[: longest - _ADDED].rstrip("-") or "recpack"
    return f"{stem}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def part_name(owner: str) -> str:
    """A name for a model or configuration of an endpoint or batch job; ``is_of`` knows it."""
    return unique_name(_own_stem(owner))


def is_of(name: str, owner: str) -> bool:
    """Whether a model or configuration has a name that ``deploy`` or ``transform`` gives those of
    an endpoint or batch job."""
    stem = re.escape(_own_stem(owner))
    return name == owner or re.fullmatch(stem + _SUFFIX, name) is not None


def shared_start(owner: str) -> str:
    """What the names of an endpoint and of all its parts begin with."""
    return owner.partition("-")[0][: _STEM - 7]


def name_faults(name: str, field: str = "job_name") -> Iterator[str]:
    """What is wrong with a name."""
    if not _NAME.fullmatch(name):
        yield f"{field}: {name!r}; use at most 63 letters, digits and inner hyphens"


def demand_name(name: str) -> str:
    """The name itself. Raises UsageError for an invalid one."""
    for fault in name_faults(name, "name"):
        raise UsageError(fault)
    return name


def _own_stem(owner: str) -> str:
    """Two owners never have the same, also where their names are too long to be repeated."""
    stem = _stem(owner)
    if stem == owner and len(stem) <= _STEM:
        return stem
    digits = hashlib.sha256(owner.encode()).hexdigest()[:6]
    return f"{stem[: _STEM - 7].rstrip('-')}-{digits}"


def _stem(text: str) -> str:
    return "-".join(re.findall(r"[a-zA-Z0-9]+", text))


_SHARD = re.compile(r"-(\d{5,})-of-(\d{5,})\.rec$")


def name_of_set(name: str) -> str:
    """The name of the set that a shard is of (``x-00000-of-00004.rec`` → ``x.rec``); any other
    file's own."""
    return _SHARD.sub(".rec", name)


def is_whole_set(names: Sequence[str]) -> bool:
    """Whether these names, in order, are all of the shards of one set."""
    found = [_SHARD.search(name) for name in names]
    return len(set(map(name_of_set, names))) == 1 and all(
        one is not None and (int(one[1]), int(one[2])) == (number, len(names))
        for number, one in enumerate(found)
    )
