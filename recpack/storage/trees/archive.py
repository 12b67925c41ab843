"""Tar and zip archives: positioned reads, and an index of the files in them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import weakref
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from recpack.columns import StringColumn
from recpack.errors import DataError
from recpack.storage.files import pread
from recpack.storage.kinds import what_is
from recpack.storage.paths import base_name
from recpack.storage.regular import open_regular
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3, parse_location
from recpack.storage.trees import tar_index, zip_index
from recpack.storage.trees.index import BOMB, PLAIN, Members

_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip -k"),
    b"BZh": ("bzip2", "bunzip2 -k"),
    b"\xfd7zXZ\0": ("xz", "unxz -k"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
_INDEX_VERSION = 2
_WORTH_KEEPING = 2000
"""Files; making the index of a smaller local archive again takes almost no time."""
_NEAR = 4 << 20
"""Bytes; up to this distance, reading on from S3 is faster than a new request."""
_STEP = 1 << 20


class Source(ABC):
    """An archive open for positioned reads, for all threads of a process. ``name`` and
    ``size`` are the archive's."""

    name: str
    size: int

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes at an offset; fewer only when the file has become shorter."""

    @abstractmethod
    def read_into(self, offset: int, room: memoryview) -> int:
        """Fill ``room`` from an offset; return the number of bytes read."""

    def changed(self) -> bool:
        """Whether the file is another one by now. (On S3 the next read finds out.)"""
        return False


@dataclass(frozen=True)
class Archive:
    """An archive by path or ``s3://…``, with its ``size`` and ``version`` (its inode
    and the time of its last change, or its ETag) when it was found. Picklable."""

    path: str
    s3: S3Client
    size: int
    version: str

    def source(self) -> Source:
        """This process's access to its bytes. Raises OSError when the archive has changed."""
        return _source(self)

    def members(self) -> Members:
        """The files in it, from the cache or by a pass over its headers, whose result goes to the
        cache. Raises DataError for a damaged, compressed or other file."""
        cache = _index_file(self)
        found = _load(cache, self.size)
        if found is None:
            try:
                found = self._read_members()
            except DataError as error:
                raise DataError(f"{self.path}: {error}") from error
            except OSError as error:
                raise DataError(f"{self.path}: {error.strerror or error}") from error
            if is_s3(self.path) or len(found.names) > _WORTH_KEEPING:
                _save(cache, found)
        return found

    def _read_members(self) -> Members:
        source = self.source()
        first = source.read(0, min(512, self.size))
        for magic, (kind, remedy) in _COMPRESSED.items():
            if first.startswith(magic):
                raise DataError(
                    f"it is compressed ({kind}), so its files can't be read separately; run "
                    f"{remedy} first and give the result"
                )
        is_zip = first.startswith(zip_index.SIGNATURES) or self.path.lower().endswith(".zip")
        if not is_zip and (kind := what_is(first)):
            raise DataError(f"not a tar archive: it is {kind}")
        read_members = zip_index.read_members if is_zip else tar_index.read_members
        if not is_s3(self.path):
            return read_members(source.read, self.size)
        from recpack.storage.s3.file import RemoteFile

        with closing(RemoteFile(self.s3, parse_location(self.path))) as file:
            return read_members(file.read if is_zip else forward(file.read), self.size)


def find_archive(path: str | os.PathLike[str], s3: S3Client) -> Archive:
    """Find an archive's size and version. Raises OSError when it does not exist."""
    if is_s3(path):
        from recpack.storage.s3.objects import head

        found = head(s3, parse_location(path))
        return Archive(os.fspath(path), s3, found.size, found.etag)
    absolute = os.path.abspath(path)
    return Archive(absolute, s3, *_state(os.stat(absolute)))


def _state(status: os.stat_result) -> tuple[int, str]:
    return status.st_size, f"{status.st_ino} {status.st_mtime_ns}"


class _LocalSource(Source):
    def __init__(self, archive: Archive) -> None:
        self.name, self.size = base_name(archive.path), archive.size
        self._descriptor = open_regular(archive.path)
        weakref.finalize(self, os.close, self._descriptor)
        self._state = archive.size, archive.version
        if self.changed():
            raise OSError(5, f"{self.name} has changed during the run; run again")

    def changed(self) -> bool:
        return _state(os.fstat(self._descriptor)) != self._state

    def read(self, offset: int, length: int) -> bytes:
        return pread(self._descriptor, offset, length)

    def read_into(self, offset: int, room: memoryview) -> int:
        done = os.preadv(self._descriptor, [room], offset)
        while 0 < done < len(room) and (
            count := os.preadv(self._descriptor, [room[done:]], offset + done)
        ):
            done += count
        return done


class _S3Source(Source):
    def __init__(self, archive: Archive) -> None:
        self.name, self.size = base_name(archive.path), archive.size
        self._archive = archive

    def read(self, offset: int, length: int) -> bytes:
        from recpack.storage.s3.objects import read

        if not length:
            return b""
        archive = self._archive
        location = parse_location(archive.path)
        return read(archive.s3, location, offset, length, etag=archive.version)

    def read_into(self, offset: int, room: memoryview) -> int:
        data = self.read(offset, len(room))
        room[: len(data)] = data
        return len(data)


@lru_cache(maxsize=64)
def _source(archive: Archive) -> Source:
    return _S3Source(archive) if is_s3(archive.path) else _LocalSource(archive)


def forward(read: Callable[[int, int], bytes]) -> Callable[[int, int], bytes]:
    """A ``read`` that also reads the gaps between its calls, so that the file sees one sequential
    stream and can prefetch. It jumps over large gaps."""
    position = 0

    def forward(offset: int, length: int) -> bytes:
        nonlocal position
        if offset - position <= _NEAR:
            while position < offset:
                position += len(read(position, min(_STEP, offset - position))) or offset
        data = read(offset, length)
        position = offset + len(data)
        return data

    return forward


def _index_file(archive: Archive) -> Path:
    key = json.dumps([_INDEX_VERSION, archive.path, archive.size, archive.version])
    digest = hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=16).hexdigest()
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(caches, "recpack", f"{digest}.npz")


def _save(path: Path, members: Members) -> None:
    """Save an index. It only saves time, so a full or read-only disk is no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            try:
                np.savez(
                    file,
                    blob=np.frombuffer(members.names.blob, np.uint8),
                    bounds=members.names.bounds,
                    extents=members.extents,
                )
                file.flush()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise


def _load(path: Path, size: int) -> Members | None:
    try:
        with open(open_regular(path), "rb") as file, np.load(file, allow_pickle=False) as arrays:
            blob, bounds, extents = (arrays[name] for name in ("blob", "bounds", "extents"))
        starts, sizes, packed, crcs = extents.T
        valid = (
            len(bounds) == len(extents) + 1
            and bounds[0] == 0
            and bounds[-1] == len(blob)
            and (np.diff(bounds) > 0).all()
            and (starts >= 0).all()
            and (sizes >= BOMB).all()
            and (packed >= 0).all()
            and (starts + packed <= size).all()
            and (crcs >= PLAIN).all()
        )
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile):
        return None
    return Members(StringColumn.of(blob.tobytes(), bounds), extents) if valid else None
