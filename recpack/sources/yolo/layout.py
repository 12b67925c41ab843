"""Where a YOLO folder keeps its images, their labels and the class names."""

from __future__ import annotations

import math
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from recpack.errors import DataError
from recpack.formats.image_header import IMAGE_ENDINGS
from recpack.sources.document import below
from recpack.sources.recognise import SET_FOLDER, holds
from recpack.sources.tails import parts_of
from recpack.storage.decode import reason
from recpack.storage.limits import MAX_LAYOUT
from recpack.storage.paths import unsafe_path
from recpack.storage.regular import NotRegularError
from recpack.storage.trees.base import Tree

_ROBOFLOW = "_darknet.labels"
_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "data/obj.names", _ROBOFLOW)
_LISTS = ("train.txt", "valid.txt", "val.txt", "test.txt", "images.txt")
_NULLS = ("", "~", "null", "Null", "NULL")
_BOX_ROW = 5
"""Numbers in a row without keypoints."""
MAX_TRIED = 100
"""Most files that are opened to see whether they are label files."""


@dataclass(frozen=True)
class YoloFolder:
    """A data set's layout: class ``names`` (empty when no file has them), and by image set the
    folders or lists of its images, relative to the root.

    ``source``: where the names are · ``count``: ``nc`` of a ``data.yaml`` · ``keypoints``: the
    numbers behind the box in a row · ``missing``: what ``file`` names and is not there, by image
    set.
    """

    names: tuple[str, ...] = ()
    sets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    source: str = ""
    count: int | None = None
    keypoints: int = 0
    file: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)

    def named(self, names: tuple[str, ...]) -> YoloFolder:
        """With the ``names`` of the user, if the files have the same ones or only the first."""
        if not names or names[: len(self.names)] != self.names:
            return self
        source = self.source if names == self.names else "--classes"
        return replace(self, names=names, source=source, count=None)


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
    source, names = _names(root)
    folders = root.folders(".")
    if {"images", "labels"} <= set(folders):
        inner = [name for name in root.folders("images") if root.is_folder(f"labels/{name}")]
        sets = {name: [f"images/{name}"] for name in inner} or {"all": ["images"]}
        return YoloFolder(names, sets, source)
    sets = {name: [f"{name}/images"] for name in folders if root.is_folder(f"{name}/labels")}
    if sets and (names or len(sets) > 1 or not _is_around(root, *sets)):
        return YoloFolder(names, sets, source)
    sets = {
        name: [name] for name in filter(SET_FOLDER.match, folders)
        if holds(root, f"{name}/{_ROBOFLOW}")
    }  # fmt: skip
    if sets:
        source = f"{next(iter(sets))}/{_ROBOFLOW}"
        return YoloFolder(_lines(root, source), sets, source)
    lists = [name for name in _LISTS if name in files]
    if names and lists:
        return YoloFolder(names, {name.removesuffix(".txt"): [name] for name in lists}, source)
    images = [name for name in files if name.lower().endswith(IMAGE_ENDINGS)]
    if images and (names or _labels_beside(root, images, files)):
        return YoloFolder(names, {"all": ["."]}, source)
    return None


def _is_around(root: Tree, name: str) -> bool:
    """Whether the folder ``name`` is all there is, and the data set: not an image set, unless it
    holds the class names."""
    inner = root.only_folder()
    if inner is None or not SET_FOLDER.match(name):
        return inner is not None
    found = yolo_layout(inner)
    return found is not None and bool(found.names)


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
    validation: str | list[str] | None = None
    test: str | list[str] | None = None


