"""Where a YOLO folder keeps its images, their labels and the class names."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from recpack.errors import DataError
from recpack.formats.image_header import EXTENSIONS
from recpack.sources.document import below, reason
from recpack.sources.tails import parts_of
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Tree

_SUFFIXES = tuple(EXTENSIONS)
_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "data/obj.names")
_MAX_TEXT = 4 << 20
_MAX_DEPTH = 12
"""Most bytes of a text file, and most levels of folders: links can lead in a circle."""


@dataclass(frozen=True)
class YoloFolder:
    """A data set's layout: class names (empty when no file has them), and by image set the folders
    or lists of its images, relative to the root. ``missing`` has the sets whose folder or list does
    not exist, with the reason."""

    names: tuple[str, ...]
    sets: Mapping[str, Sequence[str]]
    missing: Mapping[str, DataError] = field(default_factory=dict)


def yolo_layout(root: Tree) -> YoloFolder | None:
    """The layout that ``data.yaml`` says, else the one that the folders show; None when this is not
    a YOLO data set. Raises DataError for a file that can't be read."""
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
    sets = [name for name in folders if root.is_folder(f"{name}/labels")]
    if sets:
        return YoloFolder(names, {name: [f"{name}/images"] for name in sets})
    if names and any(name.lower().endswith(_SUFFIXES) for name in files):
        return YoloFolder(names, {"all": ["."]})
    return None


class _File(msgspec.Struct):
    """The fields of a ``data.yaml`` that are used."""

    names: list[str | int | float] | dict[int, str | int | float]
    path: str | None = None
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    test: str | list[str] | None = None


def _from_yaml(root: Tree, name: str) -> YoloFolder | None:
    import yaml

    file = posixpath.join(str(root), name)
    try:
        document = yaml.safe_load(_read_text(root, name))
        if not isinstance(document, dict) or "names" not in document:
            return None
        found = msgspec.convert(document, _File, strict=False)
    except msgspec.ValidationError as error:
        raise DataError(f"{file}: {reason(error)}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{file}: can't be read: {error}") from None
    names = found.names
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(f"{file}: names: the ids must be 0 to {len(names) - 1}, each once")
        names = [names[id_] for id_ in range(len(names))]
    sets, missing = {}, {}
    for key, paths in (("train", found.train), ("val", found.val), ("test", found.test)):
        if paths:
            paths = [paths] if isinstance(paths, str) else paths
            try:
                sets[key] = [_resolve(root, found.path, path, file) for path in paths]
            except DataError as error:
                missing[key] = error
    if missing and not sets:
        raise next(iter(missing.values()))
    return YoloFolder(tuple(str(name).strip() for name in names), sets, missing) if sets else None


def _read_text(root: Tree, name: str) -> str:
    """Read a small text file. Raises DataError when it can't be read."""
    try:
        with root.folder(".") as folder, folder.open(name) as file:
            data = file.read_all(_MAX_TEXT)
            if len(data) > _MAX_TEXT:
                raise ValueError(f"it has more than {_MAX_TEXT:,} bytes")
            return data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        path = posixpath.join(str(root), name)
        raise DataError(f"{path}: can't be read: {error}") from error


def _resolve(root: Tree, base: str | None, path: str, file: str) -> str:
    """The path below the root of a folder or list that a ``data.yaml`` names. Its ``path`` is often
    that of another machine, and exports write ``../train/images`` for a folder beside the file. Of
    an absolute path, the longest end counts that is there."""
    parts = parts_of(path)
    ends = ["/".join(parts)]
    if path.startswith(("/", "\\")) or path[1:2] == ":":
        # several sets could mean the one folder that is called images
        ends += ["/".join(parts[at:]) for at in range(1, len(parts)) if parts[at:] != ["images"]]
    choices = [below(base, path)] if base else []
    for choice in (*choices, below(".", path), *ends):
        if not unsafe_path(choice) and (root.is_folder(choice) or root.is_file(choice)):
            return choice
    raise DataError(f"{file}: {path}: there is no such folder or list below {root}")


def _names(root: Tree) -> tuple[str, ...]:
    for file in _NAME_FILES:
        if root.is_file(file):
            return tuple(
                line.strip() for line in _read_text(root, file).splitlines() if line.strip()
            )
    return ()


def label_path(image: str) -> str:
    """The path of an image's labels: the last folder ``images`` of its path becomes ``labels``."""
    stem = posixpath.splitext(image)[0]
    head, found, tail = f"/{stem}".rpartition("/images/")
    return f"{head}/labels/{tail}.txt".lstrip("/") if found else f"{stem}.txt"


def images_of(root: Tree, paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if root.is_folder(path):
            yield from _images_below(root, path)
            continue
        folder = posixpath.dirname(path) or "."
        for line in root.lines(path):
            image = line.strip()
            if image:  # ./images/… is relative to the list's folder, all else to the root
                yield below(folder, image) if image.startswith("./") else below(".", image)


def _images_below(root: Tree, folder: str, depth: int = 0) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise DataError(
            f"{root}: {folder}: more than {_MAX_DEPTH} levels of folders; remove links in a circle"
        )
    for name in root.files(folder):
        if name.lower().endswith(_SUFFIXES) and not name.startswith("."):
            yield below(folder, name)
    for name in root.folders(folder):
        yield from _images_below(root, below(folder, name), depth + 1)
