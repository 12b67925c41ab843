"""Pascal VOC devkits: annotations are found by id, images by file name without extension (stem)."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from recpack.columns import StringColumn
from recpack.data.annotation import Annotation, Defect
from recpack.errors import DataError
from recpack.formats.image_header import IMAGE_ENDINGS
from recpack.problems import Problem, count_text
from recpack.sources.base import CHUNK, Dataset, Item, Task, chunks, image_bytes, read_image
from recpack.sources.tails import Tails, parts_of
from recpack.sources.voc.layout import Devkit, ImageSet
from recpack.sources.voc.parse import parse_annotation
from recpack.storage.explain import UNREADABLE, explain
from recpack.storage.limits import MAX_ANNOTATION
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Tree, join

_MAX_WINDOW = 8 * CHUNK
"""Most image names that are searched at once for those of a task."""


class VocDataset(Dataset):
    """A devkit; see ``voc.layout.open_devkit``."""

    def __init__(self, devkit: Devkit) -> None:
        repeated = [dict.fromkeys(one.ids.repeated()) for one in devkit.image_sets]
        devkit = replace(
            devkit,
            image_sets=[
                replace(one, ids=StringColumn(dict.fromkeys(one.ids))) if twice else one
                for one, twice in zip(devkit.image_sets, repeated, strict=True)
            ],
        )
        self._devkit, self._repeated = devkit, repeated
        self.root = devkit.root
        self.image_sets = [image_set.name for image_set in devkit.image_sets]
        self.counts = [len(image_set.ids) for image_set in devkit.image_sets]
        self.years = devkit.years
        self.parts = {
            part
            for one in devkit.image_sets
            for folders in ((one.annotations, one.images), *devkit.folders)
            for part in folders
        } - {""}
        self._finders: dict[int, _Finder] = {}

    def tasks(self) -> Iterator[Task]:
        for rank, image_set in enumerate(self._devkit.image_sets):
            yield from _tasks(self.root, image_set, rank)

    def mend(
        self, number: int, missing: Sequence[Problem]
    ) -> tuple[Task | None, Sequence[Problem]]:
        rank, rows = self.rows_of(number)
        image_set = self._devkit.image_sets[rank]
        if rank not in self._finders:
            self._finders[rank] = _Finder(self.root, image_set)
        finder = self._finders[rank]
        ids = finder.other_ids(image_set.ids[rows], {problem.file for problem in missing})
        images, problems = finder.images(missing)
        if ids is None and not images:
            return None, problems
        ids = ids or image_set.ids[rows]
        task = _task(self.root, image_set, rank, ids, finder.listings)
        candidates = [
            names or images.get(join(image_set.annotations, id_ + ".xml"), [])
            for id_, names in zip(ids, _names_of(ids, task.candidates), strict=True)
        ]
        return replace(task, root=self.root, candidates=candidates), problems

    def problems(self) -> list[Problem]:
        """Image sets that were left out; ids that appear twice in an image set (they are packed
        once); images without annotation where none lists the ids."""
        problems = list(self._devkit.missing)
        for image_set, repeated in zip(self._devkit.image_sets, self._repeated, strict=True):
            for id_ in repeated:
                file = join(image_set.annotations, id_ + ".xml")
                problems.append(
                    Problem("id-repeated", "warning", file, "kept", value="it counts once")
                )
            if not image_set.listed:
                problems += _unannotated(self.root, image_set)
        return problems

    def _others(self) -> dict[str, int | None]:
        """Image sets with ids that are in no chosen one, and how many."""
        chosen = self._devkit.image_sets
        try:
            others = [one for one in self._devkit.every_set() if one not in chosen]
        except (OSError, DataError):  # only an error for those who read these sets
            return {}
        left = {}
        for other in others:
            read = (one.ids for one in chosen if one.annotations == other.annotations)
            left[other.name] = len(set(other.ids).difference(*read))
        return super()._others() | {name: count for name, count in left.items() if count}

    def look_up(self, file: str) -> tuple[Annotation | None, bytes | None]:
        root = self.root
        for image_set in self._devkit.image_sets:
            prefix = join(image_set.annotations, "")
            if file.startswith(prefix) and file.endswith(".xml"):
                name = file.removeprefix(prefix)
                with root.folder(image_set.annotations) as annotations:
                    safe = None if unsafe_path(name) else name
                    (data,) = annotations.contents([safe], MAX_ANNOTATION)
                found = _read_annotation(data, name)
                annotation = None if isinstance(found, Defect) else found
                names = _candidates(root, image_set, name.removesuffix(".xml"), {})
                if not names and annotation is not None and not unsafe_path(annotation.filename):
                    names = [annotation.filename]
                return annotation, image_bytes(root, image_set.images, names[0]) if names else None
        return None, image_bytes(root, ".", file)


def _tasks(root: Tree, image_set: ImageSet, rank: int) -> Iterator[VocTask]:
    listings = {"": _Listing(root, image_set.images)}
    for chunk in chunks(len(image_set.ids)):
        yield _task(root, image_set, rank, image_set.ids[chunk], listings)


def _task(
    root: Tree, image_set: ImageSet, rank: int, ids: StringColumn, listings: dict[str, _Listing]
) -> VocTask:
    stems = list(ids)
    known = {} if b"/" in ids.blob else listings[""].one_each(stems)
    ending = os.path.splitext(known.get(stems[0], ""))[1]
    candidates: list[list[str]] | str = ending
    if not ending or [*map(known.get, stems)] != [stem + ending for stem in stems]:
        candidates = [
            [known[stem]] if stem in known else _candidates(root, image_set, stem, listings)
            for stem in stems
        ]
    if all(candidates):  # else the worker needs all of the root
        root = root.only(_files_of(image_set, stems, candidates))
    return VocTask(root, rank, image_set.annotations, image_set.images, ids, candidates)


class _Finder:
    """Finds files of an image set that have other names than those in its list."""

    def __init__(self, root: Tree, image_set: ImageSet) -> None:
        self._root, self._image_set = root, image_set
        self.listings = {"": _Listing(root, image_set.images)}
        self._tails = Tails(root, image_set.images, self._images_of_ids)

    def other_ids(self, ids: StringColumn, missing: set[str]) -> StringColumn | None:
        """The ids, those of ``missing`` annotation files as the files spell them: macOS and others
        write letters with accents differently. None when nothing changes."""
        folder = self._image_set.annotations
        other = {
            id_: self._spellings[normalize("NFC", id_)]
            for id_ in ids
            if join(folder, id_ + ".xml") in missing
            and not id_.isascii()
            and normalize("NFC", id_) in self._spellings
        }
        return StringColumn(other.get(id_, id_) for id_ in ids) if other else None

    def images(self, missing: Sequence[Problem]) -> tuple[dict[str, list[str]], list[Problem]]:
        """The images of annotations, by their files, that name one by a path of another machine."""
        wanted = {one.file: one.value for one in missing if one.field == "filename" and one.value}
        settled, problems = self._tails.settle(wanted) if wanted else ({}, [])
        prefix = "" if self._image_set.images == "." else self._image_set.images + "/"
        return {file: [path.removeprefix(prefix)] for file, path in settled.items()}, problems

    @cached_property
    def _spellings(self) -> dict[str, str]:
        names = (name[:-4] for name in self._root.files(self._image_set.annotations))
        return {normalize("NFC", name): name for name in names if not name.isascii()}

    def _images_of_ids(self) -> Iterator[str]:
        for id_ in self._image_set.ids:
            for name in _candidates(self._root, self._image_set, id_, self.listings):
                yield join(self._image_set.images, name)


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
    """Hashes of folded stems: a listing can be long."""
    return np.fromiter((hash(_fold(stem)) for stem in stems), np.int64)


def _files_of(
    image_set: ImageSet, stems: list[str], candidates: list[list[str]] | str
) -> Iterator[str]:
    """The paths of the annotations of these stems, and of the candidates for their images."""
    yield from (join(image_set.annotations, stem + ".xml") for stem in stems)
    for names in _names_of(stems, candidates):
        yield from (join(image_set.images, name) for name in names)


def _names_of(stems: Iterable[str], candidates: list[list[str]] | str) -> list[list[str]]:
    """The candidates for the image of each stem."""
    if isinstance(candidates, str):
        return [[stem + candidates] for stem in stems]
    return candidates


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
            self.names = StringColumn(filter(_is_image, root.files(folder)))
        except OSError:
            self.names = StringColumn()
        self._folded: dict[str, list[str]] | None = None

    def one_each(self, stems: list[str]) -> dict[str, str]:
        """The image of each stem, when every stem in their range has exactly one; else nothing.
        Also nothing when the stems are far apart in the listing, which those of an image set are
        not."""
        # all names of a stem sort between "stem." and "stem/": "/" is the character after "."
        first = bisect_left(self.names, min(stems))
        last = bisect_left(self.names, max(stem + "/" for stem in stems))
        if last - first > _MAX_WINDOW:
            return {}
        names = list(self.names[first:last])
        found = {name.rpartition(".")[0]: name for name in names}
        return found if len(found) == len(names) else {}

    def find(self, stem: str) -> list[str]:
        """Names of this stem and any extension; else names whose stem differs only in case or
        Unicode normalisation."""
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
                    self._folded.setdefault(_fold(os.path.splitext(name)[0]), []).append(name)
            found = self._folded.get(_fold(stem), [])
        return found


def _fold(stem: str) -> str:
    """A name without case, in one Unicode normalisation."""
    return normalize("NFC", stem.lower())


def _is_image(name: str) -> bool:
    return name[0] != "." and (name[-4:] == ".jpg" or name.lower().endswith(IMAGE_ENDINGS))


@dataclass(frozen=True)
class VocTask(Task):
    """Ids, and for each the ``candidates`` for its image: names, or the ending that makes the one
    name of each id."""

    annotations: str
    images: str
    ids: StringColumn
    candidates: list[list[str]] | str

    def read(self) -> Iterator[Item]:
        root = self.root
        above, beside = join(self.annotations, ""), join(self.images, "")
        with root.folder(self.annotations) as annotations, root.folder(self.images) as images:
            files = [id_ + ".xml" for id_ in self.ids]
            plain = b"/" not in self.ids.blob and b"\0" not in self.ids.blob
            safe = files if plain else [None if unsafe_path(file) else file for file in files]
            candidates = _names_of(self.ids, self.candidates)
            single = [names[0] if len(names) == 1 else None for names in candidates]
            for file, names, data, head in zip(
                files,
                candidates,
                annotations.contents(safe, MAX_ANNOTATION),
                images.heads(single),
                strict=True,
            ):
                path = above + file
                annotation = _read_annotation(data, file)
                if isinstance(annotation, Defect):
                    missing = annotation.code == "annotation-missing" and len(names) == 1
                    found = read_image(images, names[0], head, "") if missing else annotation
                    if isinstance(found, Defect):
                        yield Item(path, annotation)
                    else:  # the image can be background
                        width, height = map(float, found[1].upright)
                        empty = Annotation("", width, height, defects=[annotation])
                        yield Item(path, None, empty, beside + names[0], *found)
                    continue
                name = _image_name(annotation, names)
                if isinstance(name, Defect):
                    yield Item(path, name)
                    continue
                found = read_image(images, name, head, annotation.filename)
                if isinstance(found, Defect):
                    yield Item(path, found)
                else:
                    if annotation.filename != name:
                        _compare_names(annotation, name)
                    yield Item(path, None, annotation, beside + name, *found)


def _compare_names(annotation: Annotation, name: str) -> None:
    """Note a ``<filename>`` that is not the image of this name. Its folder and its extension can
    differ, and an annotation without one names nothing."""
    parts = parts_of(annotation.filename)
    stems = {_fold(os.path.splitext(one)[0]) for one in (*parts[-1:], os.path.basename(name))}
    if len(stems) > 1 and _fold(parts[-1]) not in stems:
        defect = Defect("filename-differs", 0, "filename", f"{annotation.filename} ({name})")
        annotation.defects.append(defect)


def _read_annotation(data: bytes | Exception | None, name: str) -> Annotation | Defect:
    """The annotation, by what was found of its file."""
    if data is None:
        return Defect("path-unsafe", 0, "id", name.removesuffix(".xml"))
    try:
        if isinstance(data, Exception):
            raise data
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
