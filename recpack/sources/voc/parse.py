"""Pascal VOC: annotation bytes → values (pure).

The format is that of the VOC development kits (2005 to 2012) as annotation tools write it today;
tags may stand in any order, and only direct children count: the ``<part>`` boxes of the person
layout task and nested ``<attributes>`` are not objects.
"""

from __future__ import annotations

from recpack.data.annotation import Annotation
from recpack.errors import AnnotationError
from recpack.sources.voc.parse_plain import read_plain

MAX_ANNOTATION = 16 << 20
"""Bytes; an annotation of this size would have some 80,000 objects."""


def parse_annotation(data: bytes) -> Annotation:
    """Annotation bytes → values; the encoding is the one that the bytes declare.

    Raises AnnotationError when nothing can be read (``annotation-malformed``, ``-dtd``,
    ``-not-voc``, ``-too-large``). A fault in one object is a ``Defect`` of the result, and the
    object is left out.
    """
    if len(data) > MAX_ANNOTATION:
        raise AnnotationError("annotation-too-large", "bytes", f"{len(data):,}")
    found = read_plain(data)
    if found is None:
        from recpack.sources.voc.parse_xml import parse_xml

        found = parse_xml(data)
    return found
