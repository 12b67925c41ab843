"""A ``.lst`` file as a data set: its rows, with images below a root."""

from __future__ import annotations

from pathlib import Path

from recpack.data.samples import Samples
from recpack.errors import ListError
from recpack.formats.lst import parse_rows
from recpack.storage.files import text_lines
from recpack.storage.paths import PathOrUrl
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.open import Root, open_tree


def read_list(path: PathOrUrl, root: Root, s3: S3Client) -> Samples:
    """Read a list; see ``parse_rows``. Raises ListError that names the file, and DataError when the
    root does not exist."""
    tree = open_tree(root, s3)
    try:
        return parse_rows(text_lines(Path(path)), tree)
    except ListError as error:
        raise ListError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise ListError(f"{path}: can't be read: {error}") from error
