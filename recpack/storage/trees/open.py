"""Opens the tree of a path."""

from __future__ import annotations

import os
from collections.abc import Sequence

from recpack.display import did_you_mean_path
from recpack.errors import ConfigError, DataError
from recpack.storage.regular import open_regular
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3, parse_location
from recpack.storage.trees.base import Tree
from recpack.storage.trees.local import LocalTree

_SUFFIXES = (".tar", ".tgz", ".tbz", ".txz", ".gz", ".bz2", ".xz", ".zst", ".zip")

Root = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A data set's root: a folder, or one or several tar or zip archives, by path or ``s3://…``."""


def open_tree(root: Root, s3: S3Client, *, follow_links: bool = False) -> Tree:
    """Open a data set's root. Raises DataError when there is no such folder or archive, ConfigError
    for several paths that are not archives. ``follow_links``: links can lead out of a folder."""
    paths = [root] if isinstance(root, (str, os.PathLike)) else list(root)
    folders = [os.fspath(path) for path in paths if not _is_archive(path)]
    if paths and not folders:
        return _open_archives(paths, s3)
    if len(paths) != 1:
        raise ConfigError(
            f"{', '.join(folders) or 'no path'}: give one folder, or one or several archives"
        )
    return _open_folder(folders[0], s3, follow_links)


def _is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether it is a file, or on S3 a key with an archive's extension."""
    return is_archive_name(path) if is_s3(path) else os.path.isfile(path)


def is_archive_name(path: str | os.PathLike[str]) -> bool:
    """Whether a path ends like an archive."""
    return os.fspath(path).lower().endswith(_SUFFIXES)


def _open_archives(paths: Sequence[str | os.PathLike[str]], s3: S3Client) -> Tree:
    from recpack.storage.trees.archive import find_archive
    from recpack.storage.trees.archive_tree import ArchiveTree

    found = []
    for path in paths:
        try:
            found.append(find_archive(path, s3))
        except OSError as error:
            raise DataError(f"{os.fspath(path)}: {error.strerror or error}") from error
    return ArchiveTree.of(found)


def _open_folder(root: str, s3: S3Client, follow_links: bool) -> Tree:
    tree: Tree
    if is_s3(root):
        from recpack.storage.trees.s3 import S3Tree

        tree = S3Tree(parse_location(root), s3)
    else:
        tree = LocalTree(os.path.abspath(root), follow_links)
    try:
        found = tree.is_folder(".")
        if not found and not is_s3(root) and os.path.exists(root):
            os.close(open_regular(root))  # says what it is
    except OSError as error:
        raise DataError(f"{root}: {error.strerror}") from error
    if not found:
        near = "" if is_s3(root) else did_you_mean_path(root)
        raise DataError(f"{root}: no such folder or archive{near}")
    return tree
