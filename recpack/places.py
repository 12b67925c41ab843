"""Files by path or ``s3://…``: the companions of a ``.rec``, and texts."""

from __future__ import annotations

import os
from pathlib import Path

from recpack.s3.access import Access
from recpack.s3.location import is_s3, parse_location

Place = str | os.PathLike[str]


def companion(rec: Place, suffix: str) -> str:
    """Where a ``.rec``'s companion is: beside it, and on S3 under the sibling ``_recpack/``."""
    if is_s3(rec):
        return str(parse_location(rec).companion(suffix))
    return os.fspath(Path(rec).with_suffix(suffix))


def read_bytes(place: Place, access: Access) -> bytes:
    """A whole file; OSError, FileNotFoundError when there is none."""
    if is_s3(place):
        from recpack.s3.objects import read

        return read(access, parse_location(place))
    return Path(place).read_bytes()


def base_name(place: Place) -> str:
    """The name without its folder."""
    return os.fspath(place).rpartition("/")[2]
