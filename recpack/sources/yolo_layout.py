"""Where a YOLO folder keeps its images, their labels, and the names of classes."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recpack.errors import DataError
from recpack.headers import EXTENSIONS
from recpack.lst import unsafe_path
from recpack.sources.given import below
from recpack.trees.base import Tree

_KEYS = ("train", "val", "test")
_SUFFIXES = tuple(EXTENSIONS)
_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "data/obj.names")


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


def _from_yaml(root: Tree, name: str) -> YoloFolder | None:
    import yaml

    file = f"{root}/{name}"
    try:
        found = yaml.safe_load("".join(root.lines(name)))
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise DataError(f"{file}: can't be read: {error}") from error
    if not isinstance(found, dict) or "names" not in found:
        return None
    names = found["names"]
    if isinstance(names, dict):
        try:
            ids = {int(id_): text for id_, text in names.items()}
        except (TypeError, ValueError):
            raise DataError(f"{file}: names: the ids must be numbers from 0") from None
        if sorted(ids) != list(range(len(ids))):
            raise DataError(f"{file}: names: the ids must be 0 to {len(ids) - 1}, each once")
        names = [ids[id_] for id_ in sorted(ids)]
    if not isinstance(names, list):
        raise DataError(f"{file}: names: a list, or numbers with names, is expected")
    sets = {}
    for key in _KEYS:
        if found.get(key):
            places = found[key] if isinstance(found[key], list) else [found[key]]
            sets[key] = [_place(root, found.get("path"), str(place), file) for place in places]
    return YoloFolder(tuple(str(text).strip() for text in names), sets) if sets else None


def _place(root: Tree, base: Any, place: str, file: str) -> str:
    """Where a folder of a ``data.yaml`` is below the root; its ``path`` is often one of another
    machine, and exports write ``../train/images`` for a folder beside the file."""
    climbed = place
    while climbed.startswith("../"):
        climbed = climbed[3:]
    choices = [below(str(base), place)] if base else []
    for choice in (*choices, below(".", place), below(".", climbed)):
        if not unsafe_path(choice) and (root.is_folder(choice) or root.is_file(choice)):
            return choice
    raise DataError(f"{file}: {place}: there is no such folder or list below {root}")


def _names(root: Tree) -> tuple[str, ...]:
    for file in _NAME_FILES:
        if root.is_file(file):
            try:
                return tuple(line.strip() for line in root.lines(file) if line.strip())
            except (OSError, ValueError) as error:
                raise DataError(f"{root}/{file}: can't be read: {error}") from error
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


def _below(root: Tree, folder: str) -> Iterator[str]:
    for name in root.files(folder):
        if name.lower().endswith(_SUFFIXES) and not name.startswith("."):
            yield below(folder, name)
    for name in root.folders(folder):
        yield from _below(root, below(folder, name))
