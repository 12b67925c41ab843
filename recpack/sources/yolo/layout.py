"""Where a YOLO folder keeps its images, their labels and the class names."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from recpack.errors import DataError
from recpack.formats.image_header import EXTENSIONS
from recpack.sources.document import below, reason
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Tree

_SUFFIXES = tuple(EXTENSIONS)
_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "data/obj.names")
_NULLS = ("", "~", "null", "Null", "NULL")
_BOX_ROW = 5
"""Numbers in a row without keypoints."""
_MAX_TEXT = 4 << 20
_MAX_DEPTH = 12
"""Most bytes of a text file, and most levels of folders: links can lead in a circle."""
MAX_TRIED = 100
"""Most files that are opened to see whether they are label files."""


@dataclass(frozen=True)
class YoloFolder:
    """A data set's layout: class ``names`` (empty when no file has them), and by image set the
    folders or lists of its images, relative to the root.

    ``source``: where the names are · ``count``: ``nc`` of a ``data.yaml`` · ``keypoints``: the
    numbers behind the box in a row.
    """

    names: tuple[str, ...] = ()
    sets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    source: str = ""
    count: int | None = None
    keypoints: int = 0

    def named(self, names: tuple[str, ...]) -> YoloFolder:
        """With the ``names`` of the user, if the files have the same ones or only the first."""
        if not names or names[: len(self.names)] != self.names:
            return self
        source = self.source if names == self.names else "--classes"
        return replace(self, names=names, source=source, count=None)


def yolo_layout(root: Tree) -> YoloFolder | None:
    """The layout that ``data.yaml`` says, else the one that the folders show; None when this is not
    a YOLO data set. Raises DataError for a file that can't be read."""
    files = root.files(".")
    for name in sorted(files, key=lambda name: (name != "data.yaml", name)):
        if name.endswith((".yaml", ".yml")):
            found = _from_yaml(root, name)
            if found is not None:
                return found
    source, names = _names(root)
    folders = root.folders(".")
    if {"images", "labels"} <= set(folders):
        inner = [name for name in root.folders("images") if root.is_folder(f"labels/{name}")]
        sets = {name: [f"images/{name}"] for name in inner} or {"all": ["images"]}
        return YoloFolder(names, sets, source)
    sets = {name: [f"{name}/images"] for name in folders if root.is_folder(f"{name}/labels")}
    if sets:
        return YoloFolder(names, sets, source)
    images = [name for name in files if name.lower().endswith(_SUFFIXES)]
    if images and (names or _labels_beside(root, images, files)):
        return YoloFolder(names, {"all": ["."]}, source)
    return None


def _labels_beside(root: Tree, images: Sequence[str], files: Sequence[str]) -> bool:
    """Whether the first images with a text file beside them have labels in it."""
    labels = {*files} & {label_path(image) for image in images}
    return any(has_rows(root, name) for name in sorted(labels)[:MAX_TRIED])


def has_rows(root: Tree, file: str) -> bool:
    """Whether the first line of a text file is numbers, as in a label file."""
    try:
        columns = _read_text(root, file).partition("\n")[0].split()
        return len(columns) >= _BOX_ROW and all(map(math.isfinite, map(float, columns)))
    except (DataError, ValueError):
        return False


class _File(msgspec.Struct):
    """The fields of a ``data.yaml`` that are used."""

    names: list[str] | dict[int, str]
    nc: str | None = None
    kpt_shape: tuple[int, int] | None = None
    path: str | None = None
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    test: str | list[str] | None = None


def _from_yaml(root: Tree, name: str) -> YoloFolder | None:
    import yaml

    file = posixpath.join(str(root), name)
    try:
        # every value as the text that stands there: else YAML reads yes as true and 010 as 8
        document = yaml.load(_read_text(root, name), yaml.BaseLoader)
        if not isinstance(document, dict) or "names" not in document:
            return None
        found = msgspec.convert(document, _File, strict=False, str_keys=True)
    except msgspec.ValidationError as error:
        raise DataError(f"{file}: {reason(error)}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{file}: can't be read: {error}") from None
    names = found.names
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(f"{file}: names: the ids must be 0 to {len(names) - 1}, each once")
        names = [names[id_] for id_ in range(len(names))]
    names = [name.strip() for name in names]
    if "" in names:
        raise DataError(f"{file}: names: id {names.index('')} has no name")
    sets = {}
    for key, paths in (("train", found.train), ("val", found.val), ("test", found.test)):
        chosen = [paths] if isinstance(paths, str) else paths or []
        chosen = [path for path in chosen if path not in _NULLS]
        if chosen:
            sets[key] = [_resolve(root, found.path, path, file) for path in chosen]
    if not sets:
        return None
    count = int(found.nc) if found.nc and found.nc.isdecimal() else None
    keypoints = math.prod(found.kpt_shape) if found.kpt_shape else 0
    return YoloFolder(tuple(names), sets, name, count, keypoints)


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
    that of another machine, and exports write ``../train/images`` for a folder beside the file."""
    inner = path
    while inner.startswith("../"):
        inner = inner[3:]
    choices = [below(base, path)] if base else []
    for choice in (*choices, below(".", path), below(".", inner)):
        if not unsafe_path(choice) and (root.is_folder(choice) or root.is_file(choice)):
            return choice
    raise DataError(f"{file}: {path}: there is no such folder or list below {root}")


def _names(root: Tree) -> tuple[str, tuple[str, ...]]:
    """The file that has the class names, and the names."""
    for file in _NAME_FILES:
        if root.is_file(file):
            names = [line.strip() for line in _read_text(root, file).strip().splitlines()]
            if "" in names:
                raise DataError(
                    f"{posixpath.join(str(root), file)}: there is an empty line after "
                    f"{names[names.index('') - 1]!r}; name the class of that id, or remove the line"
                )
            return file, tuple(names)
    return "", ()


def label_path(image: str) -> str:
    """The path of an image's labels: the last folder ``images`` of its path becomes ``labels``."""
    stem = posixpath.splitext(image)[0]
    head, found, tail = f"/{stem}".rpartition("/images/")
    return f"{head}/labels/{tail}.txt".lstrip("/") if found else f"{stem}.txt"


def images_of(root: Tree, paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if root.is_folder(path):
            yield from files_below(root, path, _SUFFIXES)
            continue
        folder = posixpath.dirname(path) or "."
        for line in root.lines(path):
            image = line.strip()
            if image:  # ./images/… is relative to the list's folder, all else to the root
                yield below(folder, image) if image.startswith("./") else below(".", image)


def files_below(
    root: Tree, folder: str, suffixes: tuple[str, ...], depth: int = 0
) -> Iterator[str]:
    """The files with one of these extensions in a folder, and in those below it."""
    if depth > _MAX_DEPTH:
        raise DataError(
            f"{root}: {folder}: more than {_MAX_DEPTH} levels of folders; remove links in a circle"
        )
    for name in root.files(folder):
        if name.lower().endswith(suffixes) and not name.startswith("."):
            yield below(folder, name)
    for name in root.folders(folder):
        yield from files_below(root, below(folder, name), suffixes, depth + 1)
