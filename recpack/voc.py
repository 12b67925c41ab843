"""Pascal VOC: annotation bytes → values (pure), and where a devkit keeps its files.

The format is that of the VOC development kits (2005 to 2012) as annotation tools write it today;
tags may stand in any order, and only direct children count: the ``<part>`` boxes of the person
layout task and nested ``<attributes>`` are not objects.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

from recpack.errors import AnnotationError, ConfigError, DataError
from recpack.texts import Texts

MAX_ANNOTATION = 16 << 20
"""Bytes; an annotation of this size would have some 80,000 objects."""

_PARSER = etree.XMLParser(
    resolve_entities=False,
    load_dtd=False,
    no_network=True,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
)
_EDGES = {"xmin": 0, "ymin": 1, "xmax": 2, "ymax": 3}
_FLAGS = {"0": 0, "1": 1}
_PRESENCE = ("-1", "0", "1")


@dataclass(frozen=True, slots=True)
class Defect:
    """A fault inside an annotation that leaves the rest of it readable."""

    code: str
    object: int
    field: str
    value: str


@dataclass(slots=True)
class Annotation:
    """One parsed annotation.

    ``width`` and ``height`` are ``<size>`` in pixels, 0 when missing. Boxes are columns: class
    ``names``, ``boxes`` (xmin, ymin, xmax, ymax in pixels as written, flat), ``difficult`` (0 or
    1) and ``objects``, the number of the ``<object>`` (from 1) that each box belongs to.
    """

    filename: str = ""
    width: float = 0.0
    height: float = 0.0
    names: list[str] = field(default_factory=list)
    boxes: list[float] = field(default_factory=list)
    difficult: list[int] = field(default_factory=list)
    objects: list[int] = field(default_factory=list)
    object_count: int = 0
    defects: list[Defect] = field(default_factory=list)


def parse_annotation(data: bytes) -> Annotation:
    """Annotation bytes → values; the encoding is the one that the bytes declare.

    Raises AnnotationError when nothing can be read (``annotation-malformed``, ``-dtd``,
    ``-not-voc``, ``-too-large``). A fault in one object is a ``Defect`` of the result, and the
    object is left out.
    """
    root = _root(data)
    result = Annotation()
    for child in root:
        tag = child.tag
        if tag == "object":
            result.object_count += 1
            _object(child, result)
        elif tag == "size":
            for side in child:
                if side.tag == "width":
                    result.width = _side(side)
                elif side.tag == "height":
                    result.height = _side(side)
        elif tag == "filename":
            result.filename = (child.text or "").strip()
    return result


def _root(data: bytes) -> etree._Element:
    if len(data) > MAX_ANNOTATION:
        raise AnnotationError("annotation-too-large", "bytes", f"{len(data):,}")
    try:
        root = etree.fromstring(data, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        root = _decoded_root(data, error)
    # the cheap test first: a document type can't hide in an encoding that keeps ASCII as it is
    if (b"<!DOCTYPE" in data or data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and (
        root.getroottree().docinfo.doctype
    ):
        raise AnnotationError("annotation-dtd")
    if root.tag != "annotation":
        raise AnnotationError("annotation-not-voc", "root element", str(root.tag)[:80])
    return root


_DECLARATION = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")


def _decoded_root(data: bytes, error: Exception) -> etree._Element:
    """Parse what libxml2 could not decode: Python knows more encodings, and files that declare
    gb2312 are as a rule written in its superset gb18030."""
    if b"<!DOCTYPE" in data:
        raise AnnotationError("annotation-dtd") from None
    declaration = _DECLARATION.match(data[:200])
    if declaration is not None and declaration[1].lower() not in (b"utf-8", b"utf8"):
        name = declaration[1].decode().lower()
        try:
            text = data[declaration.end() :].decode("gb18030" if name == "gb2312" else name)
            return etree.fromstring(text.encode(), _PARSER)
        except (LookupError, ValueError, etree.XMLSyntaxError):
            pass
    raise AnnotationError("annotation-malformed", "", str(error)[:200]) from None


def _side(element: etree._Element) -> float:
    try:
        return max(float(element.text or ""), 0.0)
    except ValueError:
        return 0.0


def _object(element: etree._Element, result: Annotation) -> None:
    number = result.object_count
    name = None
    difficult = 0
    boxes: list[list[float]] = []
    sound = True
    for child in element:
        tag = child.tag
        if tag == "name":
            name = (child.text or "").strip()
        elif tag == "bndbox":
            box = _box(child, number, result)
            if box is None:
                sound = False
            else:
                boxes.append(box)
        elif tag == "difficult":
            flag = (child.text or "").strip()
            try:
                difficult = _FLAGS[flag]
            except KeyError:
                result.defects.append(Defect("flag-text", number, "difficult", flag[:80]))
    if not name:
        result.defects.append(Defect("name-missing", number, "", ""))
    elif boxes:
        for box in boxes:
            result.names.append(name)
            result.boxes += box
            result.difficult.append(difficult)
            result.objects.append(number)
    elif sound:
        result.defects.append(Defect("box-missing", number, "", ""))


def _box(element: etree._Element, number: int, result: Annotation) -> list[float] | None:
    box: list[float | None] = [None, None, None, None]
    for edge in element:
        place = _EDGES.get(edge.tag)
        if place is None:
            continue
        text = edge.text
        try:
            value = float(text or "")
            # float() takes inf, nan and 1_000 too
            if value - value != 0.0 or "_" in text:
                raise ValueError
        except ValueError:
            result.defects.append(
                Defect("number-bad", number, f"bndbox/{edge.tag}", (text or "").strip()[:80])
            )
            return None
        box[place] = value
    for tag, place in _EDGES.items():
        if box[place] is None:
            result.defects.append(Defect("number-bad", number, f"bndbox/{tag}", "missing"))
            return None
    return box  # type: ignore[return-value]  # every edge is a float by now


@dataclass(frozen=True)
class ImageSet:
    """A list of image ids, and the folders where their files lie.

    ``annotations`` and ``images`` are relative to the data set's root (``.`` for the root).
    """

    annotations: str
    images: str
    ids: Texts


@dataclass(frozen=True)
class Devkit:
    """A data set's root and its image sets in the order asked for."""

    root: Path
    image_sets: list[ImageSet]


