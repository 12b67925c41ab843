"""Pascal VOC devkits: annotations are found by id, images by file name without extension (stem)."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import numpy.typing as npt

from recpack.columns import StringColumn
from recpack.data.annotation import Annotation, Defect
from recpack.errors import AnnotationError, DataError
from recpack.formats.image_header import EXTENSIONS
from recpack.problems import Problem, count_text
from recpack.sources.base import CHUNK, Dataset, Item, Task, chunks, image_bytes, read_image
from recpack.sources.voc.layout import Devkit, ImageSet
from recpack.sources.voc.parse import MAX_ANNOTATION, parse_annotation
from recpack.storage.explain import UNREADABLE, explain
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Opener, Tree, join

_MAX_WINDOW = 8 * CHUNK
"""Most image names that are searched at once for those of a task."""
_SUFFIXES = tuple(EXTENSIONS)


class VocDataset(Dataset):
    """A devkit; see ``voc.layout.open_devkit``."""

    def __init__(self, devkit: Devkit) -> None:
        self._devkit = devkit
        self.root = devkit.root
        self.image_sets = [image_set.name for image_set in devkit.image_sets]
        self.counts = [len(image_set.ids) for image_set in devkit.image_sets]
        self.years = devkit.years

    def tasks(self) -> Iterator[Task]:
        for rank, image_set in enumerate(self._devkit.image_sets):
            yield from _tasks(self.root, image_set, rank)

    def problems(self) -> list[Problem]:
        """Ids that appear twice in an image set; images without annotation where none lists the
        ids."""
        problems = []
        for image_set in self._devkit.image_sets:
            for id_ in image_set.ids.repeated():
                file = join(image_set.annotations, id_ + ".xml")
                problems.append(Problem("id-repeated", "warning", file, "kept"))
            if not image_set.listed:
                problems += _unannotated(self.root, image_set)
        return problems

    def _others(self) -> dict[str, int | None]:
        """Image sets with ids that are in no chosen one, and how many."""
        read: dict[str, set[str]] = {}
        for image_set in self._devkit.image_sets:
            read.setdefault(image_set.annotations, set()).update(image_set.ids)
        try:
            every = self._devkit.every_set()
        except (OSError, DataError):  # only an error for those who read these sets
            return {}
        left = {one.name: len(set(one.ids) - read.get(one.annotations, set())) for one in every}
        return super()._others() | {name: count for name, count in left.items() if count}

    def look_up(self, file: str) -> tuple[Annotation | None, bytes | None]:
        root = self.root
        for image_set in self._devkit.image_sets:
            prefix = join(image_set.annotations, "")
            if file.startswith(prefix) and file.endswith(".xml"):
                name = file.removeprefix(prefix)
                with root.folder(image_set.annotations) as annotations:
                    opener = None if unsafe_path(name) else partial(annotations.open, name)
                    found = _read_annotation(opener, name)
                annotation = None if isinstance(found, Defect) else found
                names = _candidates(root, image_set, name.removesuffix(".xml"), {})
                if not names and annotation is not None and not unsafe_path(annotation.filename):
                    names = [annotation.filename]
                return annotation, image_bytes(root, image_set.images, names[0]) if names else None
        return None, image_bytes(root, ".", file)


def _tasks(root: Tree, image_set: ImageSet, rank: int) -> Iterator[VocTask]:
    listing = _Listing(root, image_set.images)
    listings = {"": listing}
    for chunk in chunks(len(image_set.ids)):
        ids = image_set.ids[chunk]
        known = {} if b"/" in ids.blob else listing.one_each(list(ids))
        candidates = [
            [known[id_]] if id_ in known else _candidates(root, image_set, id_, listings)
            for id_ in ids
        ]
        yield VocTask(
            _root_for(root, image_set, ids, candidates),
            rank, image_set.annotations, image_set.images, ids, candidates,
        )  # fmt: skip


def _unannotated(root: Tree, image_set: ImageSet) -> Iterator[Problem]:
    """The images of the folder that belong to no annotation."""
    names = _Listing(root, image_set.images).names
    images = _hashes(os.path.splitext(name)[0] for name in names)
    ids = _hashes(image_set.ids)
    extra = np.flatnonzero(~np.isin(images, ids)).tolist()
    # annotations without an image of their id can name some of them; which is not known yet
    named = int((~np.isin(ids, images)).sum())
    files = [join(image_set.images, names[i]) for i in extra] if not named else [image_set.images]
    if len(extra) > named:
        value = count_text(len(extra) - named, "image") if named else ""
        for file in files:
            yield Problem("image-unannotated", "warning", file, "left out", value=value)


def _hashes(stems: Iterable[str]) -> npt.NDArray[np.int64]:
    """Hashes of stems without their case: a listing can be long."""
    return np.fromiter((hash(stem.lower()) for stem in stems), np.int64)


def _root_for(
    root: Tree, image_set: ImageSet, ids: StringColumn, candidates: list[list[str]]
) -> Tree:
    """The part of the root that a task needs; all of it when an annotation must name its image."""
    if not all(candidates):
        return root
    return root.only(
        chain(
            (join(image_set.annotations, id_ + ".xml") for id_ in ids),
            (join(image_set.images, name) for names in candidates for name in names),
        )
    )


def _candidates(
    root: Tree, image_set: ImageSet, id_: str, listings: dict[str, _Listing]
) -> list[str]:
    """The possible images of an id, relative to the image folder."""
    if unsafe_path(id_):
        return []
    folder, _, stem = id_.rpartition("/")
    if folder not in listings:
        listings[folder] = _Listing(
            root, join(image_set.images, folder) if folder else image_set.images
        )
    return [f"{folder}/{name}" if folder else name for name in listings[folder].find(stem)]


class _Listing:
    """The images of a folder, found by stem."""

    def __init__(self, root: Tree, folder: str) -> None:
        try:
            self.names = StringColumn(name for name in root.files(folder) if _is_image(name))
        except OSError:
            self.names = StringColumn()
        self._folded: dict[str, list[str]] | None = None

    def one_each(self, stems: list[str]) -> dict[str, str]:
        """The image of each stem, when every stem in their range has exactly one; else nothing.
        Also nothing when the stems are far apart in the listing, which those of an image set are
        not."""
        # all names of a stem sort between "stem." and "stem/": "/" is the character after "."
        first = bisect_left(self.names, min(stem + "." for stem in stems))
        last = bisect_left(self.names, max(stem + "/" for stem in stems))
        if last - first > _MAX_WINDOW:
            return {}
        names = list(self.names[first:last])
        found = {name.rpartition(".")[0]: name for name in names}
        return found if len(found) == len(names) else {}

    def find(self, stem: str) -> list[str]:
        """Names of this stem and any extension; else names whose stem differs only in case."""
        found = []
        for at in range(bisect_left(self.names, stem + "."), len(self.names)):
            name = self.names[at]
            if not name.startswith(stem + "."):
                break
            if os.path.splitext(name)[0] == stem:
                found.append(name)
        if not found and len(self.names):
            if self._folded is None:
                self._folded = {}
                for name in self.names:
                    self._folded.setdefault(os.path.splitext(name)[0].lower(), []).append(name)
            found = self._folded.get(stem.lower(), [])
        return found


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(_SUFFIXES)


@dataclass(frozen=True)
class VocTask(Task):
    """Ids, and for each the ``candidates`` for its image."""

    annotations: str
    images: str
    ids: StringColumn
    candidates: list[list[str]]

    def read(self) -> Iterator[Item]:
        root = self.root
        with root.folder(self.annotations) as annotations, root.folder(self.images) as images:
            files = [id_ + ".xml" for id_ in self.ids]
            plain = b"/" not in self.ids.blob and b"\0" not in self.ids.blob
            safe = files if plain else [None if unsafe_path(file) else file for file in files]
            single = [names[0] if len(names) == 1 else None for names in self.candidates]
            for file, names, opener, image in zip(
                files,
                self.candidates,
                annotations.in_order(safe),
                images.in_order(single),
                strict=True,
            ):
                path = join(self.annotations, file)
                annotation = _read_annotation(opener, file)
                if isinstance(annotation, Defect):
                    missing = annotation.code == "annotation-missing" and len(names) == 1
                    found = read_image(images, names[0], image, "") if missing else annotation
                    if isinstance(found, Defect):
                        yield Item(path, annotation)
                    else:  # the image can be background
                        width, height = map(float, found[1].upright)
                        empty = Annotation("", width, height, defects=[annotation])
                        yield Item(path, None, empty, join(self.images, names[0]), *found)
                    continue
                name = _image_name(annotation, names)
                if isinstance(name, Defect):
                    yield Item(path, name)
                    continue
                found = read_image(images, name, image, annotation.filename)
                if isinstance(found, Defect):
                    yield Item(path, found)
                else:
                    yield Item(path, None, annotation, join(self.images, name), *found)


def _read_annotation(opener: Opener | None, name: str) -> Annotation | Defect:
    if opener is None:
        return Defect("path-unsafe", 0, "id", name.removesuffix(".xml"))
    try:
        with opener() as file:
            data = file.read_all(MAX_ANNOTATION)
            if len(data) > MAX_ANNOTATION:
                raise AnnotationError("annotation-too-large", "bytes", f"{file.size:,}")
            return parse_annotation(data)
    except UNREADABLE as error:
        code, value = explain(error, "annotation")
        return Defect(code, 0, getattr(error, "field", ""), value)


def _image_name(annotation: Annotation, candidates: Sequence[str]) -> str | Defect:
    """The image's path below the image folder, or what is wrong."""
    if len(candidates) > 1:
        return Defect("image-ambiguous", 0, "", ", ".join(candidates))
    name = candidates[0] if candidates else annotation.filename
    if not candidates and unsafe_path(name):
        return Defect("path-unsafe" if name else "image-missing", 0, "filename", name)
    return name
