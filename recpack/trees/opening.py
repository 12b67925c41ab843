"""Which tree a path leads to."""

from __future__ import annotations

import os

from recpack.errors import DataError
from recpack.s3.access import Access
from recpack.s3.location import is_s3, parse_location
from recpack.trees.base import Tree
from recpack.trees.local import LocalTree


def open_tree(root: str | os.PathLike[str], access: Access) -> Tree:
    """A data set's root by path or ``s3://…``; DataError when there is no such folder."""
    tree: Tree
    if is_s3(root):
        from recpack.trees.s3 import S3Tree

        tree = S3Tree(parse_location(root), access)
    else:
        tree = LocalTree(os.path.abspath(root))
    try:
        found = tree.is_folder(".")
    except OSError as error:
        raise DataError(f"{os.fspath(root)}: {error.strerror}") from error
    if not found:
        raise DataError(f"{os.fspath(root)}: no such folder")
    return tree
