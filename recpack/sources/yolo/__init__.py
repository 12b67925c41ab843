"""YOLO folders."""

from __future__ import annotations

import os

from recpack.errors import ConfigError
from recpack.sources.base import Dataset
from recpack.sources.request import Request
from recpack.sources.selection import Selection
from recpack.storage.trees.base import Tree
from recpack.storage.trees.open import open_tree

ENDINGS = (".yaml", ".yml")


def is_here(root: Tree, selection: Selection) -> bool:
    """Whether ``layout.yolo_layout`` finds a layout."""
    from recpack.sources.yolo.layout import yolo_layout

    del selection
    return yolo_layout(root) is not None


def open_folder(root: Tree, request: Request) -> Dataset:
    """Open the chosen image sets of the folder's layout."""
    from recpack.sources.yolo.dataset import YoloDataset
    from recpack.sources.yolo.layout import images_of, yolo_layout

    if request.selection.images is not None:
        raise ConfigError(
            "images: only for other formats; a YOLO folder's layout says where its images are"
        )
    layout = yolo_layout(root)
    sets = request.choose_sets(
        root,
        "yolo",
        layout.sets if layout else {},
        lambda paths: sum(1 for _ in images_of(root, paths)),
    )
    return YoloDataset(root, sets, (layout.names if layout else ()) or request.class_names)


def open_file(path: str, request: Request) -> Dataset:
    """Open the folder of a ``data.yaml``."""
    return open_folder(open_tree(os.path.dirname(path) or ".", request.s3), request)
