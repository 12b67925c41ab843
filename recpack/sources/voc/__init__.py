"""Pascal VOC devkits."""

from __future__ import annotations

import re

from recpack.sources.base import Dataset
from recpack.sources.request import Request
from recpack.sources.selection import Selection
from recpack.storage.trees.base import Tree

ENDINGS = ()


def is_here(root: Tree, selection: Selection) -> bool:
    """Whether there are folders of years, XML files in one of the known places, or the folder of
    the image sets."""
    from recpack.sources.voc.folders import has_annotations

    return (
        selection.annotations is not None
        or any(
            name in ("ImageSets", "VOCdevkit") or re.match("VOC[0-9]", name)
            for name in root.folders(".")
        )
        or has_annotations(root, selection)
    )


def open_folder(root: Tree, request: Request) -> Dataset:
    """Open the chosen image sets; see ``layout.open_devkit``."""
    from recpack.sources.voc.dataset import VocDataset
    from recpack.sources.voc.folders import set_folders
    from recpack.sources.voc.layout import all_ids, open_devkit, open_set_folders

    sets = set_folders(root, request.selection)
    if not sets:
        return VocDataset(open_devkit(root, request.selection))
    chosen = request.choose_sets(root, "voc", sets, lambda folders: len(all_ids(root, folders[0])))
    dataset = VocDataset(open_set_folders(root, chosen))
    dataset.parts = {part for folders in sets.values() for part in folders[:2]}
    return dataset
