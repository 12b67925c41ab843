"""Folders of images, on a disk or on S3, for workers to fill."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from recpack.errors import SinkError
from recpack.storage.files import (
    Claim,
    demand_room,
    give_name,
    make_parents,
    new_token,
    sync_folder,
    temporary_path,
    write_bytes,
)
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3, parse_location


class ImageFolder(ABC):
    """A folder; ``str`` is its path or URL; picklable."""

    @abstractmethod
    def demand_empty(self) -> None:
        """Raise SinkError if the folder is not empty."""

    def demand_room(self, name: str) -> None:
        """Raise SinkError if a file's name is too long for the folder."""

    @contextmanager
    def filling(self) -> Iterator[None]:
        """The block in which workers write; its end removes what is not published, as far as
        possible. Raises OSError when the folder can't be made."""
        yield

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file; runs in a worker. Raises OSError."""

    def publish(self) -> None:
        """Make the files visible under the folder's name."""


def image_folder(path: str, s3: S3Client) -> ImageFolder:
    """The folder of a path or ``s3://…``."""
    if is_s3(path):
        return S3ImageFolder(path, s3)
    return LocalImageFolder(os.path.abspath(path), new_token())


@dataclass(frozen=True)
class LocalImageFolder(ImageFolder):
    """A local folder, with an unfinished name, which has the token, until it is complete."""

    folder: str
    token: str

    def __str__(self) -> str:
        return self.folder

    def demand_empty(self) -> None:
        demand_room(Path(self.partial))
        if not os.path.lexists(self.folder):
            return
        if os.path.islink(self.folder) or not os.path.isdir(self.folder):
            raise SinkError(f"{self.folder} is not a folder; name another one, or move it away")
        if os.listdir(self.folder):
            raise SinkError(f"{self.folder} is not empty; name another folder, or move it away")
        if os.path.ismount(self.folder):  # no rename can replace it
            raise SinkError(f"{self.folder} is the root of a file system; name a folder in it")

    def demand_room(self, name: str) -> None:
        demand_room(Path(self.partial, name))

    @contextmanager
    def filling(self) -> Iterator[None]:
        folder = Path(self.folder)
        make_parents(folder)
        with Claim(folder, self.token) as claim:
            claim.clear()
            try:
                os.mkdir(self.partial)
                yield
            finally:
                claim.clear()

    def write(self, name: str, data: bytes) -> None:
        write_bytes(os.path.join(self.partial, name), data)

    def publish(self) -> None:
        os.sync()  # all files at once: one by one takes many times as long
        give_name(self.partial, self.folder)  # an empty folder is replaced
        with suppress(OSError):  # it is whole under its name
            sync_folder(Path(self.folder).parent)

    @property
    def partial(self) -> str:
        """Its path until it is published."""
        return os.fspath(temporary_path(Path(self.folder), self.token))


@dataclass(frozen=True)
class S3ImageFolder(ImageFolder):
    """Objects below a prefix; each is visible at once, and after a failure they stay."""

    prefix: str
    s3: S3Client

    def __str__(self) -> str:
        return self.prefix

    def demand_empty(self) -> None:
        from recpack.storage.s3.objects import list_objects

        try:
            first = next(list_objects(self.s3, parse_location(self.prefix + "/"), most=1), None)
        except OSError as error:
            raise SinkError(f"{self.prefix}: {error}") from error
        if first is not None:
            raise SinkError(f"{self.prefix}/ is not empty; name another prefix, or empty it")

    @contextmanager
    def filling(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            error.add_note(
                f"the objects below {self.prefix}/ stay: remove them before you try again"
            )
            raise

    def write(self, name: str, data: bytes) -> None:
        from recpack.storage.s3.objects import put

        put(self.s3, parse_location(f"{self.prefix}/{name}"), data)