def open_devkit(
    path: str | os.PathLike[str],
    *,
    year: str | Sequence[str] | None = None,
    set: str | Sequence[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    annotations: str | os.PathLike[str] | None = None,
) -> Devkit:
    """Find a devkit's folders and read its image sets.

    ``path`` is a devkit (``VOC2007``, ``VOC2012``, … below it), one VOC folder (``Annotations``
    and ``JPEGImages``), a folder with images and annotations side by side, or anything else with
    ``images`` and ``annotations``. ``year`` and ``set`` pair as in the AWS tool: equal lengths,
    or one of them single; the default is every year, and ``trainval`` (every annotation where
    there is no ``ImageSets``).
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    if images is not None and annotations is not None:
        root, folders = _named_folders(root, Path(images), Path(annotations))
    else:
        folders = _found_folders(root, _words(year))
    sets = _words(set) or [""]
    if len(sets) > 1 and len(folders) == 1:
        folders = folders * len(sets)
    if len(sets) == 1:
        sets = sets * len(folders)
    if len(sets) != len(folders):
        raise ConfigError(
            f"set: {len(sets)} image sets ({', '.join(sets)}) do not pair with {len(folders)} "
            "years; give one for all, or one for each"
        )
    return Devkit(
        root, [_image_set(root, *folder, name) for folder, name in zip(folders, sets, strict=True)]
    )


def _words(value: str | Sequence[str] | None) -> list[str]:
    if value is None:
        return []
    if isinstance(value, (str, int)):
        value = str(value).split(",")
    return [word.strip() for word in map(str, value) if word.strip()]


def _found_folders(root: Path, years: list[str]) -> list[tuple[str, str, str]]:
    """(annotations, images, image sets) of each year, relative to the root."""
    if (root / "Annotations").is_dir():
        if years:
            raise ConfigError(f"year: {root} is one VOC folder and has no years below it")
        return [_voc_folders("")]
    found = sorted(entry.name[3:] for entry in root.glob("VOC[0-9]*") if entry.is_dir())
    missing = [year for year in years if year not in found]
    if missing:
        raise DataError(
            f"{root}: no folder VOC{missing[0]}; "
            + (f"there are years {', '.join(found)}" if found else "there is no VOC<year> folder")
        )
    if found:
        return [_voc_folders(f"VOC{year}/") for year in years or found]
    if any(root.glob("*.xml")):
        return [(".", ".", "")]
    if (root / "VOCdevkit").is_dir():
        raise DataError(f"{root}: the devkit is the folder below, {root / 'VOCdevkit'}")
    raise DataError(
        f"{root}: no VOC<year> folder, no Annotations folder and no *.xml; name the folders "
        "with --images and --annotations"
    )


def _voc_folders(prefix: str) -> tuple[str, str, str]:
    return prefix + "Annotations", prefix + "JPEGImages", prefix + "ImageSets/Main"


def _named_folders(
    root: Path, images: Path, annotations: Path
) -> tuple[Path, list[tuple[str, str, str]]]:
    """Each folder as given below the root or, failing that, below the working directory. Paths in
    the list are relative to the root, or to the images when they lie elsewhere."""
    resolved = []
    for name, folder in (("images", images), ("annotations", annotations)):
        choices = [choice for choice in (root / folder, folder) if choice.is_dir()]
        if not choices:
            raise DataError(f"{name}: no folder {folder} below {root} or here")
        resolved.append(Path(os.path.abspath(choices[0])))
    if not resolved[0].is_relative_to(os.path.abspath(root)):
        root = resolved[0]
    relative = [os.path.relpath(folder, os.path.abspath(root)) for folder in resolved]
    sets = os.path.join(os.path.dirname(relative[1]), "ImageSets", "Main")
    return root, [(relative[1], relative[0], sets)]


def _image_set(root: Path, annotations: str, images: str, sets: str, name: str) -> ImageSet:
    for folder in (annotations, images):
        if not (root / folder).is_dir():
            raise DataError(f"{root / folder}: no such folder")
    choices_folder = root / sets if sets else None
    if choices_folder is None or not choices_folder.is_dir():
        if name and not (file := Path(name)).is_file():
            raise DataError(f"set: there is no {root / (sets or 'ImageSets')} and no file {name}")
        ids = Texts(
            read_image_set(file, root / annotations) if name else _all_ids(root / annotations)
        )
    else:
        file = choices_folder / f"{name or 'trainval'}.txt"
        if not file.is_file():
            choices = (
                ", ".join(sorted(entry.stem for entry in choices_folder.glob("*.txt"))) or "none"
            )
            raise DataError(f"{file}: no such image set; choose with --set from: {choices}")
        ids = Texts(read_image_set(file, root / annotations))
    if not ids:
        raise DataError(f"{root / annotations}: no annotations are chosen")
    return ImageSet(annotations, images, ids)


def _all_ids(annotations: Path) -> list[str]:
    return sorted(
        entry.name[:-4]
        for entry in os.scandir(annotations)
        if entry.name.endswith(".xml") and not entry.name.startswith(".")
    )


def read_image_set(file: Path, annotations: Path) -> Iterator[str]:
    """The ids of an ``ImageSets/Main`` file: ``id`` or ``id flag`` a line.

    A last column of exactly -1, 0 or 1 is a flag, unless the whole line names a file in
    ``annotations``; ids flagged -1 (the class is absent) are left out. Ids may hold spaces.
    """
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for line in map(str.strip, lines):
                id_, _, flag = line.replace("\t", " ").rpartition(" ")
                if not (id_ and flag in _PRESENCE) or (annotations / f"{line}.xml").exists():
                    if line:
                        yield line
                elif flag != "-1":
                    yield id_.rstrip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: can't be read: {error}") from error
