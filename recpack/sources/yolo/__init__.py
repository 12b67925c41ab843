"""YOLO folders."""

from __future__ import annotations

import os
import posixpath
from dataclasses import replace
from itertools import chain

from recpack.errors import ConfigError
from recpack.sources.base import Dataset, set_missing
from recpack.sources.request import Request
from recpack.sources.selection import Selection
from recpack.storage.trees.base import Tree, join

ENDINGS = (".yaml", ".yml")


def is_here(root: Tree, selection: Selection) -> bool:
    """Whether ``layout.yolo_layout`` finds a layout."""
    from recpack.sources.yolo.layout import yolo_layout

    del selection
    return yolo_layout(root) is not None


def open_folder(root: Tree, request: Request) -> Dataset:
    """Open the chosen image sets of the folder's layout."""
    from recpack.sources.yolo.dataset import YoloDataset
    from recpack.sources.yolo.layout import (
        YoloFolder,
        images_of,
        label_path,
        no_such_set,
        yolo_layout,
    )

    if request.selection.images is not None:
        raise ConfigError(
            "images: only for other formats; a YOLO folder's layout says where its images are"
        )
    layout = yolo_layout(root) or YoloFolder()
    for name in request.selection.sets or ("train",):
        if name in layout.missing:
            raise no_such_set(root, layout, name)
    sets = request.choose_sets(
        root, "yolo", layout.sets, lambda paths: sum(1 for _ in images_of(root, paths))
    )
    problems = [
        set_missing(layout.file, name, path, wanted=request.lenient)
        for name, path in layout.missing.items()
        if request.lenient or not request.selection.sets
    ]
    dataset = YoloDataset(root, replace(layout.named(request.class_names), sets=sets), problems)
    paths = list(chain.from_iterable(layout.sets.values()))
    paths += dataset.listed_folders()
    labels = (posixpath.dirname(label_path(join(path, "x.jpg"))) or "." for path in paths)
    dataset.parts = {*paths, *labels, layout.file, layout.source} - {""}
    return dataset


def open_file(path: str, request: Request) -> Dataset:
    """Open the folder of a ``data.yaml``."""
    return open_folder(request.open_tree(os.path.dirname(path) or "."), request)
