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

    folders = root.folders(".")
    return (
        selection.annotations is not None
        or any(name == "ImageSets" or re.match("VOC[0-9]", name) for name in folders)
        or ("VOCdevkit" in folders and len(folders) > 1)
        or has_annotations(root, selection)
    )


def open_folder(root: Tree, request: Request) -> Dataset:
    """Open the chosen image sets; see ``layout.open_devkit``."""
    from recpack.sources.voc.dataset import VocDataset
    from recpack.sources.voc.folders import set_folders
    from recpack.sources.voc.labelmap import LABELMAP, read_labelmap
    from recpack.sources.voc.layout import all_ids, open_devkit, open_set_folders

    sets = set_folders(root, request.selection)
    if sets:
        chosen = request.choose_sets(root, "voc", sets, lambda one: len(all_ids(root, one[0])))
        dataset = VocDataset(open_set_folders(root, chosen))
        dataset.parts = {part for folders in sets.values() for part in folders[:2]}
    else:
        dataset = VocDataset(open_devkit(root, request.selection))
    if names := read_labelmap(root):
        dataset.classes, dataset.parts = names, {*dataset.parts, LABELMAP}
    return dataset
