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
from functools import partial

import msgspec

from recpack.errors import DataError
from recpack.problems import Problem
from recpack.sources.base import repeated_classes, set_missing
from recpack.sources.coco_document import CocoFile
from recpack.sources.document import (
    DocumentDataset,
    Entry,
    Images,
    read_document,
    without_mark,
)
from recpack.sources.recognise import (
    ANNOTATIONS,
    MOST_DOCUMENTS,
    SET_FOLDER,
    coco_documents,
    holds,
    named,
    refuse,
)
from recpack.sources.request import Request
from recpack.sources.selection import Selection
from recpack.storage.paths import base_name
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.base import Tree, join

_PREFIXES = ("instances_", "person_keypoints_", "stuff_")
_ROBOFLOW = "_annotations.coco.json"

_WORTH_COUNTING = 64 << 20
"""Bytes of a file that is not chosen, at most, to count its images."""


class _ImagesOnly(msgspec.Struct):
    images: list[msgspec.Raw]


_COUNTER = msgspec.json.Decoder(_ImagesOnly)

ENDINGS = (".json",)


def is_here(root: Tree, selection: Selection) -> bool:
    """Whether ``coco_files`` finds files."""
    del selection
    return bool(coco_files(root))


def open_folder(root: Tree, request: Request) -> DocumentDataset:
    """Open the chosen image sets."""
    every = coco_files(root)
    files = request.choose_sets(root, "coco", every, partial(_count_images, root))
    dataset = open_coco(
        root, files, request.images(root), request.class_names, lenient=request.lenient
    )
    others = (folder for name in every for folder in (name, f"images/{name}"))
    dataset.parts = {*every.values(), *dataset.folders.values(), *others}
    return dataset


def open_file(path: str, request: Request) -> DocumentDataset:
    """Open one image set by its file."""
    folder, name = posixpath.split(path)
    root = request.open_tree(folder or ".")
    inner = base_name(folder if is_s3(path) else os.path.abspath(folder))
    if inner.lower() == ANNOTATIONS:
        above = posixpath.dirname(folder) if is_s3(path) else os.path.join(folder or ".", "..")
        root = request.open_tree(above)
        name = f"{inner}/{name}"
    refuse(root, name)
    files = {_label(base_name(name)): name}
    return open_coco(root, files, request.images(root), request.class_names)


def coco_files(root: Tree) -> dict[str, str]:
    """The image sets of a folder: name → file. The files are those of ``annotations`` (in any
    case): ``instances_<set>.json``, else other names of COCO's, else any file that is COCO. Else
    they are in a folder for each set, ``train`` or ``valid``, else in the root."""
    folders = root.folders(".")
    folder = named(folders, ANNOTATIONS)
    found = _files(root, folder) if folder is not None else {}
    if not found:
        for name in folders:
            if SET_FOLDER.match(name):
                roboflow = holds(root, f"{name}/{_ROBOFLOW}")
                inside = [_ROBOFLOW] if roboflow else coco_documents(root, name)
                found |= {name: f"{name}/{inside[0]}"} if len(inside) == 1 else {}
    if not found and root.is_file(_ROBOFLOW):
        return {"all": _ROBOFLOW}
    return found or _files(root, ".")


def _files(root: Tree, folder: str) -> dict[str, str]:
    names = [name for name in root.files(folder) if name.endswith(".json")]
    standard = ([name for name in names if name.startswith(prefix)] for prefix in _PREFIXES)
    chosen = next(filter(None, standard), None) or coco_documents(root, folder)
    return {_label(name): join(folder, name) for name in chosen}


def _label(file: str) -> str:
    """The name of the image set: the file's, without what COCO and the format write around it."""
    name = file.removesuffix(".json")
    prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
    return name.removeprefix(prefix)


def open_coco(
    root: Tree,
    files: dict[str, str],
    images: Images,
    chosen: Sequence[str] = (),
    *,
    lenient: bool = False,
) -> DocumentDataset:
    """Open image sets of a COCO data set; ``files`` maps their names to paths below ``root``;
    ``chosen`` are classes that the user names.

    Where ``images`` has no chosen folder, the images are in the folder named like the set, in
    ``images``, beside the file, or in the only other folder of the root: the first of these that
    holds one of the first images. Raises DataError for a file that is not COCO, or whose images are
    not found; ``lenient`` leaves out such a set where there is another.
    """
    found: dict[str, list[Entry]] = {}
    folders: dict[str, str] = {}
    names: dict[str, None] = {}
    classes = set(chosen)
    faults: list[Problem] = []
    groups: list[Problem] = []
    for name, file in files.items():
        path = posixpath.join(str(root), file)
        one = CocoFile(read_document(root, file), path)
        likely, others = _image_folders(root, name, posixpath.dirname(file) or ".")
        first = [image.file_name for image in one.document.images[:3]]
        try:
            folders[name] = images.find_folder(likely, first, path, others)
        except DataError as error:
            if not lenient or (name == list(files)[-1] and not found):
                raise
            faults.append(set_missing(file, name, str(error)))
            continue
        names.update(dict.fromkeys(one.categories.values()))
        members = [pair for pair in one.categories.items() if pair[0] != one.placeholder]
        classes |= {name for _, name in members}
        if one.placeholder is not None:
            group = one.categories[one.placeholder]
            groups.append(
                Problem("class-placeholder", "note", file, "dropped class", 0, "name", group)
            )
        faults += repeated_classes(file, members)
        found[name] = one.entries(folders[name])
        faults += one.faults(file)
    # what only groups in one file can be a class in another
    faults += [problem for problem in groups if problem.value not in classes]
    known = [name for name in names if name in classes]
    return DocumentDataset(images.root, found, known, faults, folders)


def _image_folders(root: Tree, name: str, beside: str) -> tuple[list[str], list[str]]:
    """The folders that can hold the images of a set: likely ones in their order, and others."""
    inner = [join(beside, folder) for folder in ("images", "data")] if beside != "." else []
    likely = [name, f"images/{name}", "images", beside, ".", *inner]
    others = [folder for folder in root.folders(".") if folder not in likely]
    return likely, others[:MOST_DOCUMENTS]


def _count_images(root: Tree, file: str) -> int | None:
    with root.folder(".") as folder, folder.open(file) as stream:
        if stream.size > _WORTH_COUNTING:
            return None
        return len(_COUNTER.decode(without_mark(stream.read(0, stream.size))).images)
