"""A ``.lst`` file as a data set: its rows, with images below a root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from recpack.columns import StringColumn
from recpack.data.samples import Samples
from recpack.errors import ListError
from recpack.formats.lst import parse_rows
from recpack.problems import Problem, count_text
from recpack.sources.tails import Tails, foreign, path_resolved
from recpack.storage.files import text_lines
from recpack.storage.paths import PathOrUrl, unsafe_path
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.base import Tree
from recpack.storage.trees.open import Root, open_tree


def read_list(
    path: PathOrUrl, root: Root, s3: S3Client, *, follow_links: bool = False
) -> tuple[Samples, Mapping[str, str], list[Problem]]:
    """Read a list; see ``parse_rows``. Images whose path was written on another machine, or in
    another Unicode normalisation, are found as in data sets. Returns the samples, the paths found
    by those in the list, notes, and an error for each path that could mean several files. Raises
    ListError that names the file, also for a path out of the root that means none below it, and
    DataError when the root does not exist."""
    tree = open_tree(root, s3, follow_links=follow_links)
    try:
        samples = parse_rows(text_lines(Path(path)), tree)
        settled, problems = _find_images(tree, samples.paths)
    except ListError as error:
        raise ListError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise ListError(f"{path}: can't be read: {error}") from error
    if settled:
        paths = StringColumn(settled.get(path, path) for path in samples.paths)
        samples = replace(samples, paths=paths)
    return samples, settled, problems


def _find_images(root: Tree, paths: StringColumn) -> tuple[dict[str, str], list[Problem]]:
    odd = {path for path in paths if unsafe_path(path) or not path.isascii()}
    if foreign(paths):
        odd |= {path for path in paths if foreign([path])}
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
