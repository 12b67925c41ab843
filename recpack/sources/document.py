"""Data sets whose annotations one file holds: the coordinator reads it, workers read the images."""

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
"""What decoding raises for bytes that are no such document."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An annotation that was read, and its image's path below the root. ``file`` is what problems
    call it; a ``defect`` leaves nothing of it."""

    file: str
    image: str = ""
    annotation: Annotation = field(default_factory=Annotation)
    defect: Defect | None = None


@dataclass(frozen=True)
class DocumentTask(Task):
    """Annotations that need nothing but their images."""

    entries: Sequence[Entry]

    def read(self) -> Iterator[Item]:
        safe = [None if unsafe_path(entry.image) else entry.image for entry in self.entries]
        with self.root.folder(".") as images:
            for entry, opener in zip(self.entries, images.in_order(safe), strict=True):
                yield self._one(entry, images, opener)

    def _one(self, entry: Entry, images: Folder, opener: Opener | None) -> Item:
        if entry.defect is not None:
            return Item(entry.file, entry.defect)
        if opener is None:
            return Item(entry.file, Defect("path-unsafe", 0, "image", entry.image))
        found = read_image(images, entry.image, opener, entry.image)
        if isinstance(found, Defect):
            return Item(entry.file, found)
        return Item(entry.file, None, entry.annotation, entry.image, *found)


class DocumentDataset(Dataset):
    """Annotations that were read, by image set; ``problems`` are of none of them."""

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


def decoded(decoder: msgspec.json.Decoder[Document], data: bytes, name: str) -> Document:
    """A JSON document; DataError naming the file and the field."""
    try:
        return decoder.decode(data)
    except NOT_JSON as error:
        raise DataError(f"{name}: {reason(error)}; mend it or export it anew") from None


def reason(error: Exception) -> str:
    """msgspec's words for what is wrong, with the field first."""
    what, _, where = str(error).partition(" - at `$")
    return f"{where.strip('`.')}: {what}" if where.strip("`.") else what


@dataclass(frozen=True)
class Images:
    """Where a data set's images are: below ``root``, in the folder ``named``, or in one to be
    found."""

    root: Tree
    named: str | None = None

    def folder(self, choices: Sequence[str], names: Sequence[str], file: str) -> str:
        """The folder named, else the first choice that holds one of the images; DataError when
        none does. ``file`` is what names the images."""
        if self.named is not None or not names:
            return self.named or choices[0]
        with self.root.folder(".") as opened:
            for folder in choices:
                if any(_holds(opened, below(folder, name)) for name in names):
                    return folder
        raise DataError(
            f"{file}: {names[0]} is in none of the folders {', '.join(dict.fromkeys(choices))}; "
            "name its folder with --images"
        )


def _holds(folder: Folder, path: str) -> bool:
    """Whether there is such a file: opened, because on S3 a look into the listing lists it all."""
    try:
        if not unsafe_path(path):
            folder.open(path).close()
            return True
    except OSError:
        pass
    return False


def below(folder: str, name: str) -> str:
    """A path of the tree, without ``.`` and ``..`` where that can be said without looking."""
    return posixpath.normpath(posixpath.join(folder, name))
