"""Detects the format of a data set and opens it.

The module of a format has its name (``-`` becomes ``_``) and is imported only when it is needed:
most data sets are devkits. See ``request.Format``.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import cast, get_args

from recpack.display import did_you_mean_path
from recpack.errors import ConfigError, DataError
from recpack.formats.image_header import IMAGE_ENDINGS
from recpack.sources.base import Dataset
from recpack.sources.recognise import ENDINGS_OF_OTHERS, refuse, refuse_folder
from recpack.sources.request import Format, Request
from recpack.sources.selection import Selection, SourceFormat
from recpack.storage.regular import open_regular
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.base import Tree
from recpack.storage.trees.open import Root, is_archive_name

_MOST_AROUND = 3
"""Folders around a data set, each in the other."""
_SINGLE = (*IMAGE_ENDINGS, ".xml", ".txt")


def open_dataset(
    path: Root,
    selection: Selection,
    s3: S3Client,
    *,
    class_names: Sequence[str] = (),
) -> Dataset:
    """Open a data set of the format ``selection.source_format``; None detects the format.

    ``path`` is a folder, archives, the file of a COCO data set, an augmented manifest, a table of
    labels, or the ``data.yaml`` of a YOLO folder. ``selection.set`` chooses image sets. The default
    is the only image set or the training set (of a devkit: ``trainval``); ``all`` reads every one.
    ``class_names`` are used for a data set without class names. Raises DataError for what does not
    exist or can't be read.
    """
    request, path = Request(selection, s3, tuple(class_names)), _single(path)
    try:
        name, root = find_format(path, request)
        return open_format(path, root, name or "voc", request)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error}") from error


def find_format(path: Root, request: Request) -> tuple[SourceFormat | None, Tree | None]:
    """The format of a data set, None when it looks like none, and its root; None for a file. Raises
    DataError for what does not exist and for a format that is known and not read, OSError."""
    selection, path = request.selection, _single(path)
    if isinstance(path, str):
        name = _format_of_file(path, selection)
        folder, file = posixpath.split(path)
        if name is None and file.lower().endswith(ENDINGS_OF_OTHERS):
            refuse(request.open_tree(folder or "."), file)
        if name is not None:
            return name, None
        if file.lower().endswith(_SINGLE) and os.path.isfile(path):
            raise DataError(f"{path}: this is one file of a data set; give the folder of all")
    root = _enter(request.open_tree(path), selection)
    return selection.source_format or next(formats_of(root, selection), None), root


def open_format(path: Root, root: Tree | None, name: SourceFormat, request: Request) -> Dataset:
    """Open what ``find_format`` found. Where it found nothing, the errors of Pascal VOC say best
    what is missing."""
    if name != "voc":
        _reject_devkit_options(name, request.selection)
    module, path = _module(name), _single(path)
    if root is None:
        assert isinstance(path, str)
        dataset = module.open_file(path, request)
    else:
        dataset = module.open_folder(root, request)
    dataset.format, dataset.unread = name, request.unread
    return dataset


def _single(path: Root) -> str | Sequence[str | os.PathLike[str]]:
    if not isinstance(path, (str, os.PathLike)) and len(path) == 1:
        path = path[0]
    return os.fspath(path) if isinstance(path, (str, os.PathLike)) else path


def _module(name: SourceFormat) -> Format:
    return cast(Format, import_module(f"recpack.sources.{name.replace('-', '_')}"))


def _reject_devkit_options(format: str, selection: Selection) -> None:
    for name in ("year", "annotations"):
        if getattr(selection, name) is not None:
            raise ConfigError(f"{name}: only for a devkit, but this is {format}; leave {name} out")


def _format_of_file(path: str, selection: Selection) -> SourceFormat | None:
    """The format of a file that is a data set; None for a folder or archives."""
    if selection.source_format == "augmented-manifest":  # with any extension
        return "augmented-manifest"
    ending = posixpath.splitext(path)[1].lower()
    if not ending or is_archive_name(path) or os.path.isdir(path):
        return None
    if selection.source_format == "csv":
        return "csv"
    names: tuple[SourceFormat, ...] = get_args(SourceFormat)
    found = next((name for name in names if ending in _module(name).ENDINGS), None)
    if found is not None and not is_s3(path) and not os.path.isfile(path):
        if os.path.exists(path):
            os.close(open_regular(path))  # says what it is
        raise DataError(f"{path}: no such file{did_you_mean_path(path)}")
    return found


def _enter(root: Tree, selection: Selection) -> Tree:
    """The folder of the data set: where ``root`` looks like none and holds only one folder, that
    folder, if it looks like one. Folders of images stay where they are: their paths are classes."""
    names: tuple[SourceFormat, ...] = get_args(SourceFormat)
    if selection.source_format is not None:
        names = (selection.source_format,)
    modules = [_module(name) for name in names if name != "folders"]
    trees = [root]
    while len(trees) <= _MOST_AROUND and (inner := trees[-1].only_folder()) is not None:
        trees.append(inner)
    if len(trees) == 1:  # most are: nothing is looked at twice
        return root
    return next(
        (tree for tree in trees if any(one.is_here(tree, selection) for one in modules)), root
    )


def formats_of(root: Tree, selection: Selection) -> Iterator[SourceFormat]:
    """The formats that a folder matches; the first one counts. Raises DataError for a format that
    is known and not read."""
    names: tuple[SourceFormat, ...] = get_args(SourceFormat)
    for name in names:
        if name == "folders":  # any other format can have folders that hold only images
            refuse_folder(root)
        if _module(name).is_here(root, selection):
            yield name
