"""COCO's JSON for object detection: ``images``, ``annotations``, ``categories``.

Source: cocodataset.org/#format-data. Boxes are left, top, width, height in pixels from 0. Category
ids can have gaps, so class ids number the categories from 0 in the order of the category ids. A
crowd (``iscrowd``) counts as difficult. The file is read in one piece, without its segmentations.
"""

from __future__ import annotations

import os
import posixpath

import msgspec

from recpack.data.annotation import Annotation, Defect
from recpack.errors import DataError
from recpack.problems import Problem
from recpack.sources.base import set_missing
from recpack.sources.document import DocumentDataset, Entry, Images, below, decode_document
from recpack.sources.request import Request
from recpack.sources.selection import Selection
from recpack.storage.paths import base_name
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.base import Tree

_FOLDER = "annotations"
_PREFIX = "instances_"
_ROBOFLOW = "_annotations.coco.json"


class _Image(msgspec.Struct):
    id: int | str
    file_name: str
    width: float | None = None
    height: float | None = None


class _Object(msgspec.Struct):
    image_id: int | str
    id: int | str = 0
    category_id: int | str | None = None
    bbox: list[float] | None = None
    iscrowd: int | bool | None = 0


class _Category(msgspec.Struct):
    id: int | str
    name: str


class _Document(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Object]


_DECODER = msgspec.json.Decoder(_Document)


ENDINGS = (".json",)


def is_here(root: Tree, selection: Selection) -> bool:
    """Whether ``coco_files`` finds files."""
    del selection
    return bool(coco_files(root))


def open_folder(root: Tree, request: Request) -> DocumentDataset:
    """Open the chosen image sets."""
    files = request.choose_sets(root, "coco", coco_files(root))
    return open_coco(root, files, request.images(root), lenient=request.lenient)


def open_file(path: str, request: Request) -> DocumentDataset:
    """Open one image set by its file."""
    folder, name = posixpath.split(path)
    root = request.open_tree(folder or ".")
    if base_name(folder if is_s3(path) else os.path.abspath(folder)) == _FOLDER:
        above = posixpath.dirname(folder) if is_s3(path) else os.path.join(folder or ".", "..")
        root = request.open_tree(above)
        name = f"{_FOLDER}/{name}"
    label = base_name(name).removesuffix(".json").removeprefix(_PREFIX)
    return open_coco(root, {label: name}, request.images(root))


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
    root: Tree, files: dict[str, str], images: Images, *, lenient: bool = False
) -> DocumentDataset:
    """Open image sets of a COCO data set; ``files`` maps their names to paths below ``root``.

    Where ``images`` has no chosen folder, the images are in the folder named like the set, in
    ``images``, or beside the file: the first of these that holds one of the first images. Raises
    DataError for a file that is not COCO, or whose images are not found; ``lenient``
    leaves out such a set where there is another.
    """
    found: dict[str, list[Entry]] = {}
    folders: dict[str, str] = {}
    names: dict[str, None] = {}
    faults: list[Problem] = []
    for name, file in files.items():
        path = posixpath.join(str(root), file)
        document = _read(root, file, path)
        categories = _categories(document, path)
        names.update(dict.fromkeys(categories.values()))
        choices = [name, f"images/{name}", "images", posixpath.dirname(file) or ".", "."]
        first = [image.file_name for image in document.images[:3]]
        try:
            folders[name] = images.find_folder(choices, first, path)
        except DataError as error:
            if not lenient or (name == list(files)[-1] and not found):
                raise
            faults.append(set_missing(name, error))
            continue
        found[name] = _entries(document, folders[name], categories)
        faults += _faults(document, file)
    return DocumentDataset(images.root, found, list(names), faults, folders)


def _read(root: Tree, file: str, path: str) -> _Document:
    try:
        with root.folder(".") as folder, folder.open(file) as stream:
            data = stream.read(0, stream.size)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    return decode_document(_DECODER, data, path)


def _categories(document: _Document, file: str) -> dict[int | str, str]:
    categories = {}
    for category in document.categories:
        name = category.name.strip()
        if not name or category.id in categories:
            raise DataError(f"{file}: category {category.id} has no name, or appears twice")
        categories[category.id] = name
    try:
        return dict(sorted(categories.items()))
    except TypeError:
        raise DataError(f"{file}: category ids are numbers and strings; use one kind") from None


def _entries(document: _Document, folder: str, categories: dict[int | str, str]) -> list[Entry]:
    found: dict[int | str, Annotation] = {}
    entries = []
    for image in document.images:
        path = below(folder, image.file_name)
        annotation = Annotation(image.file_name, image.width or 0.0, image.height or 0.0)
        found.setdefault(image.id, annotation)
        entries.append(Entry(path, path, annotation))
    for one in document.annotations:
        if one.image_id in found:
            _add(found[one.image_id], one, categories)
    return entries


def _add(annotation: Annotation, one: _Object, categories: dict[int | str, str]) -> None:
    """Add one object. Its number in problems is its ``id`` where that is a positive integer."""
    annotation.object_count += 1
    usable = isinstance(one.id, int) and one.id > 0
    number = int(one.id) if usable else annotation.object_count
    if one.bbox is None or len(one.bbox) != 4:
        value = "" if one.bbox is None else f"{len(one.bbox)} numbers"
        annotation.defects.append(Defect("box-missing", number, "bbox", value))
        return
    left, top, width, height = one.bbox
    name = categories.get(one.category_id, "") if one.category_id is not None else ""
    annotation.names.append(name or f"category_id {one.category_id}")
    annotation.boxes += (left, top, left + width, top + height)
    annotation.difficult.append(int(bool(one.iscrowd)))
    annotation.objects.append(number)


def _faults(document: _Document, file: str) -> list[Problem]:
    """Problems that pycocotools ignores silently."""
    seen: set[int | str] = set()
    faults = []
    for image in document.images:
        if image.id in seen:
            value = f"{image.id} ({image.file_name})"
            faults.append(Problem("id-repeated", "error", file, "error", field="id", value=value))
        seen.add(image.id)
    for one in document.annotations:
        if one.image_id not in seen:
            number = int(one.id) if isinstance(one.id, int) else 0
            value = str(one.image_id)
            faults.append(
                Problem("image-unlisted", "error", file, "error", number, "image_id", value)
            )
    return faults
