"""Data sets with all annotations in one file: the coordinator reads it, workers read the images."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from recpack.data.annotation import Annotation, Defect
from recpack.errors import DataError
from recpack.problems import Problem
from recpack.sources.base import Dataset, Item, Task, chunks, image_bytes, read_image
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Folder, Opener, Tree

Document = TypeVar("Document")

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes that are not such a document."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One annotation, and its image's path below the root. ``file`` is its name in problems. With
    a ``defect`` there is no annotation."""

    file: str
    image: str = ""
    annotation: Annotation = field(default_factory=Annotation)
    defect: Defect | None = None


@dataclass(frozen=True)
class DocumentTask(Task):
    """Annotations that the coordinator has read; a worker reads only their images."""

    entries: Sequence[Entry]

    def read(self) -> Iterator[Item]:
        safe = [None if unsafe_path(entry.image) else entry.image for entry in self.entries]
        with self.root.folder(".") as images:
            for entry, opener in zip(self.entries, images.in_order(safe), strict=True):
                yield self._read(entry, images, opener)

    def _read(self, entry: Entry, images: Folder, opener: Opener | None) -> Item:
        if entry.defect is not None:
            return Item(entry.file, entry.defect)
        if opener is None:
            return Item(entry.file, Defect("path-unsafe", 0, "image", entry.image))
        found = read_image(images, entry.image, opener, entry.image)
        if isinstance(found, Defect):
            return Item(entry.file, found)
        return Item(entry.file, None, entry.annotation, entry.image, *found)


class DocumentDataset(Dataset):
    """All annotations, by image set. ``problems`` are those that belong to no single annotation."""

    def __init__(
        self,
        root: Tree,
        sets: Mapping[str, Sequence[Entry]],
        classes: Sequence[str] | None,
        problems: Sequence[Problem] = (),
    ) -> None:
        self.root = root
        self.image_sets = list(sets)
        self.counts = [len(entries) for entries in sets.values()]
        self.classes = classes or None
        self._problems = problems
        self._sets = list(sets.values())
        if not len(self):
            raise DataError(f"{root}: there are no annotations in {', '.join(sets)}")

    def tasks(self) -> Iterator[Task]:
        for rank, entries in enumerate(self._sets):
            for chunk in chunks(len(entries)):
                part = entries[chunk]
                root = self.root.only(entry.image for entry in part)
                yield DocumentTask(root, rank, part)

    def problems(self) -> Sequence[Problem]:
        return self._problems

    def look_up(self, file: str) -> tuple[Annotation | None, bytes | None]:
        for entries in self._sets:
            for entry in entries:
                if file in (entry.file, entry.image):
                    safe = not unsafe_path(entry.image)
                    image = image_bytes(self.root, ".", entry.image) if safe else None
                    return entry.annotation, image
        return None, None


def decode_document(decoder: msgspec.json.Decoder[Document], data: bytes, name: str) -> Document:
    """Decode a JSON document. Raises DataError that names the file and the field."""
    try:
        return decoder.decode(data)
    except NOT_JSON as error:
        raise DataError(f"{name}: {reason(error)}; repair it or export it again") from None


def reason(error: Exception) -> str:
    """msgspec's message, with the field first."""
    what, _, field = str(error).partition(" - at `$")
    return f"{field.strip('`.')}: {what}" if field.strip("`.") else what


@dataclass(frozen=True)
class Images:
    """Where a data set's images are: below ``root``, in the folder ``chosen`` by the user, or in a
    folder that ``find_folder`` finds."""

    root: Tree
    chosen: str | None = None

    def find_folder(self, choices: Sequence[str], names: Sequence[str], file: str) -> str:
        """The chosen folder, else the first of ``choices`` that holds one of the images ``names``.
        Raises DataError when none does; its message begins with ``file``."""
        if self.chosen is not None or not names:
            return self.chosen or choices[0]
        with self.root.folder(".") as root:
            for folder in choices:
                if any(_holds(root, below(folder, name)) for name in names):
                    return folder
        raise DataError(
            f"{file}: {names[0]} is in none of the folders {', '.join(dict.fromkeys(choices))}; "
            "name its folder with --images"
        )


def _holds(folder: Folder, path: str) -> bool:
    """Whether the file exists. It is opened, because on S3 a check in the listing would list the
    whole folder."""
    try:
        if not unsafe_path(path):
            folder.open(path).close()
            return True
    except OSError:
        pass
    return False


def below(folder: str, name: str) -> str:
    """The path of ``name`` below ``folder``, without ``.`` and ``..`` where possible."""
    return posixpath.normpath(posixpath.join(folder, name))
