"""Trees on S3: objects below a prefix."""

from __future__ import annotations

import io
import posixpath
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from recpack.columns import StringColumn
from recpack.storage.files import lines_of
from recpack.storage.limits import most_of_document
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import list_objects, read, read_head
from recpack.storage.trees.ahead import Prefetcher, Request
from recpack.storage.trees.base import (
    Folder,
    Opener,
    OpenFile,
    Tree,
    identity_of,
    is_hidden,
    join,
)

_HEAD = 128 << 10
_MIDDLE = 1 << 20
_TAIL = 4 << 10


class S3Tree(Tree):
    """Keys below a prefix; a ``/`` in a key makes a folder."""

    def __init__(self, location: Location, s3: S3Client) -> None:
        key = location.key.rstrip("/")
        self._location = location._replace(key=key + "/" if key else "")
        self._s3 = s3
        self._listings: dict[str, tuple[list[str], StringColumn]] = {}
        self._walks: dict[str, StringColumn] = {}

    def __str__(self) -> str:
        return str(self._location)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_listings": {}, "_walks": {}}  # workers list nothing

    def is_folder(self, path: str) -> bool:
        return next(list_objects(self._s3, self._prefix(path), most=1), None) is not None

    def is_file(self, path: str) -> bool:
        folder, name = posixpath.split(path)
        files = self._listing(folder or ".")[1]
        at = bisect_left(files, name)
        return at < len(files) and files[at] == name

    def folders(self, path: str) -> list[str]:
        return self._listing(path)[0]

    def files(self, path: str) -> list[str]:
        return list(self._listing(path)[1])

    def some_files(self, path: str) -> list[str]:
        if path in self._listings:
            return super().some_files(path)
        page = islice(list_objects(self._s3, self._prefix(path)), 1000)
        return sorted(name for name, size in page if name and size >= 0)

    def walk(self, path: str) -> Iterator[str]:
        if path not in self._walks:
            found = list_objects(self._s3, self._prefix(path), deep=True)
            self._walks[path] = StringColumn(
                join(path, name) for name, _ in found if name and not name.endswith("/")
            )
        return iter(self._walks[path])

    def listing(self, path: str, depth: int = 0) -> Iterator[tuple[str, list[str]]]:
        del depth  # a key can't be a link
        folders: dict[tuple[str, ...], list[str]] = {}  # one request lists many of them
        for file in self.walk(path):
            *parts, name = file.removeprefix(f"{path}/").split("/")
            if not any(map(is_hidden, parts)):
                folders.setdefault(tuple(parts), []).append(name)
        for inner, names in sorted(folders.items()):
            yield join(path, "/".join(inner)) if inner else path, sorted(names)

    def lines(self, path: str) -> Iterator[str]:
        data = read(self._s3, self._object(path), limit=most_of_document())
        return lines_of(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=""))

    def inside(self, folder: str) -> S3Tree:
        return S3Tree(self._prefix(folder), self._s3)

    def folder(self, path: str, *, proven: bool = False) -> S3Folder:
        del proven  # a key can't be a link
        return S3Folder(self._prefix(path), self._s3)

    def _object(self, path: str) -> Location:
        return self._location._replace(key=self._location.key + path)

    def _prefix(self, path: str) -> Location:
        return self._location if path == "." else self._object(path + "/")

    def _listing(self, path: str) -> tuple[list[str], StringColumn]:
        if path not in self._listings:
            folders, files = [], []
            for name, size in list_objects(self._s3, self._prefix(path)):
                if size < 0:
                    folders.append(name.rstrip("/"))
                elif name:  # a folder made in the AWS console is an object with an empty name
                    files.append(name)
            self._listings[path] = sorted(folders), StringColumn(sorted(files))
        return self._listings[path]


class S3Folder(Folder):
    """Objects below a prefix; threads fetch some of them in advance."""

    def __init__(self, prefix: Location, s3: S3Client) -> None:
        self._prefix, self._s3 = prefix, s3
        self._prefetcher = Prefetcher()

    def close(self) -> None:
        self._prefetcher.close()

    def open(self, name: str) -> S3File:
        return self._fetch(name, _HEAD)

    def in_order(
        self,
        names: Sequence[str | None],
        *,
        head: int | None = None,
        sizes: Sequence[int] | None = None,
    ) -> Iterator[Opener | None]:
        def requests() -> Iterator[Request[S3File, None]]:
            for row, name in enumerate(names):
                size = sizes[row] if sizes is not None else head or _HEAD
                fetch = None if name is None else partial(self._fetch, name, size)
                yield Request(fetch, size, None)

        for future, _ in self._prefetcher.in_order(requests()):
            yield None if future is None else future.result

    def _fetch(self, name: str, head: int) -> S3File:
        location = self._prefix._replace(key=self._prefix.key + name)
        return S3File(location, self._s3, head)


class S3File(OpenFile):
    """An object. Its first bytes are fetched at once, and its last ones too, which show whether an
    image is complete."""

    def __init__(self, location: Location, s3: S3Client, head: int) -> None:
        self._location, self._s3 = location, s3
        self._head, self._size, self._etag = read_head(s3, location, head)
        self._tail = b""
        self._middle, self._middle_start = b"", 0
        if self.size > len(self._head):
            length = min(_TAIL, self.size - len(self._head))
            self._tail = read(s3, location, self.size - length, length, etag=self._etag)

    @property
    def size(self) -> int:
        return self._size

    @property
    def identity(self) -> int:
        return identity_of((int.from_bytes(self._etag.encode()),)) if self._etag else 0

    def read(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size)
        if stop <= len(self._head):
            return self._head[offset:stop]
        start = self.size - len(self._tail)
        if offset >= start:
            return self._tail[offset - start : stop - start]
        if offset < len(self._head):
            return self._head[offset:] + self.read(len(self._head), stop - len(self._head))
        if not self._middle_start <= offset <= stop <= self._middle_start + len(self._middle):
            length = max(stop - offset, min(_MIDDLE, self.size - offset))
            self._middle_start = offset
            self._middle = read(self._s3, self._location, offset, length, etag=self._etag)
        return self._middle[offset - self._middle_start : stop - self._middle_start]

    def read_into(self, room: memoryview) -> int:
        data = self.read(0, len(room))
        room[: len(data)] = data
        return len(data) + (self.size > len(room))

    def close(self) -> None:
        self._head = self._middle = self._tail = b""
