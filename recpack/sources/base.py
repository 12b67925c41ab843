"""What a data set of any format offers: its image sets, and tasks that workers read.

A source yields what it found. What that means, whether it stays or is refused, the judge decides
(``scanning.judge``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recpack.data.annotation import Annotation, Defect
from recpack.errors import ImageError
from recpack.formats.image_header import ImageHeader, check_whole, read_header
from recpack.problems import Problem
from recpack.storage.explain import UNREADABLE, explain
from recpack.storage.trees.base import Folder, Opener, Tree

CHUNK = 512
"""Annotations a task."""


@dataclass(slots=True)
class Item:
    """What a task found of one annotation.

    ``file`` is what problems call it. With a ``defect`` there is nothing else; without one there
    are the ``annotation``, and the ``image`` by its path below the root, its ``size`` in bytes and
    its ``header``.
    """

    file: str
    defect: Defect | None = None
    annotation: Annotation | None = None
    image: str = ""
    size: int = 0
    header: ImageHeader | None = None


@dataclass(frozen=True)
class Task(ABC):
    """A few hundred annotations of the image set of this rank. Picklable; ``root`` knows their
    files at least."""

    root: Tree
    image_set: int

    @abstractmethod
    def read(self) -> Iterator[Item]:
        """What is found of each annotation, in their order; runs in a worker."""


class Dataset(ABC):
    """A data set of any format, opened.

    ``root`` is what the images' paths are relative to · ``image_sets`` the names of its image sets,
    and ``counts`` the annotations in each · ``classes`` its own class names in the order of ids,
    None where it knows none.
    """

    root: Tree
    image_sets: Sequence[str]
    counts: Sequence[int]
    classes: Sequence[str] | None = None

    def __len__(self) -> int:
        return sum(self.counts)

    @property
    def task_count(self) -> int:
        """How many tasks there are."""
        return sum(-(-count // CHUNK) for count in self.counts)

    @abstractmethod
    def tasks(self) -> Iterator[Task]:
        """The tasks, image set by image set, each of ``CHUNK`` annotations but its last."""

    def problems(self) -> Sequence[Problem]:
        """What shows before anything is scanned."""
        return ()

    @abstractmethod
    def look_up(self, file: str) -> tuple[Annotation | None, bytes | None]:
        """What a problem's ``file`` leads to: its annotation and its image's bytes, each None when
        it can't be read or must not be (a link out of the data set)."""


def chunks(count: int) -> Iterator[slice]:
    """What one task after the other gets of an image set of so many annotations."""
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))


def image_bytes(root: Tree, folder: str, name: str) -> bytes | None:
    """An image, None when it can't be read."""
    try:
        with root.folder(folder) as images, images.open(name) as file:
            return file.read(0, file.size)
    except (OSError, ValueError):
        return None


def read_image(
    folder: Folder, name: str, opener: Opener | None, named: str
) -> tuple[int, ImageHeader] | Defect:
    """An image's size in bytes and its header, or what is wrong with it. ``named`` is what the
    annotation calls it."""
    try:
        with opener() if opener is not None else folder.open(name) as file:
            size = file.size
            header = read_header(file.read, size)
            check_whole(header, file.read, size)
            return size, header
    except UNREADABLE as error:
        code, value = explain(error, "image")
        if code == "image-missing":
            return Defect(code, 0, "filename", named)
        of_image = isinstance(error, ImageError) or code == "image-unreadable"
        return Defect(code, 0, "image", f"{name}: {value}" if of_image else value)
