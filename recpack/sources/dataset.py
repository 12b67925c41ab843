"""What a data set of any format offers: its image sets, and tasks that workers judge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recpack.annotation import Annotation
from recpack.errors import ImageError
from recpack.files import UnsafePathError
from recpack.headers import ImageHeader, check_whole, read_header
from recpack.judge import Judge
from recpack.problems import Action, Problem
from recpack.trees.base import Folder, Opener, Tree

CHUNK = 512
"""Annotations a task."""


@dataclass(frozen=True)
class Task(ABC):
    """A few hundred annotations of the image set of this rank. Picklable; ``root`` knows their
    files at least."""

    root: Tree
    image_set: int

    @abstractmethod
    def judge(self, judge: Judge) -> int:
        """Give every annotation with its image to the judge; runs in a worker. Returns how many
        there were."""


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

    @abstractmethod
    def problems(self, action: Action) -> list[Problem]:
        """Those that show before anything is scanned; ``action`` is what is done about errors."""

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
    folder: Folder, name: str, opener: Opener | None, judge: Judge, named: str
) -> tuple[int, ImageHeader] | None:
    """An image's size in bytes and its header; None, and a problem noted, when there is none.
    ``named`` is what the annotation calls it."""
    try:
        with opener() if opener is not None else folder.open(name) as file:
            size = file.size
            header = read_header(file.read, size)
            check_whole(header, file.read, size)
    except ImageError as error:
        judge.note(error.code, "error", field="image", value=f"{name}: {error.value}")
    except FileNotFoundError:
        judge.note("image-missing", "error", field="filename", value=named)
    except UnsafePathError as error:
        judge.note("path-unsafe", "error", field="image", value=error.strerror or "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", str(error))
        judge.note("image-unreadable", "error", field="image", value=f"{name}: {reason}")
    else:
        return size, header
    return None
