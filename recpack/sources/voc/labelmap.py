"""The list of classes in CVAT's and Datumaro's exports of Pascal VOC, ``labelmap.txt``::

    # label:color_rgb:parts:actions
    background:0,0,0::
    car:51,221,255::

Source: cvat-ai/datumaro, the VOC exporter. ``background`` stands for pixels without an object.
"""

from __future__ import annotations

from posixpath import join

from recpack.data.classes import VOC_CLASSES
from recpack.errors import DataError
from recpack.storage.limits import MAX_LAYOUT
from recpack.storage.trees.base import Tree

LABELMAP = "labelmap.txt"
_FIRST = "# label:color_rgb:parts:actions"


def read_labelmap(root: Tree) -> list[str] | None:
    """The names in their order, without the background; None where there is no such list, and where
    Pascal VOC's own twenty names hold all of them, because those have customary ids. Raises
    DataError when it can't be read, because the ids would be others."""
    if not root.is_file(LABELMAP):
        return None
    try:
        with root.folder(".") as folder, folder.open(LABELMAP) as file:
            lines = file.read_all(MAX_LAYOUT).decode("utf-8-sig", "replace").splitlines()
    except OSError as error:
        raise DataError(f"{join(str(root), LABELMAP)}: can't be read: {error}") from error
    if lines[:1] != [_FIRST]:
        return None
    every = dict.fromkeys(line.rsplit(":", 3)[0].strip() for line in lines[1:])
    names = [name for name in every if name not in ("", "background")]
    return names if set(names) - set(VOC_CLASSES) else None
