"""A folder for each class: the class of an image is the path of its folder.

Source: im2rec.py of MXNet, whose ``--list --recursive`` numbers the folders in the order in which
it walks them: each before those in it, sorted by their names. Folders at the top that are named
like image sets (``train``, ``val``) are some, and have the class ids of all sets together.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recpack.columns import StringColumn
from recpack.data.annotation import Annotation, Defect
from recpack.errors import ConfigError, DataError
from recpack.formats.image_header import IMAGE_ENDINGS
from recpack.problems import Problem
from recpack.sources.base import (
    Dataset,
    Item,
    Task,
    chunks,
    image_bytes,
    read_image,
    repeated_classes,
)
from recpack.sources.recognise import are_sets, class_folders, class_root
from recpack.sources.request import Request
from recpack.sources.selection import Selection
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Tree, is_hidden, join

ENDINGS = ()

_LAYOUT = "give the folder that holds a folder of images for each class"
Folders = dict[str, list[str]]
"""The names of the images in each folder, which is a path below the root."""


class ImageSet(NamedTuple):
    """The folders of a set, in im2rec's order. Those without images are empty. ``top``: the folder
    that holds them all."""

    top: str
    folders: Folders

    def class_of(self, folder: str) -> str:
        """The class of the images in a folder; empty for the folder of the set itself."""
        inner = "" if folder == self.top else folder.removeprefix(self.top + "/")
        return "/".join(part.strip() for part in inner.split("/"))

    def images(self) -> Iterator[str]:
        """The paths of all images."""
        return (join(folder, name) for folder, names in self.folders.items() for name in names)

    def without_names(self) -> ImageSet:
        """The same folders, with only the first image of each: it takes less memory."""
        folders = {folder: names[:1] for folder, names in self.folders.items()}
        return self._replace(folders=folders)

    def size(self) -> int:
        """The number of images."""
        return sum(map(len, self.folders.values()))


def is_here(root: Tree, selection: Selection) -> bool:
    """Whether ``recognise.class_folders`` finds folders."""
    del selection
    return bool(class_folders(root))


def open_folder(root: Tree, request: Request) -> Dataset:
    """Open the chosen image sets."""
    if request.selection.images is not None:
        raise ConfigError("images: a folder for each class holds its images; leave images out")
    sets, stray = image_sets(root)
    if not sets:
        raise DataError(f"{root}: there is no image in it; {_LAYOUT}")
    chosen = request.choose_sets(root, "folders", sets, ImageSet.size)
    return FolderDataset(root, sets, list(chosen), stray)


def open_file(path: str, request: Request) -> Dataset:
    """Never: a file is no folder."""
    del request
    raise DataError(f"{path}: this is a file; {_LAYOUT}")


def image_sets(root: Tree) -> tuple[dict[str, ImageSet], list[str]]:
    """All image sets that have images, and the paths of images beside their folders."""
    place = class_root(root)
    every: Folders = {}
    for folder, names in root.listing(place):
        every[folder] = [name for name in names if is_image(name)]
    tops = _tops(every, place)
    if are_sets(tops, lambda name: len(tops[name]) > 1):
        sets = {name: ImageSet(join(place, name), folders) for name, folders in tops.items()}
        return sets, [join(place, name) for name in every.get(place, ())]
    inner = _tops(every, join(place, next(iter(tops), ".")))
    if len(tops) == 1 and are_sets(inner, lambda name: len(inner[name]) > 1):
        below = join(str(root), join(place, next(iter(tops))))
        raise DataError(f"{root}: its image sets are one folder below; give {below}")
    return {"all": ImageSet(place, every)} if any(every.values()) else {}, []


def _tops(every: Folders, place: str) -> dict[str, Folders]:
    """The folders in ``place`` that have images, each with all folders below."""
    tops: dict[str, Folders] = {}
    skipped = 0 if place == "." else place.count("/") + 1
    for folder, names in every.items():
        parts = folder.split("/")
        if folder not in (place, ".") and parts[:skipped] == place.split("/")[:skipped]:
            tops.setdefault(parts[skipped], {})[folder] = names
    return {name: folders for name, folders in tops.items() if any(folders.values())}


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image."""
    return name.lower().endswith(IMAGE_ENDINGS) and not is_hidden(name)


class FolderDataset(Dataset):
    """The ``chosen`` of all image ``sets``. ``stray`` images are in none."""

    labels = "class"

    def __init__(
        self,
        root: Tree,
        sets: dict[str, ImageSet],
        chosen: Sequence[str],
        stray: Sequence[str] = (),
    ) -> None:
        self.root = root
        self._stray = stray
        self.image_sets = list(chosen)
        self._sets = [sets[name] for name in chosen]
        self._images = [StringColumn(one.images()) for one in self._sets]
        self._sets = [one.without_names() for one in self._sets]
        self.counts = [len(images) for images in self._images]
        classes = {
            one.class_of(folder)
            for one in sets.values()
            for folder, names in one.folders.items()
            if names
        } - {""}
        self.classes = sorted(classes, key=lambda name: name.split("/"))
        if not classes:
            raise DataError(f"{root}: no image is in the folder of a class; {_LAYOUT}")

    def problems(self) -> list[Problem]:
        """Images beside the image sets, folders whose classes have the same name, classes without
        an image in a set, and empty folders."""
        return list(self._faults())

    def _faults(self) -> Iterator[Problem]:
        for image in self._stray:
            yield Problem("image-unclassified", "error", image, "error")
        classes = set(self.classes or ())
        for name, one in zip(self.image_sets, self._sets, strict=True):
            named = [(folder, one.class_of(folder)) for folder in one.folders]
            full = [(folder, class_) for folder, class_ in named if one.folders[folder]]
            yield from repeated_classes(one.top, full)
            absent = classes - {class_ for _, class_ in full}
            for class_ in sorted(absent):
                yield Problem("class-absent", "note", name, "kept", field="class", value=class_)
            above = {folder.rpartition("/")[0] for folder in one.folders}
            for folder, class_ in named:
                if class_ and class_ not in classes and folder not in above:
                    yield Problem("class-empty", "note", folder, "left out")

    def tasks(self) -> Iterator[Task]:
        for rank, images in enumerate(self._images):
            for chunk in chunks(len(images)):
                part = images[chunk]
                yield FolderTask(self.root.only(part), rank, part, self._sets[rank].top)

    def look_up(self, file: str) -> tuple[Annotation | None, bytes | None]:
        known = is_image(posixpath.basename(file)) and not unsafe_path(file)
        return None, image_bytes(self.root, ".", file) if known else None


@dataclass(frozen=True)
class FolderTask(Task):
    """Images of the set in the folder ``top``."""

    images: StringColumn
    top: str

    def read(self) -> Iterator[Item]:
        image_set = ImageSet(self.top, {})
        known: dict[str, Annotation] = {}
        with self.root.folder(".") as root:
            for image, head in zip(self.images, root.heads(self.images), strict=True):
                folder = image.rpartition("/")[0] or "."
                if folder not in known:
                    class_ = image_set.class_of(folder)
                    known[folder] = Annotation(names=[class_] if class_ else [], objects=[0])
                if not known[folder].names:
                    yield Item(image, Defect("image-unclassified"))
                    continue
                found = read_image(root, image, head, image)
                if isinstance(found, Defect):
                    yield Item(image, found)
                else:
                    yield Item(image, None, known[folder], image, *found)
