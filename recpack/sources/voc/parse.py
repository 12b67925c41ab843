"""Pascal VOC: annotation bytes → values (pure).

The format is that of the VOC development kits (2005 to 2012), as annotation tools write it today.
Tags can have any order. Only direct children count: the ``<part>`` boxes of the person layout task
and nested ``<attributes>`` are not objects.
"""

from __future__ import annotations

from recpack.data.annotation import Annotation
from recpack.errors import AnnotationError
from recpack.sources.voc.parse_plain import read_plain
from recpack.storage.limits import MAX_ANNOTATION


def parse_annotation(data: bytes) -> Annotation:
    """Annotation bytes → values. The bytes declare their encoding.

    Raises AnnotationError when nothing can be read (``annotation-malformed``, ``-dtd``,
    ``-not-voc``, ``-too-large``). An object with a fault is left out,
    and the result has a ``Defect`` for it.
    """
    if len(data) > MAX_ANNOTATION:
        raise AnnotationError("annotation-too-large", "bytes", f"{len(data):,}")
    found = read_plain(data)
    if found is None:
        from recpack.sources.voc.parse_xml import parse_xml

        found = parse_xml(data)
    return found
