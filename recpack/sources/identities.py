"""A folder for each identity, for InsightFace's layout: like ``folders``, but never detected."""

from __future__ import annotations

from recpack.sources.folders import open_file, open_folder
from recpack.sources.selection import Selection
from recpack.storage.trees.base import Tree

__all__ = ["ENDINGS", "is_here", "open_file", "open_folder"]

ENDINGS = ()


def is_here(root: Tree, selection: Selection) -> bool:
    """Never: such a folder is one of classes too."""
    del root, selection
    return False