def _load_yaml(text: str) -> tuple[object, list[str]]:
    """A document, and the keys that stand in it twice. Every value is the text that stands there:
    else YAML reads yes as true and 010 as 8. Raises YAMLError, RecursionError."""
    import yaml

    twice: list[str] = []

    class Loader(yaml.BaseLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            twice.extend(key for key, count in keys.items() if count > 1)
            return super().construct_mapping(node, deep)

    return yaml.load(text, Loader), twice


def _from_yaml(root: Tree, name: str) -> YoloFolder | None:
    import yaml

    file = posixpath.join(str(root), name)
    try:
        document, twice = _load_yaml(_read_text(root, name))
        if not isinstance(document, dict) or "names" not in document:
            return None
        if twice:
            raise DataError(f"{file}: {twice[0]} stands there twice; keep one")
        found = msgspec.convert(document, _File, strict=False, str_keys=True)
    except msgspec.ValidationError as error:
        raise DataError(f"{file}: {reason(error)}; correct the file") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{file}: can't be read: {error}") from None
    names = found.names
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(
                f"{file}: names: the ids must be 0 to {len(names) - 1}, each once; also name the "
                "ids that no object has"
            )
        names = [names[id_] for id_ in range(len(names))]
    names = [name.strip() for name in names]
    if "" in names:
        raise DataError(f"{file}: names: id {names.index('')} has no name")
    sets = {}
    validation = found.val or found.validation
    for key, paths in (("train", found.train), ("val", validation), ("test", found.test)):
        chosen = [paths] if isinstance(paths, str) else paths or []
        chosen = [path for path in chosen if path not in _NULLS]
        if chosen:
            sets[key] = chosen
    count = int(found.nc) if found.nc and found.nc.isdecimal() else None
    keypoints = math.prod(found.kpt_shape) if found.kpt_shape else 0
    layout = YoloFolder(tuple(names), {}, name, count, keypoints, name)
    return _with_sets(root, layout, sets, found.path)


def _from_darknet(root: Tree, name: str) -> YoloFolder | None:
    """Darknet's ``obj.data``, which CVAT writes too: lines like ``train = data/train.txt``."""
    lines = (line.partition("=") for line in _read_text(root, name).splitlines())
    values = {key.strip(): value.strip() for key, _, value in lines}
    sets = {key: [values[key]] for key in ("train", "valid", "val", "test") if values.get(key)}
    file = _resolve(root, None, values["names"]) if values.get("names") else None
    source, names = (file, _lines(root, file)) if file else _names(root)
    return _with_sets(root, YoloFolder(names, {}, source, file=name), sets, None)


def _with_sets(
    root: Tree, layout: YoloFolder, sets: Mapping[str, list[str]], base: str | None
) -> YoloFolder | None:
    """The layout with the folders and lists that its file names. One set may be missing (exports
    name a test set that was not downloaded); DataError when all are."""
    found, missing = {}, {}
    for key, paths in sets.items():
        places = [_resolve(root, base, path) for path in paths]
        if None in places:
            missing[key] = paths[places.index(None)]
        else:
            found[key] = [place for place in places if place is not None]
    layout = replace(layout, sets=found, missing=missing)
    if missing and not found:
        raise no_such_set(root, layout, next(iter(missing)))
    return layout if found else None


def no_such_set(root: Tree, layout: YoloFolder, name: str) -> DataError:
    """The error for a set of ``layout.missing``."""
    file = posixpath.join(str(root), layout.file)
    other = f"; to read another set: --set {next(iter(layout.sets))}" if layout.sets else ""
    return DataError(
        f"{file}: {layout.missing[name]}: there is no such folder or list below {root}{other}"
    )


def _read_text(root: Tree, name: str) -> str:
    """Read a small text file. Raises DataError when it can't be read."""
    try:
        with root.folder(".") as folder, folder.open(name) as file:
            return file.read_all(MAX_LAYOUT).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        path = posixpath.join(str(root), name)
        raise DataError(f"{path}: can't be read: {error}") from error


def _resolve(root: Tree, base: str | None, path: str) -> str | None:
    """The path below the root of a folder or list that a ``data.yaml`` names; None when it is not
    there. Its ``path`` is often that of another machine, and exports write ``../train/images`` for
    a folder beside the file: the longest end counts that is there."""
    parts = parts_of(path)
    # several sets could mean the one folder that is called images
    ends = ["/".join(parts[at:]) for at in range(len(parts)) if not at or parts[at:] != ["images"]]
    for choice in ([below(base, path)] if base else []) + [below(".", path), *ends]:
        if not unsafe_path(choice) and (root.is_folder(choice) or root.is_file(choice)):
            return choice
    return None


def _names(root: Tree) -> tuple[str, tuple[str, ...]]:
    """The file that has the class names, and the names."""
    for file in _NAME_FILES:
        if root.is_file(file):
            return file, _lines(root, file)
    return "", ()


def _lines(root: Tree, file: str) -> tuple[str, ...]:
    """Class names, one in a line. Raises DataError for an empty line between them: it has an id."""
    names = [line.strip() for line in _read_text(root, file).strip().splitlines()]
    if "" in names:
        raise DataError(
            f"{posixpath.join(str(root), file)}: there is an empty line after "
            f"{names[names.index('') - 1]!r}; name the class of that id, or remove the line"
        )
    return tuple(names)


def label_path(image: str) -> str:
    """The path of an image's labels: the last folder ``images`` of its path becomes ``labels``."""
    stem = posixpath.splitext(image)[0]
    head, found, tail = f"/{stem}".rpartition("/images/")
    return f"{head}/labels/{tail}.txt".lstrip("/") if found else f"{stem}.txt"


def images_of(root: Tree, paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if root.is_folder(path):
            yield from files_below(root, path, IMAGE_ENDINGS)
        else:
            yield from _listed_images(root, path)


def _listed_images(root: Tree, file: str) -> Iterator[str]:
    """The images of a list, as written: ``./images/…`` is relative to the list's folder, all else
    to the root."""
    beside = posixpath.dirname(file) or "."
    try:
        for line in root.lines(file):
            image = line.strip()
            if image:
                yield below(beside if image.startswith("./") else ".", image)
    except NotRegularError as error:
        raise DataError(f"{root}/{file}: can't be read: {error}") from None


def files_below(root: Tree, folder: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """The files with one of these extensions in a folder, and in those below it."""
    for inner, names in root.listing(folder):
        for name in names:
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield below(inner, name)
