"""Pascal VOC devkits."""

from __future__ import annotations

import re

from recpack.sources.base import Dataset
from recpack.sources.request import Request
from recpack.sources.selection import Selection
from recpack.storage.trees.base import Tree

ENDINGS = ()


def is_here(root: Tree, selection: Selection) -> bool:
    """Whether there are folders of years, ``Annotations`` or XML files."""
    return (
        selection.annotations is not None
        or any(
            name in ("Annotations", "VOCdevkit") or re.match("VOC[0-9]", name)
            for name in root.folders(".")
        )
        or any(name.endswith(".xml") for name in root.files("."))
    )


def open_folder(root: Tree, request: Request) -> Dataset:
    """See ``layout.open_devkit``."""
    from recpack.sources.voc.dataset import VocDataset
    from recpack.sources.voc.layout import open_devkit

    return VocDataset(open_devkit(root, request.selection))
