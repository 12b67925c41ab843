"""``s3://bucket/key``, and where the companions of a ``.rec`` lie."""

from __future__ import annotations

import os
import posixpath
import re
from typing import NamedTuple

from recpack.errors import ConfigError

SCHEME = "s3://"
SIBLING = "_recpack"
"""The folder of companions. A SageMaker channel takes every object whose key begins with its
prefix, so that nothing but the ``.rec`` may lie there."""


class Location(NamedTuple):
    """An object, or a prefix of objects."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"

    def companion(self, suffix: str) -> Location:
        """A ``.rec``'s companion: ``s3://b/p/train/train.rec`` → ``s3://b/p/_recpack/train.idx``."""
        folder, name = posixpath.split(self.key)
        stem = name.removesuffix(".rec")
        return self._replace(key=posixpath.join(posixpath.dirname(folder), SIBLING, stem + suffix))


def is_s3(path: object) -> bool:
    """Whether a path given by a user is meant to lead to S3, also if ``parse_location`` will not
    take it (``S3://…``, or what pathlib makes of a URL): no file has such a name."""
    return isinstance(path, (str, os.PathLike)) and os.fspath(path)[:4].lower() == "s3:/"


def parse_location(url: str | os.PathLike[str]) -> Location:
    """``s3://bucket/key`` → bucket and key (which may be empty); ConfigError for anything else."""
    text = os.fspath(url)
    bucket, _, key = text.removeprefix(SCHEME).partition("/")
    if not text.startswith(SCHEME) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", bucket):
        raise ConfigError(f"{text}: not an S3 location; write s3://bucket/key")
    if len(key.encode()) > 1024:
        raise ConfigError(f"{text}: S3 keys have at most 1,024 bytes")
    return Location(bucket, key)
