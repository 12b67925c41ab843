"""Detects the format of a data set and opens it.

The module of a format has its name (``-`` becomes ``_``) and is imported only when it is needed:
most data sets are devkits. See ``request.Format``.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from importlib import import_module
from typing import cast, get_args

from recpack.errors import ConfigError, DataError
from recpack.sources.base import Dataset
from recpack.sources.recognise import ENDINGS_OF_OTHERS, refuse, refuse_folder
from recpack.sources.request import Format, Request
from recpack.sources.selection import Selection, SourceFormat
from recpack.storage.regular import open_regular
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.base import Tree
from recpack.storage.trees.open import Root, is_archive_name


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
    request = Request(selection, s3, tuple(class_names))
    if not isinstance(path, (str, os.PathLike)) and len(path) == 1:
        path = path[0]
    try:
        if isinstance(path, (str, os.PathLike)):
            name = _format_of_file(os.fspath(path), selection)
            folder, file = posixpath.split(os.fspath(path))
            if name is None and file.lower().endswith(ENDINGS_OF_OTHERS):
                refuse(request.open_tree(folder or "."), file)
            if name is not None:
                _reject_devkit_options(name, selection)
                return _labelled(_module(name).open_file(os.fspath(path), request), name, request)
        root = request.open_tree(path)
        name = selection.source_format or _format_of_folder(root, selection)
        if name != "voc":
            _reject_devkit_options(name, selection)
        return _labelled(_module(name).open_folder(root, request), name, request)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error}") from error


def _labelled(dataset: Dataset, name: SourceFormat, request: Request) -> Dataset:
    dataset.format, dataset.unread = name, request.unread
    return dataset


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
        raise DataError(f"{path}: no such file")
    return found


def _format_of_folder(root: Tree, selection: Selection) -> SourceFormat:
    """The first format that matches, else Pascal VOC, whose errors say best what is missing.
    Raises DataError for a format that is known and not read."""
    names: tuple[SourceFormat, ...] = get_args(SourceFormat)
    for name in names:
        if name == "folders":  # any other format can have folders that hold only images
            refuse_folder(root)
        if _module(name).is_here(root, selection):
            return name
    return "voc"
