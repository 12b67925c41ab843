"""A ``.lst`` file as a data set: its rows, with images below a root."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import join

from recpack.columns import StringColumn
from recpack.data.samples import Samples
from recpack.errors import ListError
from recpack.formats.lst import RowTable, read_rows
from recpack.problems import Problem, count_text
from recpack.sources.tails import Tails, foreign, path_resolved
from recpack.storage.blocks import TextFile
from recpack.storage.paths import PathOrUrl, unsafe_path
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.base import Tree
from recpack.storage.trees.open import Root, open_tree

_UNSAFE = ("\0", "..\n", "\n\n", "\n.\n")
"""One of these, or a mark of a foreign path, is in the text of paths of which one is unsafe."""


def read_list(path: PathOrUrl, root: Root, s3: S3Client) -> Samples:
    """Read a list. Images whose path was written on another machine, or in another Unicode
    normalisation, are found as in data sets. Raises ListError that names the file, also for a path
    out of the root that means none below it, and DataError when the root does not exist."""
    tree = open_tree(root, s3)
    table = RowTable()
    with open_list(path) as file, naming(path):
        for block in file.blocks():
            table.append(read_rows(block.lines(), block.number))
        samples = table.samples(tree)
        samples = replace(samples, root=tree.holding(samples.paths[0]))
    odd = [samples.paths[row] for row in odd_rows(list(samples.paths))]
    return find_images(path, samples, odd)[0]


def open_list(path: PathOrUrl) -> TextFile:
    """Open a list. Raises ListError, also for one on S3."""
    if is_s3(path):
        copy = join(["aws", "s3", "cp", os.fspath(path), "."])
        raise ListError(f"{path}: a list must be on a disk; copy it first: {copy}")
    with naming(path):
        return TextFile(Path(path))


@contextmanager
def naming(path: PathOrUrl) -> Iterator[None]:
    """Faults become a ListError that names the list."""
    try:
        yield
    except ListError as error:
        raise ListError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ListError(f"{path}: can't be read: {reason}") from error


def odd_rows(paths: Sequence[str]) -> list[int]:
    """The positions of paths that perhaps are not those of their files."""
    text = "\n".join(["", *paths, ""])
    if text.isascii() and not foreign(paths) and not any(mark in text for mark in _UNSAFE):
        return []
    return [
        row
        for row, path in enumerate(paths)
        if unsafe_path(path) or not path.isascii() or foreign([path])
    ]


def find_images(
    path: PathOrUrl, samples: Samples, odd: Iterable[str]
) -> tuple[Samples, Mapping[str, str], list[Problem]]:
    """Find the images of the ``odd`` paths of the list ``path``. Returns the samples, the paths
    found by those in the list, notes, and an error for each path that could mean several files.
    Raises ListError for a path out of the root that means no file below it."""
    with naming(path):
        settled, problems = _find_images(samples.root, set(odd), samples.paths)
    if settled:
        paths = StringColumn(settled.get(path, path) for path in samples.paths)
        samples = replace(samples, paths=paths)
    return samples, settled, problems


def _find_images(
    root: Tree, odd: Collection[str], paths: StringColumn
) -> tuple[dict[str, str], list[Problem]]:
    folder = str(root).rstrip("/") + "/"
    settled, wanted, problems = {}, {}, []
    for path in sorted(odd):
        own = path.removeprefix(folder)
        if unsafe_path(own) or not root.is_file(own):
            wanted[path] = path
        elif own != path:
            settled[path] = own
            problems.append(path_resolved(path, path, own))
    if wanted:
        found, others = Tails(root, ".", lambda: paths).settle(wanted)
        settled, problems = settled | found, problems + others
    known = {*settled, *(problem.file for problem in problems)}
    lost = [path for path in wanted if unsafe_path(path) and path not in known]
    if lost:
        raise ListError(
            f"path {lost[0][:200]!r} leaves the root, and no file below {root} ends like it "
            f"({count_text(len(lost), 'such path')}); give the folder of the images as the root"
        )
    return settled, problems
