"""Data sets whose annotations one file holds: the coordinator reads it, workers read the images."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from recpack.annotation import Annotation, Defect
from recpack.errors import DataError
from recpack.judge import Judge
from recpack.lst import unsafe_path
from recpack.problems import Action, Problem
from recpack.sources.dataset import Dataset, Task, chunks, image_bytes, read_image
from recpack.trees.base import Folder, Tree

Document = TypeVar("Document")

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes of strangers."""


@dataclass(frozen=True, slots=True)
class Given:
    """An annotation that was read, and its image's path below the root. ``file`` is what problems
    call it; a ``fault`` leaves nothing of it."""

    file: str
    image: str = ""
    annotation: Annotation = field(default_factory=Annotation)
    fault: Defect | None = None


@dataclass(frozen=True)
class GivenTask(Task):
    """Annotations that need nothing but their images."""

    entries: Sequence[Given]

    def judge(self, judge: Judge) -> int:
        safe = [None if unsafe_path(entry.image) else entry.image for entry in self.entries]
        with self.root.folder(".") as images:
            for entry, opener in zip(self.entries, images.in_order(safe), strict=True):
                judge.start(entry.file)
                fault = entry.fault
                if fault is not None:
                    judge.note(fault.code, "error", field=fault.field, value=fault.value)
                elif opener is None:
                    judge.note("path-unsafe", "error", field="image", value=entry.image)
                else:
                    found = read_image(images, entry.image, opener, judge, entry.image)
                    if found is not None:
                        judge.add(entry.annotation, entry.image, *found)
        return len(self.entries)


class GivenDataset(Dataset):
    """Annotations read, by image set; ``faults`` are errors of none of them."""

    def __init__(
        self,
        root: Tree,
        sets: Mapping[str, Sequence[Given]],
        classes: Sequence[str] | None,
        faults: Sequence[Problem] = (),
    ) -> None:
        self.root = root
        self.image_sets = list(sets)
        self.counts = [len(entries) for entries in sets.values()]
        self.classes = classes or None
        self._sets = list(sets.values())
        self._faults = faults
        if not len(self):
            raise DataError(f"{root}: there are no annotations in {', '.join(sets)}")

    def tasks(self) -> Iterator[Task]:
        for rank, entries in enumerate(self._sets):
            for chunk in chunks(len(entries)):
                part = entries[chunk]
                root = self.root.only(entry.image for entry in part)
                yield GivenTask(root, rank, part)

    def problems(self, action: Action) -> list[Problem]:
        return [replace(fault, action=action) for fault in self._faults]

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
