"""Where a Pascal VOC devkit keeps its files: years, folders, image sets."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from recpack.columns import StringColumn
from recpack.display import did_you_mean
from recpack.errors import ConfigError, DataError
from recpack.formats.image_header import IMAGE_ENDINGS
from recpack.problems import Problem
from recpack.sources.base import set_missing
from recpack.sources.selection import EVERY, Selection
from recpack.sources.voc.folders import Folders, find_folders, resolve_folders
from recpack.storage.files import text_lines
from recpack.storage.trees.base import Tree, join

_PRESENCE = ("-1", "0", "1")
_LINES = 2048
"""Lines of an image set that are checked at once."""
_YEAR = re.compile(r"VOC([0-9][^/]*)/")


@dataclass(frozen=True)
class ImageSet:
    """A list of image ids, and the folders with their files.

    ``name`` is unique (``VOC2007 train``). ``annotations`` and ``images`` are relative to the data
    set's root (``.`` is the root). ``listed``: the ids are those of a list, not of all annotations.
    """

    name: str
    annotations: str
    images: str
    ids: StringColumn
    listed: bool = True


@dataclass(frozen=True)
class Devkit:
    """A data set's root, the chosen image sets, in the order of the choice, the folders of the
    chosen years, and the problems of sets that were left out."""

    root: Tree
    image_sets: list[ImageSet]
    folders: Sequence[Folders] = ()
    missing: Sequence[Problem] = ()

    @property
    def years(self) -> list[str]:
        """The years that are read; none of a folder without years."""
        found = (_YEAR.match(image_set.annotations) for image_set in self.image_sets)
        return list(dict.fromkeys(year[1] for year in found if year))

    def every_set(self) -> list[ImageSet]:
        """All images of the years with image sets, as ``--set all`` reads them."""
        chosen = {one.name: one for one in self.image_sets}
        return [
            one
            for folder in self.folders
            if _has_sets(self.root, folder)  # else one set has all annotations
            for one in _every_set(self.root, folder, chosen)
        ]


def open_devkit(root: Tree, selection: Selection) -> Devkit:
    """Find a devkit's folders and read its image sets.

    ``root`` is a folder or archives: a devkit (with ``VOC2007``, ``VOC2012``, …), one VOC folder
    (with ``Annotations`` and ``JPEGImages`` or ``images``, in any case), a folder with images
    beside their annotations, or anything else with ``selection.images`` and
    ``selection.annotations``. ``year`` and ``set`` pair as in the AWS tool: they have equal
    lengths, or one of them is single. The default is every year and ``trainval``, else the only
    image set, else ``train`` (every annotation when there is no ``ImageSets``). ``all`` is each of
    ``train``, ``val`` and ``test`` that exists, with ``trainval`` where it has more than its parts.
    Raises DataError for what does not exist.
    """
    try:
        return _open(root, selection)
    except OSError as error:
        raise DataError(f"{root}: can't be read: {error}") from error


def _open(root: Tree, selection: Selection) -> Devkit:
    if selection.images is not None and selection.annotations is None:
        raise ConfigError("images: name the folder of the annotations too, with --annotations")
    if selection.images is not None and selection.annotations is not None:
        root, folders = resolve_folders(
            root, os.fspath(selection.images), os.fspath(selection.annotations)
        )
    else:
        folders = find_folders(root, selection.years)
    sets = list(selection.sets) or [""]
    years = folders
    if sets == [EVERY] and not any(_has_set(root, folder, EVERY) for folder in folders):
        return _open_every(root, folders)
    if len(sets) > 1 and len(folders) == 1:
        folders = folders * len(sets)
    if len(sets) == 1:
        sets = sets * len(folders)
    if len(sets) != len(folders):
        raise ConfigError(
            f"set: {len(sets)} image sets ({', '.join(sets)}) do not pair with {len(folders)} "
            "years; give one for all years, or one per year"
        )
    return Devkit(
        root,
        [_open_image_set(root, *folder, name) for folder, name in zip(folders, sets, strict=True)],
        years,
    )


def open_set_folders(root: Tree, sets: Mapping[str, Folders]) -> Devkit:
    """Open image sets of ``set_folders``: all annotations of each. Raises DataError."""
    for folders in sets.values():
        for folder in folders[:2]:
            _demand_folder(root, folder)
    return Devkit(
        root,
        [
            ImageSet(name, folder, images, StringColumn(all_ids(root, folder)))
            for name, (folder, images, _) in sets.items()
        ],
    )


def _open_image_set(root: Tree, annotations: str, images: str, sets: str, name: str) -> ImageSet:
    _demand_folder(root, annotations)
    remedy = f"put the images there, or use --images FOLDER --annotations {annotations}"
    _demand_folder(root, images, f"; {remedy}")
    read: Callable[[], Iterable[str]]
    if not sets or not root.is_folder(sets):
        if name and not Path(name).is_file():
            raise DataError(
                f"set: there is no {join(str(root), sets or 'ImageSets')} and no file {name}"
            )
        path, read = name, partial(text_lines, Path(name))
    else:
        found = [name[:-4] for name in root.files(sets) if name.endswith(".txt")]
        name = name or _default_set(found)
        file = join(sets, f"{name}.txt")
        path, read = join(str(root), file), partial(root.lines, file)
        if not root.is_file(file):
            raise DataError(
                f"{path}: no such image set; choose with --set from: "
                f"{', '.join([*found, EVERY]) if found else 'none'}{did_you_mean(name, found)}"
            )
    if not path:
        ids = StringColumn(all_ids(root, annotations))
    else:
        try:
            ids = StringColumn(
                read_image_set(read(), lambda file: root.is_file(join(annotations, file)))
            )
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: can't be read: {error}") from error
    if not ids:
        folder = join(str(root), annotations)
        raise DataError(f"{folder}: the image set {name or 'all'} has no annotations")
    return ImageSet(_label(annotations, name), annotations, images, ids, bool(path))


def _label(annotations: str, name: str) -> str:
    return f"{annotations.rpartition('/')[0]} {name or 'all'}".strip()


def _demand_folder(root: Tree, folder: str, remedy: str = "") -> None:
    """Raise DataError unless it is a folder, OSError for a link that leads out."""
    if not root.is_folder(folder):
        raise DataError(f"{join(str(root), folder)}: no such folder{remedy}")
    root.folder(folder).close()


def _default_set(sets: Sequence[str]) -> str:
    """``trainval``, else the only one, else ``train``."""
    if "trainval" in sets:
        return "trainval"
    if len(sets) == 1:
        return sets[0]
    return "train" if "train" in sets else "trainval"


def _open_every(root: Tree, folders: Sequence[Folders]) -> Devkit:
    """Each image set of the years whose folders are there. Raises DataError when none is."""
    found = [folder for folder in folders if all(map(root.is_folder, folder[:2]))]
    every = [one for folder in found or folders for one in _every_set(root, folder)]
    problems = []
    for folder in folders:
        for path in folder[:2]:
            if not root.is_folder(path):
                problems.append(set_missing(path, posixpath.dirname(path) or EVERY, path))
    return Devkit(root, every, found, problems)


def _every_set(
    root: Tree, folder: Folders, read: Mapping[str, ImageSet] = MappingProxyType({})
) -> list[ImageSet]:
    """Train, val and test; trainval instead of the first two where it has more; else the default
    image set. ``read``: image sets that are known, by name."""
    names = ("train", "val", "trainval", "test")
    found = {
        name: read.get(_label(folder[0], name)) or _open_image_set(root, *folder, name)
        for name in names
        if _has_set(root, folder, name)
    }
    parts = sum(len(found[name].ids) for name in names[:2] if name in found)
    if "trainval" in found and len(found["trainval"].ids) > parts:
        found.pop("train", None)
        found.pop("val", None)
    elif parts:
        found.pop("trainval", None)
    return list(found.values()) or [_open_image_set(root, *folder, "")]


def _has_set(root: Tree, folder: Folders, name: str) -> bool:
    return _has_sets(root, folder) and root.is_file(join(folder[2], f"{name}.txt"))


def _has_sets(root: Tree, folder: Folders) -> bool:
    return bool(folder[2]) and root.is_folder(folder[2])


def all_ids(root: Tree, annotations: str) -> list[str]:
    names = root.files(annotations)
    # sorted as ids: without ".xml" the order can differ from that of the files
    return sorted(name[:-4] for name in names if name.endswith(".xml") and not name.startswith("."))


def read_image_set(lines: Iterable[str], is_annotation: Callable[[str], bool]) -> Iterator[str]:
    """The ids of an ``ImageSets/Main`` file: one ``id`` or ``id flag`` per line.

    A last column of exactly -1, 0 or 1 is a flag, unless the whole line is the id of an annotation
    file. Ids with flag -1 (the class is absent) are left out. Ids can hold spaces. An id that is
    the name of no annotation file may have the extension of its image (VoTT writes it), and a line
    that begins with ``#`` is a comment.
    """
    remaining = iter(lines)
    while block := list(islice(remaining, _LINES)):
        text = "".join(block)
        if text.replace("_", "0").replace("\n", "0").isalnum():  # the common case, checked first
            yield from filter(None, text.split("\n"))
        else:
            yield from _ids_of(map(str.strip, block), is_annotation)


def _ids_of(lines: Iterable[str], is_annotation: Callable[[str], bool]) -> Iterator[str]:
    for line in lines:
        id_, _, flag = line.replace("\t", " ").rpartition(" ")
        if not (id_ and flag in _PRESENCE) or is_annotation(f"{line}.xml"):
            id_, flag = line, ""
        id_ = id_.rstrip()
        if not id_ or flag == "-1" or (id_[0] == "#" and not is_annotation(f"{id_}.xml")):
            continue
        if id_.lower().endswith((*IMAGE_ENDINGS, ".xml")) and not is_annotation(f"{id_}.xml"):
            id_ = os.path.splitext(id_)[0]
        yield id_
