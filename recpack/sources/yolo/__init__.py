"""YOLO folders."""

from __future__ import annotations

import os

from recpack.errors import ConfigError
from recpack.sources.base import Dataset, set_missing
from recpack.sources.request import Request
from recpack.sources.selection import Selection
from recpack.storage.trees.base import Tree

ENDINGS = (".yaml", ".yml")


def is_here(root: Tree, selection: Selection) -> bool:
    """Whether ``layout.yolo_layout`` finds a layout."""
    from recpack.sources.yolo.layout import yolo_layout

    del selection
    return yolo_layout(root) is not None


def open_folder(root: Tree, request: Request) -> Dataset:
    """Open the chosen image sets of the folder's layout."""
    from recpack.sources.yolo.dataset import YoloDataset
    from recpack.sources.yolo.layout import yolo_layout

    if request.selection.images is not None:
        raise ConfigError(
            "images: only for other formats; a YOLO folder's layout says where its images are"
        )
    layout = yolo_layout(root)
    missing = layout.missing if layout else {}
    chosen = request.choose_sets(root, "yolo", {**layout.sets, **missing} if layout else {})
    problems = []
    for name in filter(missing.__contains__, chosen):
        if not request.lenient:
            raise missing[name]
        problems.append(set_missing(name, missing[name]))
    sets = {name: paths for name, paths in layout.sets.items() if name in chosen} if layout else {}
    names = (layout.names if layout else ()) or request.class_names
    return YoloDataset(root, sets, names, problems)


def open_file(path: str, request: Request) -> Dataset:
    """Open the folder of a ``data.yaml``."""
    return open_folder(request.open_tree(os.path.dirname(path) or "."), request)
