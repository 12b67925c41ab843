"""One file of COCO's JSON: images, objects and categories as they are in the file → entries.

See ``coco`` for the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from recpack.data.annotation import Annotation, Defect, is_rotated
from recpack.errors import DataError
from recpack.problems import Problem
from recpack.sources.document import Entry, below, decode_document

_Id = int | str


class _Image(msgspec.Struct):
    id: _Id
    file_name: str
    width: float | None = None
    height: float | None = None


class _Attributes(msgspec.Struct):
    """What CVAT and datumaro add; other tools have other things of this name."""

    rotation: Any = None


class _Object(msgspec.Struct):
    image_id: _Id
    id: _Id = 0
    category_id: _Id | None = None
    bbox: list[float] | None = None
    iscrowd: int | bool | None = 0
    attributes: _Attributes | list[Any] | str | float | bool | None = None


class _Category(msgspec.Struct):
    id: _Id
    name: str | int
    supercategory: Any = None


class _Document(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Object]


class _FiniteObject(_Object):
    bbox: list[Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]] | None = None  # no "nan"


class _LenientDocument(_Document):
    annotations: list[_FiniteObject]  # type: ignore[assignment]  # they are only read


class _Outline(msgspec.Struct):
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class _Outlines(msgspec.Struct):
    annotations: list[_Outline]


_DECODER = msgspec.json.Decoder(_Document)
_LENIENT: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_LenientDocument, strict=False)
"""Takes numbers in quotes, as spreadsheets and JavaScript write them."""
_OUTLINES = msgspec.json.Decoder(_Outlines)
_POLYGONS = msgspec.json.Decoder(list[list[float]])


class CocoFile:
    """A file's bytes, decoded; ``name`` is for messages. ``categories``: id → name, in the order of
    the ids · ``placeholder``: the id of a category that only groups the others. Raises DataError
    for what is not COCO."""

    def __init__(self, data: bytes, name: str) -> None:
        self.document = decode_document(data, name, _DECODER, _LENIENT)
        self.categories = _categories(self.document, name)
        self.placeholder = _placeholder(self.document, self.categories)
        # the bounds of objects without a box, by position in the file
        self._polygons: dict[int, list[float]] = {}
        if not all(one.bbox for one in self.document.annotations):
            outlines = decode_document(data, name, _OUTLINES).annotations
            for position, one in enumerate(self.document.annotations):
                if not one.bbox:
                    self._polygons[position] = _bounds(outlines[position].segmentation)

    def entries(self, folder: str) -> list[Entry]:
        """One entry for each image file below ``folder``. A file with several ids has the objects
        of all, and a defect, because nobody knows whether they belong together."""
        by_path: dict[str, Annotation] = {}
        by_id: dict[_Id, Annotation] = {}
        paths = [below(folder, image.file_name) for image in self.document.images]
        for image, path in zip(self.document.images, paths, strict=True):
            annotation = by_path.get(path)
            if annotation is None:
                annotation = Annotation(image.file_name, image.width or 0.0, image.height or 0.0)
                by_path[path] = annotation
            by_id.setdefault(image.id, annotation)
        for position, one in enumerate(self.document.annotations):
            image_id = _as_defined(one.image_id, by_id)
            if image_id is not None:
                _add(by_id[image_id], one, self.categories, self._polygons.get(position))
        repeated = _repeated([image.id for image in self.document.images], paths)
        return [Entry(path, path, one, repeated.get(path)) for path, one in by_path.items()]

    def faults(self, file: str) -> list[Problem]:
        """Problems of the whole file that pycocotools ignores silently."""
        seen: set[_Id] = set()
        faults = []
        for image in self.document.images:
            if image.id in seen:
                value = f"{image.id} ({image.file_name})"
                faults.append(Problem("id-repeated", "error", file, "error", 0, "id", value))
            seen.add(image.id)
        for one in self.document.annotations:
            if _as_defined(one.image_id, seen) is None:
                number = int(one.id) if isinstance(one.id, int) else 0
                value = str(one.image_id)
                faults.append(
                    Problem("image-unlisted", "error", file, "error", number, "image_id", value)
                )
        return faults


def _bounds(segmentation: msgspec.Raw) -> list[float]:
    """Left, top, width, height of polygons; empty for a mask and for what has no area."""
    try:
        polygons = _POLYGONS.decode(segmentation)
    except msgspec.DecodeError:
        return []
    x = [value for polygon in polygons for value in polygon[::2]]
    y = [value for polygon in polygons for value in polygon[1::2]]
    if not x or len(x) != len(y):
        return []
    width, height = max(x) - min(x), max(y) - min(y)
    return [min(x), min(y), width, height] if width and height else []


def _categories(document: _Document, file: str) -> dict[_Id, str]:
    categories = {}
    for category in document.categories:
        name = str(category.name).strip()
        if not name or category.id in categories:
            raise DataError(f"{file}: category {category.id} has no name, or appears twice")
        categories[category.id] = name
    try:
        return dict(sorted(categories.items()))
    except TypeError:
        raise DataError(f"{file}: category ids are numbers and strings; use one kind") from None


def _placeholder(document: _Document, categories: Mapping[_Id, str]) -> _Id | None:
    """The category that only groups, as in Roboflow's exports: all others name it as their
    ``supercategory``, and no object has it."""
    above = {one.id: str(one.supercategory).strip() for one in document.categories}
    members = Counter(above.values())
    groups = [
        id_
        for id_, name in categories.items()
        if name != above[id_] and members[name] == len(categories) - 1 > 0
    ]
    if len(groups) != 1:
        return None
    used = {one.category_id for one in document.annotations}
    return None if groups[0] in {_as_defined(id_, categories) for id_ in used} else groups[0]


def _as_defined(id_: _Id | None, defined: Container[_Id]) -> _Id | None:
    """An id as the file defines it: ``"1"`` is 1 where there is no ``"1"``. None for others."""
    if id_ is None or id_ in defined:
        return id_
    if isinstance(id_, int):
        other: _Id = str(id_)
    else:
        other = int(id_) if id_.isascii() and id_.isdecimal() and len(id_) < 19 else id_
    return other if other in defined else None


def _repeated(ids: Sequence[_Id], paths: Sequence[str]) -> dict[str, Defect]:
    """The defects of image files with several ids, and of ids with several image files."""
    if len(ids) == len(set(ids)) == len(set(paths)):
        return {}
    ids_of: dict[str, list[_Id]] = {}
    paths_of: dict[_Id, list[str]] = {}
    for id_, path in zip(ids, paths, strict=True):
        ids_of.setdefault(path, []).append(id_)
        paths_of.setdefault(id_, []).append(path)
    found = {}
    for path, several in ids_of.items():
        others = paths_of[several[0]]
        if len(several) > 1:
            found[path] = Defect("image-repeated", 0, "id", ", ".join(map(str, several)))
        elif len(others) > 1:
            found[path] = Defect("image-repeated", 0, "file_name", ", ".join(others))
    return found


def _add(
    annotation: Annotation, one: _Object, categories: Mapping[_Id, str], polygon: list[float] | None
) -> None:
    """Add one object. Its number in problems is its ``id`` where that is a positive integer."""
    annotation.object_count += 1
    usable = isinstance(one.id, int) and one.id > 0
    number = int(one.id) if usable else annotation.object_count
    box = one.bbox or polygon
    if box is None or len(box) != 4:
        value = f"{len(box)} numbers" if box else "missing"
        annotation.defects.append(Defect("box-missing", number, "bbox", value))
        return
    category = _as_defined(one.category_id, categories)
    if category is None:
        code = "class-missing" if one.category_id is None else "class-undefined"
        value = "null" if one.category_id is None else str(one.category_id)
        annotation.defects.append(Defect(code, number, "category_id", value))
        return
    if polygon:
        annotation.defects.append(Defect("box-from-polygon", number))
    elif isinstance(one.attributes, _Attributes) and is_rotated(one.attributes.rotation):
        value = str(one.attributes.rotation)[:80]
        annotation.defects.append(Defect("box-rotated", number, "rotation", value))
        return
    left, top, width, height = box
    annotation.names.append(categories[category])
    annotation.boxes += (left, top, left + width, top + height)
    annotation.difficult.append(int(bool(one.iscrowd)))
    annotation.objects.append(number)
