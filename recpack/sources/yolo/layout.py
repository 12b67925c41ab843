"""Where a YOLO folder keeps its images, their labels and the class names."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from recpack.errors import DataError
from recpack.formats.image_header import EXTENSIONS
from recpack.sources.document import below, reason
from recpack.sources.recognise import SET_FOLDER, holds
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Tree

_SUFFIXES = tuple(EXTENSIONS)
_ROBOFLOW = "_darknet.labels"
_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "data/obj.names", _ROBOFLOW)
_LISTS = ("train.txt", "valid.txt", "val.txt", "test.txt", "images.txt")
_MAX_TEXT = 4 << 20
_MAX_MISSING = 4
"""Images of one folder that are looked for before its other images are taken as they are."""
_MAX_DEPTH = 12
"""Most bytes of a text file, and most levels of folders: links can lead in a circle."""


@dataclass(frozen=True)
class YoloFolder:
    """A data set's layout: class names (empty when no file has them), and by image set the folders
    or lists of its images, relative to the root. ``missing``: what ``file`` names and is not there,
    by image set."""

    names: tuple[str, ...]
    sets: Mapping[str, Sequence[str]]
    file: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)


def yolo_layout(root: Tree) -> YoloFolder | None:
    """The layout that ``data.yaml`` or ``obj.data`` says, else the one that the folders show; None
    when this is not a YOLO data set. Raises DataError for a file that can't be read."""
    files = root.files(".")
    for name in sorted(files, key=lambda name: (name != "data.yaml", name)):
        if name.endswith((".yaml", ".yml")):
            found = _from_yaml(root, name)
            if found is not None:
                return found
    for name in files:
        if name.endswith(".data"):
            found = _from_darknet(root, name)
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
    sets = [n for n in filter(SET_FOLDER.match, folders) if holds(root, f"{n}/{_ROBOFLOW}")]
    if sets:
        return YoloFolder(_lines(root, f"{sets[0]}/{_ROBOFLOW}"), {name: [name] for name in sets})
    lists = [name for name in _LISTS if name in files]
    if names and lists:
        return YoloFolder(names, {name.removesuffix(".txt"): [name] for name in lists})
    stems = {posixpath.splitext(name)[0] for name in files if name.lower().endswith(_SUFFIXES)}
    if stems and (names or any(f"{stem}.txt" in files for stem in stems)):
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
    sets = {
        key: [paths] if isinstance(paths, str) else paths
        for key, paths in (("train", found.train), ("val", found.val), ("test", found.test))
        if paths
    }
    return _layout(root, [str(one).strip() for one in names], sets, found.path, name)


def _from_darknet(root: Tree, name: str) -> YoloFolder | None:
    """Darknet's ``obj.data``, which CVAT writes too: lines like ``train = data/train.txt``."""
    lines = (line.partition("=") for line in _read_text(root, name).splitlines())
    values = {key.strip(): value.strip() for key, _, value in lines}
    sets = {key: [values[key]] for key in ("train", "valid", "val", "test") if values.get(key)}
    names_file = _resolve(root, None, values["names"]) if values.get("names") else None
    names = _lines(root, names_file) if names_file else ()
    return _layout(root, names or _names(root), sets, None, name)


def _layout(
    root: Tree, names: Sequence[str], sets: Mapping[str, list[str]], base: str | None, file: str
) -> YoloFolder | None:
    """The layout of a ``file`` that names the folders and lists of its sets. One set may be missing
    (exports name a test set that was not downloaded); DataError when all are."""
    found, missing = {}, {}
    for key, paths in sets.items():
        places = [_resolve(root, base, path) for path in paths]
        if None in places:
            missing[key] = paths[places.index(None)]
        else:
            found[key] = [place for place in places if place is not None]
    layout = YoloFolder(tuple(names), found, file, missing)
    if missing and not found:
        raise no_such_set(root, layout, next(iter(missing)))
    return layout if found else None


def no_such_set(root: Tree, layout: YoloFolder, name: str) -> DataError:
    """The error for a set of ``layout.missing``."""
    file = posixpath.join(str(root), layout.file)
    return DataError(
        f"{file}: {layout.missing[name]}: there is no such folder or list below {root}"
    )


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


def _resolve(root: Tree, base: str | None, path: str) -> str | None:
    """The path below the root of a folder or list that a ``data.yaml`` names; None when it is not
    there. Its ``path`` is often that of another machine, and exports write ``../train/images`` for
    a folder beside the file."""
    for choice in ([below(base, path)] if base else []) + _tails(path):
        if not unsafe_path(choice) and (root.is_folder(choice) or root.is_file(choice)):
            return choice
    return None


def _tails(path: str) -> list[str]:
    """A path, and what is left without its first folder, its first two, and so on."""
    parts = below(".", path).split("/")
    return ["/".join(parts[first:]) for first in range(len(parts))]


def _names(root: Tree) -> tuple[str, ...]:
    return next((_lines(root, file) for file in _NAME_FILES if root.is_file(file)), ())


def _lines(root: Tree, file: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in _read_text(root, file).splitlines() if line.strip())


def label_path(image: str) -> str:
    """The path of an image's labels: the last folder ``images`` of its path becomes ``labels``."""
    stem = posixpath.splitext(image)[0]
    head, found, tail = f"/{stem}".rpartition("/images/")
    return f"{head}/labels/{tail}.txt".lstrip("/") if found else f"{stem}.txt"


def images_of(root: Tree, paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if root.is_folder(path):
            yield from _images_below(root, path)
        else:
            yield from _listed_images(root, path)


def _listed_images(root: Tree, file: str) -> Iterator[str]:
    """The images of a list. Darknet and CVAT write paths from another folder
    (``data/obj_train_data/1.jpg``): the longest tail that is there counts. It is looked for once
    for each folder that the list names."""
    beside = posixpath.dirname(file) or "."
    known: dict[str, str] = {}
    missing: Counter[str] = Counter()
    for line in root.lines(file):
        image = line.strip()
        if image:  # ./images/… is relative to the list's folder, all else to the root
            image = below(beside, image) if image.startswith("./") else below(".", image)
            folder, name = posixpath.split(image)
            if folder not in known and missing[folder] < _MAX_MISSING:
                tails = (tail for tail in _tails(image) if not unsafe_path(tail))
                found = next((tail for tail in tails if holds(root, tail)), None)
                if found is not None:
                    known[folder] = posixpath.dirname(found)
                missing[folder] += 1
            yield posixpath.join(known.get(folder, folder), name)


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
