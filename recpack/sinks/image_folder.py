"""Folders of images, on a disk or on S3, for workers to fill."""

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
    """A folder; ``str`` is its path or URL; picklable."""

    @abstractmethod
    def demand_empty(self) -> None:
        """Raise SinkError if the folder is not empty."""

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
    return S3ImageFolder(path, s3) if is_s3(path) else LocalImageFolder(os.path.abspath(path))


@dataclass(frozen=True)
class LocalImageFolder(ImageFolder):
    """A local folder, with another name until it is complete. During the writing it is locked: one
    without a lock is left from a killed run."""

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
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            lock(descriptor, self.folder)
            for leftover in os.scandir(partial):
                os.unlink(leftover)
            try:
                yield
            finally:
                if leads_to(partial, descriptor):  # else it is published
                    shutil.rmtree(partial)
        finally:
            os.close(descriptor)

    def write(self, name: str, data: bytes) -> None:
        Path(self.folder + PARTIAL, name).write_bytes(data)

    def publish(self) -> None:
        if os.path.isdir(self.folder):
            os.rmdir(self.folder)
        os.rename(self.folder + PARTIAL, self.folder)


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
