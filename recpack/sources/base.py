"""The interface of a data set of any format: its image sets, and tasks that workers read.

A source yields what the files say. The judge (``scanning.judge``) decides what is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recpack.data.annotation import Annotation, Defect, LabelKind
from recpack.errors import DataError, ImageError
from recpack.formats.image_header import ImageHeader, check_whole, read_header
from recpack.problems import Problem
from recpack.storage.explain import UNREADABLE, explain
from recpack.storage.limits import MAX_IMAGE
from recpack.storage.paths import base_name
from recpack.storage.trees.base import Folder, Head, Tree, head_of

CHUNK = 512
"""Annotations per task."""


@dataclass(slots=True)
class Item:
    """What a task read for one annotation.

    ``file`` is its name in problems. With a ``defect`` all other fields are empty. Without one they
    are the ``annotation``, the path of the ``image`` below the root, the image's ``size`` in bytes,
    its ``header`` and its file's ``identity``.
    """

    file: str
    defect: Defect | None = None
    annotation: Annotation | None = None
    image: str = ""
    size: int = 0
    header: ImageHeader | None = None
    identity: int = 0


@dataclass(frozen=True)
class Task(ABC):
    """Up to ``CHUNK`` annotations of the image set with this number (from 0). Picklable; ``root``
    knows at least their files."""

    root: Tree
    image_set: int

    @abstractmethod
    def read(self) -> Iterator[Item]:
        """Read each annotation, in order; runs in a worker."""


@dataclass(frozen=True)
class Scope:
    """Which part of a data set is read: its ``format``, the ``years`` of a devkit, and the number
    of images in each image set that is read (``sets``) and not read (``others``; None where
    counting would take long)."""

    format: str
    years: Sequence[str]
    sets: Mapping[str, int]
    others: Mapping[str, int | None]

    def for_manifest(self) -> dict[str, Any]:
        """What the manifest keeps: no counts, and no folders of this machine."""
        sets = [base_name(name) for name in self.sets]
        return {"format": self.format, "sets": sets, "years": list(self.years)}

    @property
    def every_set(self) -> str:
        """The value of ``--set`` that reads all image sets."""
        year = f"VOC{self.years[0]} " if len(self.years) == 1 else ""
        names = [name.removeprefix(year) for name in (*self.sets, *self.others)]
        return "all" if any(set(" ,/") & set(name) for name in names) else ",".join(names)


class Dataset(ABC):
    """An open data set of any format.

    ``root``: image paths are relative to it · ``image_sets``: their names · ``counts``: annotations
    in each image set · ``classes``: the data set's own class names in the order of ids, None when
    it has none · ``labels``: their kind; those without boxes need ``classes`` · ``format``: its
    name · ``years`` of a devkit · ``unread``: a function for each image set that is not read, which
    counts its images (None: counting would take long) · ``parts``: the folders and files that are
    the data set's, also those of other image sets (``.``: all that is there).
    """

    root: Tree
    image_sets: Sequence[str]
    counts: Sequence[int]
    classes: Sequence[str] | None = None
    labels: LabelKind = "boxes"
    format: str = ""
    years: Sequence[str] = ()
    unread: Mapping[str, Callable[[], int | None]] = {}
    parts: Collection[str] = (".",)

    def __len__(self) -> int:
        return sum(self.counts)

    @property
    def task_count(self) -> int:
        """Number of tasks."""
        return sum(-(-count // CHUNK) for count in self.counts)

    def scope(self) -> Scope:
        """Which part of the data set is read, and what else there is."""
        counts = dict(zip(self.image_sets, self.counts, strict=True))
        return Scope(self.format, self.years, counts, self._others())

    def _others(self) -> dict[str, int | None]:
        return {name: _count(count) for name, count in self.unread.items()}

    @abstractmethod
    def tasks(self) -> Iterator[Task]:
        """The tasks, one image set after the other. Each has ``CHUNK`` annotations; the last of an
        image set can have fewer."""

    def problems(self) -> Sequence[Problem]:
        """Problems that are known before the scan."""
        return ()

    def mend(
        self, number: int, missing: Sequence[Problem]
    ) -> tuple[Task | None, Sequence[Problem]]:
        """Look for what the task of this number (from 0) did not find, by other spellings of the
        paths. Returns the task with the right paths (None when nothing was found), and problems:
        notes, or an error that is said instead of the one in ``missing`` of the same file."""
        del number, missing
        return None, ()

    def rows_of(self, number: int) -> tuple[int, slice]:
        """The image set of a task, and its annotations in it."""
        for rank, count in enumerate(self.counts):
            tasks = -(-count // CHUNK)
            if number < tasks:
                return rank, slice(number * CHUNK, min(number * CHUNK + CHUNK, count))
            number -= tasks
        raise IndexError(number)

    @abstractmethod
    def look_up(self, file: str) -> tuple[Annotation | None, bytes | None]:
        """The annotation and the image bytes that belong to a problem's ``file``. Each is None when
        it can't be read, or when it is a link out of the data set."""


def repeated_classes(file: str, names: Iterable[tuple[object, str]]) -> Iterator[Problem]:
    """The problem of each class name that several ids have in ``file``; ``names``: (id, name)."""
    ids: dict[str, list[str]] = {}
    for id_, name in names:
        ids.setdefault(name, []).append(str(id_))
    for name, several in ids.items():
        if len(several) > 1:
            value = f"{name!r}: {', '.join(several)}"
            yield Problem("class-repeated", "warning", file, "kept", 0, "ids of", value)


def set_missing(file: str, name: str, value: str, *, wanted: bool = True) -> Problem:
    """The problem of the image set ``name`` that ``file`` names and that is left out; ``value`` is
    what is missing. Only a note where the set was not ``wanted``."""
    return Problem("set-missing", "warning" if wanted else "note", file, "kept", 0, name, value)


def _count(count: Callable[[], int | None]) -> int | None:
    try:
        return count()
    except (OSError, ValueError, DataError):  # only an error for those who read this set
        return None


def chunks(count: int) -> Iterator[slice]:
    """The slices of ``count`` annotations, one per task."""
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))


def image_bytes(root: Tree, folder: str, name: str) -> bytes | None:
    """An image's bytes; None when it can't be read."""
    try:
        with root.folder(folder) as images, images.open(name) as file:
            return file.read_all(MAX_IMAGE)
    except (OSError, ValueError):
        return None


def read_image(
    folder: Folder, name: str, found: Head | Exception | None, name_in_annotation: str
) -> tuple[int, ImageHeader, int] | Defect:
    """An image's size in bytes, its header and its file's identity, or what is wrong with it.
    ``found`` is one of ``Folder.heads``; None opens ``name`` in ``folder``."""
    try:
        if found is None:
            with folder.open(name) as file:
                return _parse_head(head_of(file))
        if isinstance(found, Exception):
            raise found
        return _parse_head(found)
    except UNREADABLE as error:
        code, value = explain(error, "image")
        if code == "image-missing":
            return Defect(code, 0, "filename", name_in_annotation)
        in_image = isinstance(error, ImageError) or code == "image-unreadable"
        return Defect(code, 0, "image", f"{name}: {value}" if in_image else value)


def _parse_head(found: Head) -> tuple[int, ImageHeader, int]:
    size, identity, head, read = found
    header = read_header(read, size, head)
    check_whole(header, read, size)
    return size, header, identity
