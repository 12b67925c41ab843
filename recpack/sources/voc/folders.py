"""Where Pascal VOC's folders are: annotations, images and image sets."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recpack.display import did_you_mean
from recpack.errors import ConfigError, DataError
from recpack.formats.image_header import IMAGE_ENDINGS
from recpack.sources.recognise import ANNOTATIONS, SET_FOLDER, holds_xml, named, only_images
from recpack.sources.selection import Selection
from recpack.storage.trees.base import Tree, join
from recpack.storage.trees.local import LocalTree

_IMAGES = ("jpegimages", "images", "imgs", "img", "data")
_DEVKIT = re.compile("ImageSets$|VOC[0-9]")

Folders = tuple[str, str, str]
"""Annotations, images and image sets, relative to the root; ``""`` for no image sets."""


def has_annotations(root: Tree, selection: Selection) -> bool:
    """Whether there are XML files of Pascal VOC in one of the known places."""
    folder = _annotation_folder(root, ".")
    if holds_xml(root, ".") or (folder is not None and holds_xml(root, folder)):
        return True
    return bool(set_folders(root, selection))


def set_folders(root: Tree, selection: Selection) -> dict[str, Folders]:
    """The image sets that are folders of their own, by name: ``train``, ``valid`` with annotations
    and images in them, or ``Annotations/train`` and ``images/train``. None where the annotations
    are together, or ``selection`` names folders."""
    if selection.images is not None or any(map(_DEVKIT.match, root.folders("."))):
        return {}
    folder = _annotation_folder(root, ".")
    if folder is not None:
        return {} if holds_xml(root, folder) else _inner_sets(root, folder)
    return {} if holds_xml(root, ".") else _sets_beside(root)


def _inner_sets(root: Tree, annotations: str) -> dict[str, Folders]:
    images = _image_folder(root, ".")
    found = {}
    for name in root.folders(annotations):
        folder, inside = join(annotations, name), join(images, name)
        if SET_FOLDER.match(name) and holds_xml(root, folder) and root.is_folder(inside):
            found[name] = folder, inside, ""
    return found


def _sets_beside(root: Tree) -> dict[str, Folders]:
    found = {}
    for name in filter(SET_FOLDER.match, root.folders(".")):
        # not by a listing: on S3, that of another format's images takes many requests
        inner = [join(name, inside) for inside in ("Annotations", "annotations")]
        folder = next((folder for folder in [name, *inner] if holds_xml(root, folder)), None)
        if folder is not None:
            images = name if folder == name else _image_folder(root, name)
            found[name] = folder, images, ""
    return found


def _annotation_folder(root: Tree, folder: str) -> str | None:
    """``Annotations`` in any case, or ``labels`` (FiftyOne) or ``xmls`` that have XML files."""
    folders = root.folders(folder)
    name = named(folders, ANNOTATIONS)
    if name is None:
        name = named(folders, "labels", "xmls", "xml")
        if name is None or not holds_xml(root, join(folder, name)):
            return None
    return join(folder, name)


def _image_folder(root: Tree, folder: str) -> str:
    """The images that belong to ``Annotations``: in a folder beside it, or beside it."""
    folders = root.folders(folder)
    name = named(folders, *_IMAGES)
    if name is not None:
        return join(folder, name)
    holding = [inner for inner in folders if _holds_image(root, join(folder, inner))]
    if len(holding) == 1:
        return join(folder, holding[0])
    return folder if _holds_image(root, folder) else join(folder, "JPEGImages")


def _holds_image(root: Tree, folder: str) -> bool:
    return any(name.lower().endswith(IMAGE_ENDINGS) for name in root.some_files(folder))


def _folders_in(root: Tree, folder: str) -> Folders:
    """The folders of one year, or of a root without years."""
    annotations = _annotation_folder(root, folder) or join(folder, "Annotations")
    return annotations, _image_folder(root, folder), _sets_folder(root, folder)


def _sets_folder(root: Tree, folder: str) -> str:
    """``ImageSets/Main``; or ``ImageSets``, where the lists are in it."""
    above = join(folder, "ImageSets")
    main = join(above, "Main")
    if "ImageSets" not in root.folders(folder) or root.is_folder(main):
        return main
    return above if any(name.endswith(".txt") for name in root.files(above)) else main


def find_folders(root: Tree, years: Sequence[str]) -> list[Folders]:
    """The folders of each year."""
    annotations = _annotation_folder(root, ".")
    if annotations is not None and (annotations == "Annotations" or holds_xml(root, annotations)):
        if years:
            raise ConfigError(f"year: {root} is one VOC folder without years; leave year out")
        return [_folders_in(root, ".")]
    folders = root.folders(".")
    found = [name[3:] for name in folders if re.match(r"VOC[0-9]", name)]
    missing = [year for year in years if year not in found]
    if missing:
        raise DataError(
            f"{root}: no folder VOC{missing[0]}; "
            + (f"the years are {', '.join(found)}" if found else "there is no VOC<year> folder")
            + did_you_mean(missing[0], found)
        )
    if found:
        return [_folders_in(root, f"VOC{year}") for year in years or found]
    if any(name.endswith(".xml") for name in root.files(".")):
        return [(".", ".", "")]
    if not folders and not root.files("."):
        raise DataError(f"{root}: it is empty")
    inner = "VOCdevkit" if "VOCdevkit" in folders else folders[0] if len(folders) == 1 else None
    if inner is not None and not only_images(root.some_files(inner)):
        if root.wrapped:
            raise DataError(f"{root}: make the archive again of what its folder {inner} holds")
        raise DataError(f"{root}: give the folder in it, {join(str(root), inner)}")
    raise DataError(
        f"{root}: no VOC<year> folder, no Annotations folder and no *.xml; name the folders "
        "with --images and --annotations, or name another format with --from (it does not look "
        "like COCO, YOLO, image JSON or a folder for each class)"
    )


def resolve_folders(root: Tree, images: str, annotations: str) -> tuple[Tree, list[Folders]]:
    """Find each folder below the root, else below the working directory. The new root is the
    images' folder when that is outside ``root``; paths in the list are relative to the new root."""
    if not isinstance(root, LocalTree):
        relative = [images.strip("/"), annotations.strip("/")]
        for name, folder in zip(("images", "annotations"), relative, strict=True):
            if not root.is_folder(folder):
                found = ", ".join(root.folders(".")) or "none"
                raise DataError(
                    f"{name}: no folder {folder} below {root}; the folders are: {found}"
                )
    else:
        base = Path(str(root))
        resolved = []
        for name, path in (("images", Path(images)), ("annotations", Path(annotations))):
            choices = [choice for choice in (base / path, path) if choice.is_dir()]
            if not choices:
                raise DataError(f"{name}: no folder {path} below {root} or the working directory")
            resolved.append(Path(os.path.abspath(choices[0])))
        if not resolved[0].is_relative_to(base):
            base = resolved[0]
        root = replace(root, root=os.fspath(base))
        relative = [os.path.relpath(folder, base) for folder in resolved]
    lists = os.path.join(os.path.dirname(relative[1]), "ImageSets")
    sets = os.path.join(lists, "Main")
    return root.naming(*relative, lists), [(relative[1], relative[0], sets)]
