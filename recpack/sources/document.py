"""Data sets with all annotations in one file: the coordinator reads it, workers read the images."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import msgspec

from recpack.data.annotation import Annotation, Defect
from recpack.errors import DataError
from recpack.problems import Problem
from recpack.sources.base import Dataset, Item, Task, chunks, image_bytes, read_image
from recpack.sources.recognise import holds
from recpack.sources.tails import Tails, foreign, is_link
from recpack.storage.decode import NOT_JSON, reason
from recpack.storage.limits import most_of_document
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Folder, Head, Tree

Document = TypeVar("Document")

_SHOWN = 3


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
            for entry, head in zip(self.entries, images.heads(safe), strict=True):
                yield self._read(entry, images, head)

    def _read(self, entry: Entry, images: Folder, head: Head | Exception | None) -> Item:
        if entry.defect is not None:
            return Item(entry.file, entry.defect)
        if head is None:
            return Item(entry.file, Defect("path-unsafe", 0, "image", entry.image))
        found = read_image(images, entry.image, head, entry.image)
        if isinstance(found, Defect):
            return Item(entry.file, found)
        return Item(entry.file, None, entry.annotation, entry.image, *found)


class DocumentDataset(Dataset):
    """All annotations, by image set. ``problems`` are those that belong to no single annotation.
    ``folders`` are the image sets' image folders: below them images are looked for that are not
    where their path says (default: the root)."""

    def __init__(
        self,
        root: Tree,
        sets: Mapping[str, Sequence[Entry]],
        classes: Sequence[str] | None,
        problems: Sequence[Problem] = (),
        folders: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.image_sets = list(sets)
        self.classes = classes or None
        found: list[Problem] = []
        self._sets = [_once(list(entries), found) for entries in sets.values()]
        self.counts = [len(entries) for entries in self._sets]
        if not len(self):
            raise DataError(f"{root}: there are no annotations in {', '.join(sets)}")
        self.folders = folders or {}
        self._places = [self.folders.get(name, ".") for name in sets]
        tails = {place: Tails(root, place, partial(self._listed, place)) for place in self._places}
        self._tails = [tails[place] for place in self._places]
        self._problems = [*problems, *found]
        for rank, entries in enumerate(self._sets):
            images = [entry.image for entry in entries]
            if foreign(images):  # in one step, not task by task
                files = {entry.file for entry in entries if foreign([entry.image])}
                _, found = self._settle(rank, slice(len(entries)), files)
                self._problems += [one for one in found if one.severity != "error"]

    def tasks(self) -> Iterator[Task]:
        for rank, entries in enumerate(self._sets):
            for chunk in chunks(len(entries)):
                yield self._task(rank, entries[chunk])

    def _task(self, rank: int, entries: Sequence[Entry]) -> DocumentTask:
        return DocumentTask(self.root.only(entry.image for entry in entries), rank, entries)

    def mend(
        self, number: int, missing: Sequence[Problem]
    ) -> tuple[Task | None, Sequence[Problem]]:
        rank, rows = self.rows_of(number)
        count, problems = self._settle(rank, rows, {problem.file for problem in missing})
        return self._task(rank, self._sets[rank][rows]) if count else None, problems

    def _settle(self, rank: int, rows: slice, files: set[str]) -> tuple[int, list[Problem]]:
        """Find the images of these annotations by the ends of their paths. Returns how many were
        found."""
        entries = self._sets[rank][rows]
        wanted = {
            entry.file: entry.image
            for entry in entries
            if entry.file in files and entry.defect is None
        }
        settled, problems = self._tails[rank].settle(wanted)
        if settled:
            self._sets[rank][rows] = [
                replace(entry, image=settled[entry.file]) if entry.file in settled else entry
                for entry in entries
            ]
        return len(settled), problems

    def _listed(self, place: str) -> Iterator[str]:
        """The images of the image sets whose images are below this folder, as written."""
        for own, entries in zip(self._places, self._sets, strict=True):
            if own == place:
                yield from (entry.image for entry in entries)

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


def _once(entries: list[Entry], problems: list[Problem]) -> list[Entry]:
    """The entries without repetitions, which are added to ``problems``. Entries of one image that
    say different things are all at fault, because nobody knows whether they belong together."""
    if len({entry.image for entry in entries}) == len(entries):
        return entries
    by_image: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.image:
            by_image.setdefault(entry.image, []).append(entry)
    kept = []
    for entry in entries:
        first, *others = by_image.get(entry.image, [entry])
        if any(other.annotation != first.annotation for other in others):
            files = ", ".join(one.file for one in (first, *others)[:_SHOWN])
            defect = Defect("image-repeated", 0, "image", f"{entry.image} in {files}")
            kept.append(replace(entry, defect=entry.defect or defect))
        elif entry is first:
            kept.append(entry)
        else:
            value = f"{entry.image}, as in {first.file}"
            problems.append(Problem("image-repeated", "warning", entry.file, "kept", value=value))
    return kept


def read_document(root: Tree, file: str) -> bytes:
    """The bytes of a document. Raises DataError that names it."""
    try:
        with root.folder(".") as folder, folder.open(file) as stream:
            return stream.read_all(most_of_document())
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{posixpath.join(str(root), file)}: can't be read: {reason}") from error


def decode_document(data: bytes, name: str, *decoders: msgspec.json.Decoder[Document]) -> Document:
    """Decode a JSON document with the first of ``decoders`` that takes it. Raises DataError that
    names the file and the field, as the last one does."""
    problem = ""
    for decoder in decoders:
        try:
            return decoder.decode(without_mark(data))
        except NOT_JSON as error:
            problem = reason(error)
    at = re.search(r"\(byte ([0-9]+)\)$", problem)
    if at is not None:
        problem += f": …{str(without_mark(data)[max(int(at[1]) - 20, 0) : int(at[1]) + 20])[2:-1]}…"
    raise DataError(f"{name}: {problem}; repair it or export it again")


def without_mark(data: bytes) -> bytes:
    """JSON without the byte order mark that tools on Windows write."""
    return data.removeprefix(b"\xef\xbb\xbf")


@dataclass(frozen=True)
class Images:
    """Where a data set's images are: below ``root``, in the folder ``chosen`` by the user, or in a
    folder that ``find_folder`` finds."""

    root: Tree
    chosen: str | None = None

    def find_folder(
        self, choices: Sequence[str], names: Sequence[str], file: str, others: Sequence[str] = ()
    ) -> str:
        """The chosen folder, else the first of ``choices`` that holds one of the images ``names``,
        else the only one of ``others``, else the root when it has a file of such a name anywhere.
        Raises DataError when it has none; its message begins with ``file``."""
        if self.chosen is not None or not names:
            return self.chosen or choices[0]
        for folder in choices:
            if self._holds_one(folder, names):
                return folder
        likely = [folder for folder in others if self._holds_one(folder, names)]
        if len(likely) == 1:
            return likely[0]
        if any(map(Tails(self.root).find, names)):
            return "."
        advice = "name its folder with --images"
        if is_link(names[0]):
            advice = f"it is a link to a server: download the images, then {advice}"
        tried = ", ".join(dict.fromkeys((*choices, *others)))
        raise DataError(f"{file}: {names[0]} is in none of the folders {tried}; {advice}")

    def _holds_one(self, folder: str, names: Sequence[str]) -> bool:
        return any(holds(self.root, below(folder, name)) for name in names)


def below(folder: str, name: str) -> str:
    """The path of ``name`` below ``folder``, without ``.`` and ``..`` where possible."""
    return posixpath.normpath(posixpath.join(folder, name))
