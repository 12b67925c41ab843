"""Where a Pascal VOC devkit keeps its files: years, folders, image sets."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from recpack.columns import StringColumn
from recpack.errors import ConfigError, DataError
from recpack.sources.selection import Selection
from recpack.storage.files import text_lines
from recpack.storage.trees.base import Tree, join
from recpack.storage.trees.local import LocalTree

_PRESENCE = ("-1", "0", "1")


@dataclass(frozen=True)
class ImageSet:
    """A list of image ids, and the folders with their files.

    ``name`` is unique (``VOC2007 train``). ``annotations`` and ``images`` are relative to the data
    set's root (``.`` is the root).
    """

    name: str
    annotations: str
    images: str
    ids: StringColumn


@dataclass(frozen=True)
class Devkit:
    """A data set's root and the chosen image sets, in the order of the choice. ``missing`` are sets
    that were left out, with the reason."""

    root: Tree
    image_sets: list[ImageSet]
    missing: Mapping[str, DataError] = field(default_factory=dict)


def open_devkit(root: Tree, selection: Selection, *, every_set: bool = False) -> Devkit:
    """Find a devkit's folders and read its image sets.

    ``root`` is a folder or archives: a devkit (with ``VOC2007``, ``VOC2012``, …), one VOC folder
    (with ``Annotations`` and ``JPEGImages``), a folder with images beside their annotations, or
    anything else with ``selection.images`` and ``selection.annotations``. ``year`` and ``set`` pair
    as in the AWS tool: they have equal lengths, or one of them is single. The default is every year
    and ``trainval`` (every annotation when there is no ``ImageSets``). With ``every_set`` the
    default is each of ``train``, ``val`` and ``test`` that exists. Raises DataError for what does
    not exist.
    """
    try:
        return _open(root, selection, every_set)
    except OSError as error:
        raise DataError(f"{root}: can't be read: {error}") from error


def _open(root: Tree, selection: Selection, every_set: bool) -> Devkit:
    if selection.images is not None and selection.annotations is None:
        raise ConfigError("images: name the folder of the annotations too, with --annotations")
    if selection.images is not None and selection.annotations is not None:
        root, folders = _resolve_folders(
            root, os.fspath(selection.images), os.fspath(selection.annotations)
        )
    else:
        folders = _find_folders(root, selection.years)
    sets = list(selection.sets) or [""]
    if every_set and sets == [""]:
        present = [(folder, name) for folder in folders for name in _standard_sets(root, folder)]
        return _open_present(root, present)
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
    )


def _open_present(root: Tree, present: Sequence[tuple[tuple[str, str, str], str]]) -> Devkit:
    """The image sets whose folders are there. Raises DataError when none is."""
    image_sets: list[ImageSet] = []
    missing: dict[str, DataError] = {}
    for folder, name in present:
        try:
            image_sets.append(_open_image_set(root, *folder, name))
        except DataError as error:
            missing[f"{folder[0].rpartition('/')[0]} {name or 'all'}".strip()] = error
    if not image_sets:
        raise next(iter(missing.values()))
    return Devkit(root, image_sets, missing)


def _find_folders(root: Tree, years: Sequence[str]) -> list[tuple[str, str, str]]:
    """(annotations, images, image sets) of each year, relative to the root."""
    if root.is_folder("Annotations"):
        if years:
            raise ConfigError(f"year: {root} is one VOC folder without years; leave year out")
        return [_standard_folders("")]
    folders = root.folders(".")
    found = [name[3:] for name in folders if re.match(r"VOC[0-9]", name)]
    missing = [year for year in years if year not in found]
    if missing:
        raise DataError(
            f"{root}: no folder VOC{missing[0]}; "
            + (f"the years are {', '.join(found)}" if found else "there is no VOC<year> folder")
        )
    if found:
        return [_standard_folders(f"VOC{year}/") for year in years or found]
    if any(name.endswith(".xml") for name in root.files(".")):
        return [(".", ".", "")]
    if "VOCdevkit" in folders:
        raise DataError(f"{root}: give the folder in it, {join(str(root), 'VOCdevkit')}")
    raise DataError(
        f"{root}: no VOC<year> folder, no Annotations folder and no *.xml; name the folders "
        "with --images and --annotations, or name another format with --from (it does not look "
        "like COCO, YOLO or image JSON)"
    )


def _standard_folders(prefix: str) -> tuple[str, str, str]:
    return prefix + "Annotations", prefix + "JPEGImages", prefix + "ImageSets/Main"


def _resolve_folders(
    root: Tree, images: str, annotations: str
) -> tuple[Tree, list[tuple[str, str, str]]]:
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
    sets = os.path.join(os.path.dirname(relative[1]), "ImageSets", "Main")
    return root, [(relative[1], relative[0], sets)]


def _open_image_set(root: Tree, annotations: str, images: str, sets: str, name: str) -> ImageSet:
    for folder in (annotations, images):
        if not root.is_folder(folder):
            raise DataError(f"{join(str(root), folder)}: no such folder")
    folder = join(str(root), annotations)
    if not sets or not root.is_folder(sets):
        if name and not Path(name).is_file():
            raise DataError(
                f"set: there is no {join(str(root), sets or 'ImageSets')} and no file {name}"
            )
        lines = text_lines(Path(name)) if name else None
    else:
        name = name or "trainval"
        file = join(sets, f"{name}.txt")
        if not root.is_file(file):
            found = [name[:-4] for name in root.files(sets) if name.endswith(".txt")]
            raise DataError(
                f"{join(str(root), file)}: no such image set; choose with --set from: "
                f"{', '.join(found) or 'none'}"
            )
        lines = root.lines(file)
    if lines is None:
        ids = StringColumn(_all_ids(root, annotations))
    else:
        try:
            ids = StringColumn(
                read_image_set(lines, lambda file: root.is_file(join(annotations, file)))
            )
        except (OSError, ValueError) as error:
            file = name if not sets else join(str(root), join(sets, f"{name}.txt"))
            raise DataError(f"{file}: can't be read: {error}") from error
    if not ids:
        raise DataError(f"{folder}: the image set {name or 'all'} has no annotations")
    year_folder = annotations.rpartition("/")[0]
    return ImageSet(f"{year_folder} {name or 'all'}".strip(), annotations, images, ids)


def _standard_sets(root: Tree, folder: tuple[str, str, str]) -> list[str]:
    """Those of train, val and test that exist; else the default image set."""
    names = ("train", "val", "test")
    sets = folder[2]
    if not sets or not root.is_folder(sets):
        return [""]
    return [name for name in names if root.is_file(join(sets, f"{name}.txt"))] or [""]


def _all_ids(root: Tree, annotations: str) -> list[str]:
    names = root.files(annotations)
    # sorted as ids: without ".xml" the order can differ from that of the files
    return sorted(name[:-4] for name in names if name.endswith(".xml") and not name.startswith("."))


def read_image_set(lines: Iterable[str], is_annotation: Callable[[str], bool]) -> Iterator[str]:
    """The ids of an ``ImageSets/Main`` file: one ``id`` or ``id flag`` per line.

    A last column of exactly -1, 0 or 1 is a flag, unless the whole line is the id of an annotation
    file. Ids with flag -1 (the class is absent) are left out. Ids can hold spaces.
    """
    for line in map(str.strip, lines):
        id_, _, flag = line.replace("\t", " ").rpartition(" ")
        if not (id_ and flag in _PRESENCE) or is_annotation(f"{line}.xml"):
            if line:
                yield line
        elif flag != "-1":
            yield id_.rstrip()
