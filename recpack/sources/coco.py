"""COCO's JSON for object detection: ``images``, ``annotations``, ``categories``.

Source: cocodataset.org/#format-data. Boxes are left, top, width, height in pixels from 0. Category
ids can have gaps, so class ids number the categories from 0 in the order of the category ids. A
category that only groups the others (Roboflow) is no class. An id in quotes is the number where
the file has no such string. A crowd (``iscrowd``) counts as difficult. The file is read in one
piece; its segmentations are read only if an object has no box.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence

from recpack.errors import DataError
from recpack.problems import Problem
from recpack.sources.coco_document import CocoFile
from recpack.sources.document import DocumentDataset, Entry, Images
from recpack.sources.request import Request
from recpack.sources.selection import Selection
from recpack.storage.paths import base_name
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.base import Tree
from recpack.storage.trees.open import open_tree

_FOLDER = "annotations"
_PREFIX = "instances_"
_ROBOFLOW = "_annotations.coco.json"

ENDINGS = (".json",)


def is_here(root: Tree, selection: Selection) -> bool:
    """Whether ``coco_files`` finds files."""
    del selection
    return bool(coco_files(root))


def open_folder(root: Tree, request: Request) -> DocumentDataset:
    """Open the chosen image sets."""
    files = request.choose_sets(root, "coco", coco_files(root))
    return open_coco(root, files, request.images(root), request.class_names)


def open_file(path: str, request: Request) -> DocumentDataset:
    """Open one image set by its file."""
    folder, name = posixpath.split(path)
    root = open_tree(folder or ".", request.s3)
    if base_name(folder if is_s3(path) else os.path.abspath(folder)) == _FOLDER:
        above = posixpath.dirname(folder) if is_s3(path) else os.path.join(folder or ".", "..")
        root = open_tree(above, request.s3)
        name = f"{_FOLDER}/{name}"
    label = base_name(name).removesuffix(".json").removeprefix(_PREFIX)
    return open_coco(root, {label: name}, request.images(root), request.class_names)


def coco_files(root: Tree) -> dict[str, str]:
    """The image sets of a folder: name → file. The files are ``annotations/instances_<set>.json``,
    else any ``annotations/*.json``, else one ``_annotations.coco.json`` in each set's folder."""
    folders = root.folders(".")
    if _FOLDER in folders:
        names = [name for name in root.files(_FOLDER) if name.endswith(".json")]
        names = [name for name in names if name.startswith(_PREFIX)] or names
        return {name[:-5].removeprefix(_PREFIX): f"{_FOLDER}/{name}" for name in names}
    found = {
        folder: f"{folder}/{_ROBOFLOW}"
        for folder in folders
        if root.is_file(f"{folder}/{_ROBOFLOW}")
    }
    return found or ({"all": _ROBOFLOW} if root.is_file(_ROBOFLOW) else {})


def open_coco(
    root: Tree, files: dict[str, str], images: Images, chosen: Sequence[str] = ()
) -> DocumentDataset:
    """Open image sets of a COCO data set; ``files`` maps their names to paths below ``root``;
    ``chosen`` are classes that the user names.

    Where ``images`` has no chosen folder, the images are in the folder named like the set, in
    ``images``, or beside the file: the first of these that holds one of the first images. Raises
    DataError for a file that is not COCO, or whose images are not found.
    """
    found: dict[str, list[Entry]] = {}
    names: dict[str, None] = {}
    classes = set(chosen)
    faults: list[Problem] = []
    groups: list[Problem] = []
    for name, file in files.items():
        path = posixpath.join(str(root), file)
        one = CocoFile(_read(root, file, path), path)
        names.update(dict.fromkeys(one.categories.values()))
        classes |= {name for id_, name in one.categories.items() if id_ != one.placeholder}
        if one.placeholder is not None:
            group = one.categories[one.placeholder]
            groups.append(
                Problem("class-placeholder", "note", file, "dropped class", 0, "name", group)
            )
        choices = [name, f"images/{name}", "images", posixpath.dirname(file) or ".", "."]
        first = [image.file_name for image in one.document.images[:3]]
        found[name] = one.entries(images.find_folder(choices, first, path))
        faults += one.faults(file)
    # what only groups in one file can be a class in another
    faults += [problem for problem in groups if problem.value not in classes]
    return DocumentDataset(images.root, found, [name for name in names if name in classes], faults)


def _read(root: Tree, file: str, path: str) -> bytes:
    try:
        with root.folder(".") as folder, folder.open(file) as stream:
            return stream.read(0, stream.size)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
