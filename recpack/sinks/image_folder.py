"""Folders of images, on a disk or on S3, that workers fill."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recpack.errors import SinkError
from recpack.storage.files import PARTIAL, leads_to, lock
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3, parse_location


class ImageFolder(ABC):
    """A folder, named by ``str``; picklable."""

    @abstractmethod
    def demand_empty(self) -> None:
        """SinkError when something is there."""

    @contextmanager
    def filling(self) -> Iterator[None]:
        """While workers write; what was not published when it ends is removed, as far as that is
        possible. Raises OSError when there can't be such a folder."""
        yield

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file whole; runs in a worker. Raises OSError."""

    def publish(self) -> None:
        """Let what was written be seen under the folder's name."""


def image_folder(path: str, s3: S3Client) -> ImageFolder:
    """The folder by path or ``s3://…``."""
    return S3ImageFolder(path, s3) if is_s3(path) else LocalImageFolder(os.path.abspath(path))


@dataclass(frozen=True)
class LocalImageFolder(ImageFolder):
    """Under another name until all of it is there. That folder is locked while it is filled: an
    unlocked one is the leftover of a run that was killed."""

    folder: str

    def __str__(self) -> str:
        return self.folder

    def demand_empty(self) -> None:
        if os.path.isfile(self.folder) or (os.path.isdir(self.folder) and os.listdir(self.folder)):
            raise SinkError(f"{self.folder} is not empty; name another folder, or move it away")

    @contextmanager
    def filling(self) -> Iterator[None]:
        partial = self.folder + PARTIAL
        os.makedirs(partial, exist_ok=True)
        own = os.open(partial, os.O_RDONLY)
        try:
            lock(own, self.folder)
            for leftover in os.scandir(partial):
                os.unlink(leftover)
            try:
                yield
            finally:
                if leads_to(partial, own):  # else it was published
                    shutil.rmtree(partial)
        finally:
            os.close(own)

    def write(self, name: str, data: bytes) -> None:
        Path(self.folder + PARTIAL, name).write_bytes(data)

    def publish(self) -> None:
        if os.path.isdir(self.folder):
            os.rmdir(self.folder)
        os.rename(self.folder + PARTIAL, self.folder)


@dataclass(frozen=True)
class S3ImageFolder(ImageFolder):
    """Objects below a prefix, each seen when it is written; a failure says that they stay."""

    prefix: str
    s3: S3Client

    def __str__(self) -> str:
        return self.prefix

    def demand_empty(self) -> None:
        from recpack.storage.s3.objects import listed

        try:
            found = next(listed(self.s3, parse_location(self.prefix + "/"), most=1), None)
        except OSError as error:
            raise SinkError(f"{self.prefix}: {error}") from error
        if found is not None:
            raise SinkError(f"{self.prefix}/ is not empty; name another prefix, or empty it")

    @contextmanager
    def filling(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            error.add_note(f"what was written below {self.prefix}/ stays: remove it to try again")
            raise

    def write(self, name: str, data: bytes) -> None:
        from recpack.storage.s3.objects import put

        put(self.s3, parse_location(f"{self.prefix}/{name}"), data)
