"""A ``.lst`` file as a data set: its rows, with images below a root."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recpack.columns import StringColumn
from recpack.data.samples import Samples
from recpack.errors import ListError
from recpack.formats.lst import parse_rows
from recpack.problems import Problem
from recpack.sources.tails import Tails, foreign
from recpack.storage.files import text_lines
from recpack.storage.paths import PathOrUrl
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.open import Root, open_tree


def read_list(path: PathOrUrl, root: Root, s3: S3Client, *, follow_links: bool = False) -> Samples:
    """Read a list; see ``parse_rows``. Raises ListError that names the file, and DataError when the
    root does not exist."""
    tree = open_tree(root, s3, follow_links=follow_links)
    try:
        return parse_rows(text_lines(Path(path)), tree)
    except ListError as error:
        raise ListError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise ListError(f"{path}: can't be read: {error}") from error


def find_images(samples: Samples) -> tuple[Samples, list[Problem]]:
    """A list's samples, with the images that were listed on Windows or by URLs found by the ends of
    their paths. Returns notes, and an error for each path that could mean several files."""
    if not foreign(samples.paths):
        return samples, []
    wanted = {path: path for path in samples.paths if foreign([path])}
    settled, problems = Tails(samples.root, ".", lambda: samples.paths).settle(wanted)
    paths = StringColumn(settled.get(path, path) for path in samples.paths)
    return replace(samples, paths=paths), problems
