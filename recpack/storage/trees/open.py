"""Which tree a path leads to."""

from __future__ import annotations

import os
from collections.abc import Sequence

from recpack.errors import ConfigError, DataError
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3, parse_location
from recpack.storage.trees.base import Tree
from recpack.storage.trees.local import LocalTree

_SUFFIXES = (".tar", ".tgz", ".tbz", ".txz", ".gz", ".bz2", ".xz", ".zst", ".zip")

Root = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""Where a data set is: a folder, or one or several tar archives, by path or ``s3://…``."""


def open_tree(root: Root, s3: S3Client) -> Tree:
    """A data set's root; DataError when there is no such folder or archive, ConfigError for several
    that are no archives."""
    places = [root] if isinstance(root, (str, os.PathLike)) else list(root)
    folders = [os.fspath(place) for place in places if not _is_archive(place)]
    if places and not folders:
        return _open_archives(places, s3)
    if len(places) != 1:
        raise ConfigError(
            f"{', '.join(folders) or 'nothing'}: name one folder, or tar archives, which alone can "
            "be given together"
        )
    return _open_folder(folders[0], s3)


def _is_archive(place: str | os.PathLike[str]) -> bool:
    """A file, and on S3 a key that ends like an archive's."""
    if is_s3(place):
        return os.fspath(place).endswith(_SUFFIXES)
    return os.path.isfile(place)


def _open_archives(places: Sequence[str | os.PathLike[str]], s3: S3Client) -> Tree:
    from recpack.storage.trees.archive import find_archive
    from recpack.storage.trees.tar import TarTree

    found = []
    for place in places:
        try:
            found.append(find_archive(place, s3))
        except OSError as error:
            raise DataError(f"{os.fspath(place)}: {error.strerror or error}") from error
    return TarTree.of(found)


def _open_folder(root: str, s3: S3Client) -> Tree:
    tree: Tree
    if is_s3(root):
        from recpack.storage.trees.s3 import S3Tree

        tree = S3Tree(parse_location(root), s3)
    else:
        tree = LocalTree(os.path.abspath(root))
    try:
        found = tree.is_folder(".")
    except OSError as error:
        raise DataError(f"{root}: {error.strerror}") from error
    if not found:
        raise DataError(f"{root}: no such folder or archive")
    return tree
