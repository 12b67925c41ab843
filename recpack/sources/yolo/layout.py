"""Where a YOLO folder keeps its images, their labels, and the names of classes."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from recpack.errors import DataError
from recpack.formats.image_header import EXTENSIONS
from recpack.sources.document import below, reason
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Tree

_SUFFIXES = tuple(EXTENSIONS)
_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "data/obj.names")
_MAX_TEXT = 4 << 20
_MAX_DEPTH = 12
"""Bytes of a file of names, and folders in folders: links may lead in a circle."""


@dataclass(frozen=True)
class YoloFolder:
    """A data set's layout: class names (none where no file tells them) and, by image set, where
    its images are: folders or lists of them, relative to the root."""

    names: tuple[str, ...]
    sets: Mapping[str, Sequence[str]]


def yolo_layout(root: Tree) -> YoloFolder | None:
    """What the root's ``data.yaml`` says, or what its folders look like; None when it is no YOLO
    data set. Raises DataError for a file that can't be read."""
    files = root.files(".")
    for name in sorted(files, key=lambda name: (name != "data.yaml", name)):
        if name.endswith((".yaml", ".yml")):
            found = _from_yaml(root, name)
            if found is not None:
                return found
    names = _names(root)
    folders = root.folders(".")
    if {"images", "labels"} <= set(folders):
        inner = [name for name in root.folders("images") if root.is_folder(f"labels/{name}")]
        return YoloFolder(names, {n: [f"images/{n}"] for n in inner} or {"all": ["images"]})
    apart = [name for name in folders if root.is_folder(f"{name}/labels")]
    if apart:
        return YoloFolder(names, {name: [f"{name}/images"] for name in apart})
    if names and any(name.lower().endswith(_SUFFIXES) for name in files):
        return YoloFolder(names, {"all": ["."]})
    return None


class _File(msgspec.Struct):
    """What a ``data.yaml`` says, as far as it is of interest."""

    names: list[str | int | float] | dict[int, str | int | float]
    path: str | None = None
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    test: str | list[str] | None = None


def _from_yaml(root: Tree, name: str) -> YoloFolder | None:
    import yaml

    file = posixpath.join(str(root), name)
    try:
        told = yaml.safe_load(_text(root, name))
        if not isinstance(told, dict) or "names" not in told:
            return None
        found = msgspec.convert(told, _File, strict=False)
    except msgspec.ValidationError as error:
        raise DataError(f"{file}: {reason(error)}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{file}: can't be read: {error}") from None
    names = found.names
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(f"{file}: names: the ids must be 0 to {len(names) - 1}, each once")
        names = [names[id_] for id_ in range(len(names))]
    sets = {}
    for key, places in (("train", found.train), ("val", found.val), ("test", found.test)):
        if places:
            places = [places] if isinstance(places, str) else places
            sets[key] = [_place(root, found.path, place, file) for place in places]
    return YoloFolder(tuple(str(text).strip() for text in names), sets) if sets else None


def _text(root: Tree, name: str) -> str:
    """A small file; DataError for one that is none."""
    try:
        with root.folder(".") as folder, folder.open(name) as file:
            data = file.whole(_MAX_TEXT)
            if len(data) > _MAX_TEXT:
                raise ValueError(f"it has more than {_MAX_TEXT:,} bytes")
            return data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        place = posixpath.join(str(root), name)
        raise DataError(f"{place}: can't be read: {error}") from error


def _place(root: Tree, base: str | None, place: str, file: str) -> str:
    """Where a folder of a ``data.yaml`` is below the root; its ``path`` is often one of another
    machine, and exports write ``../train/images`` for a folder beside the file."""
    climbed = place
    while climbed.startswith("../"):
        climbed = climbed[3:]
    choices = [below(base, place)] if base else []
    for choice in (*choices, below(".", place), below(".", climbed)):
        if not unsafe_path(choice) and (root.is_folder(choice) or root.is_file(choice)):
            return choice
    raise DataError(f"{file}: {place}: there is no such folder or list below {root}")


def _names(root: Tree) -> tuple[str, ...]:
    for file in _NAME_FILES:
        if root.is_file(file):
            return tuple(line.strip() for line in _text(root, file).splitlines() if line.strip())
    return ()


def label_path(image: str) -> str:
    """Where an image's labels are: the last folder ``images`` of its path reads ``labels``."""
    stem = posixpath.splitext(image)[0]
    head, found, tail = f"/{stem}".rpartition("/images/")
    return f"{head}/labels/{tail}.txt".lstrip("/") if found else f"{stem}.txt"


def images_of(root: Tree, places: Sequence[str]) -> Iterator[str]:
    for place in places:
        if root.is_folder(place):
            yield from _below(root, place)
            continue
        folder = posixpath.dirname(place) or "."
        for line in root.lines(place):
            path = line.strip()
            if path:  # a list says ./images/… of its own folder, or names them from the root
                relative = below(folder, path) if path.startswith("./") else below(".", path)
                yield relative


def _below(root: Tree, folder: str, depth: int = 0) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise DataError(f"{root}: {folder}: its folders lead in a circle")
    for name in root.files(folder):
        if name.lower().endswith(_SUFFIXES) and not name.startswith("."):
            yield below(folder, name)
    for name in root.folders(folder):
        yield from _below(root, below(folder, name), depth + 1)
