"""The largest input of each kind that is read. What is larger is refused before it is read.

The page of limits in the documentation says why nothing real is larger.
"""

from __future__ import annotations

import os

MAX_MANIFEST = 64 << 20
"""Bytes of a manifest, or of a file of classes: a million classes have 40 MB."""
MAX_PROPERTY = 1 << 12
"""Bytes of a ``property`` of InsightFace: some dozen."""
MAX_MARKER = 1 << 20
"""Bytes of the marker of an upload."""
MAX_INDEX_LINE = 42
"""Bytes of a line of an ``.idx``: two numbers of 64 bits, a tab, a line end."""
MAX_LIST = 64 << 30
"""Bytes of a ``.lst``, an image set, a list of images, which are read by lines: the rows of a
billion images."""
MAX_LINE = 16 << 20
"""Characters of a line; a list row with half a million objects has fewer."""
MAX_ANNOTATION = 16 << 20
"""Bytes of the XML, JSON or label file of one image: 80,000 objects in XML."""
MAX_LAYOUT = 4 << 20
"""Bytes of a ``data.yaml``, an ``obj.data`` or a file of names in a YOLO folder."""
MAX_DOCUMENT = 8 << 30
"""Bytes of a document with all annotations; see ``most_of_document``."""
MAX_IMAGE = 1 << 30
"""Bytes of an image file; a record holds half of that."""
MAX_PIXELS = 1 << 28
"""16,384 x 16,384: 768 MiB when decoded; a quarter of OpenCV's own limit."""
MAX_PARTS = 1 << 16
"""Parts of a record. Each after the first stands for a magic word in the image: a chance of one in
four billion for each four bytes."""


def most_of_document() -> int:
    """Bytes of what this machine reads in one piece: COCO, augmented manifests, tables, lists on S3
    and in archives. It needs twice its size, a hostile one more, so a quarter of the memory is the
    limit on small machines."""
    return min(MAX_DOCUMENT, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4)
