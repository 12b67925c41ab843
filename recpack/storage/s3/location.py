"""``s3://bucket/key``, and the keys of a ``.rec``'s companions."""

from __future__ import annotations

import os
import posixpath
import re
from typing import NamedTuple

from recpack.errors import ConfigError

SCHEME = "s3://"
SIBLING = "_recpack"
"""The folder of companions. A SageMaker channel takes every object whose key begins with its
prefix, so only the ``.rec`` must be there."""
MAX_KEY = 1024
"""Bytes of a key."""
_URL = re.compile("([a-z][a-z0-9+.-]+):/", re.IGNORECASE)
"""Also as pathlib writes it, with one slash; one letter is a drive of Windows."""


LIST, INDEX, MANIFEST = ".lst", ".idx", ".json"
QUARANTINE = ".quarantine.tsv"
PROPERTY = ".property"
"""InsightFace's. On disks its name is ``property``, because InsightFace reads no other."""
COMPANIONS = (INDEX, LIST, QUARANTINE)
"""Suffixes of the files beside a ``.rec``, on disks too; the manifest comes after all of them."""


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
    """Whether a path from a user means S3, even when ``parse_location`` refuses it (``S3://…``, or
    ``s3:/…`` as pathlib writes it): no file has such a name. Raises ConfigError for any other URL:
    as a path it would be that of a local folder, ``gs:``."""
    if not isinstance(path, (str, os.PathLike)):
        return False
    text = os.fspath(path)
    if not is_s3_url(text) and (url := _URL.match(text)):
        raise ConfigError(
            f"{text}: recpack reads and writes no {url[1]}:// URLs; give a local path, or "
            "s3://bucket/key"
        )
    return is_s3_url(text)


def is_s3_url(text: str) -> bool:
    """``is_s3`` of a path from a file, where other URLs are only paths that lead nowhere."""
    return text[:4].lower() == "s3:/"


def parse_location(url: str | os.PathLike[str]) -> Location:
    """``s3://bucket/key`` → bucket and key (which can be empty); ConfigError for anything else."""
    text = os.fspath(url)
    bucket, _, key = text.removeprefix(SCHEME).partition("/")
    if not text.startswith(SCHEME) or not bucket:
        raise ConfigError(f"{text}: not an S3 location; write s3://bucket/key")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", bucket):
        raise ConfigError(
            f"{text}: {bucket!r} is no bucket's name: not an S3 location; write s3://bucket/key"
        )
    if len(key.encode()) > MAX_KEY:
        raise ConfigError(f"{text}: S3 keys have at most {MAX_KEY:,} bytes; choose a shorter key")
    return Location(bucket, key)
