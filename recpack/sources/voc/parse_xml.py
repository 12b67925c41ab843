"""Parses any annotation, with lxml."""

from __future__ import annotations

import re

from lxml import etree

from recpack.data.annotation import Annotation, Defect, is_rotated
from recpack.errors import AnnotationError
from recpack.problems import count_text

_PARSER = etree.XMLParser(
    resolve_entities=False,
    load_dtd=False,
    no_network=True,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
)
_EDGES = {"xmin": 0, "ymin": 1, "xmax": 2, "ymax": 3}
_FLAGS = {"0": 0, "1": 1}


def parse_xml(data: bytes) -> Annotation:
    """See ``parse_annotation``. This parser takes every annotation."""
    root = _root(data)
    result = Annotation()
    for child in root:
        tag = child.tag
        if tag == "object":
            result.object_count += 1
            _object(child, result)
        elif tag == "size":
            for side in child:
                if side.tag == "width":
                    result.width = _side(side)
                elif side.tag == "height":
                    result.height = _side(side)
        elif tag == "filename":
            result.filename = (child.text or "").strip()
    nested = [one for one in root.iter("object") if one.getparent() is not root]
    if not result.object_count:
        nested = nested or list(root.iter("bndbox"))
    if nested:
        path = root.getroottree().getpath(nested[0])[1:]
        result.defects.append(Defect("object-nested", 0, path, count_text(len(nested), "element")))
    return result


def _root(data: bytes) -> etree._Element:
    try:
        root = etree.fromstring(data, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        root = _decode_root(data, error)
    if root.getroottree().docinfo.doctype:
        raise AnnotationError("annotation-dtd")
    if root.tag != "annotation":
        raise AnnotationError("annotation-not-voc", "root element", str(root.tag)[:80])
    return root


_DECLARATION = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")


def _decode_root(data: bytes, error: Exception) -> etree._Element:
    """Parse what libxml2 could not decode. Python knows more encodings, and files that declare
    gb2312 are usually in its superset gb18030."""
    if b"<!DOCTYPE" in data:
        raise AnnotationError("annotation-dtd") from None
    declaration = _DECLARATION.match(data[:200])
    if declaration is not None and declaration[1].lower() not in (b"utf-8", b"utf8"):
        name = declaration[1].decode().lower()
        try:
            text = data[declaration.end() :].decode("gb18030" if name == "gb2312" else name)
            return etree.fromstring(text.encode(), _PARSER)
        except (LookupError, ValueError, etree.XMLSyntaxError):
            pass
    raise AnnotationError("annotation-malformed", "", str(error)[:200]) from None


def _side(element: etree._Element) -> float:
    try:
        return max(float(element.text or ""), 0.0)
    except ValueError:
        return 0.0


def _object(element: etree._Element, result: Annotation) -> None:
    number = result.object_count
    name = None
    difficult = 0
    rotation = turned = ""
    boxes: list[list[float]] = []
    valid = True
    for child in element:
        tag = child.tag
        if tag == "name":
            name = (child.text or "").strip()
        elif tag == "bndbox":
            box = _box(child, number, result)
            if box is None:
                valid = False
            else:
                boxes.append(box)
            rotation = (child.findtext("angle") or rotation).strip()
        elif tag == "robndbox":  # roLabelImg's, with an angle
            turned = (child.findtext("angle") or "").strip()
        elif tag == "attributes":
            rotation = _rotation(child)
        elif tag == "difficult":
            flag = (child.text or "").strip()
            try:
                difficult = _FLAGS[flag]
            except KeyError:
                result.defects.append(Defect("flag-text", number, "difficult", flag[:80]))
    if not name:
        result.defects.append(Defect("name-missing", number, "", ""))
    elif is_rotated(rotation):
        result.defects.append(Defect("box-rotated", number, "rotation", rotation[:80]))
    elif boxes:
        for box in boxes:
            result.names.append(name)
            result.boxes += box
            result.difficult.append(difficult)
            result.objects.append(number)
    elif valid and is_rotated(turned):
        result.defects.append(Defect("box-rotated", number, "robndbox/angle", turned[:80]))
    elif valid:
        result.defects.append(Defect("box-missing", number, "", ""))


def _rotation(attributes: etree._Element) -> str:
    """The rotation in degrees that CVAT and datumaro write; empty where there is none."""
    for attribute in attributes:
        if (attribute.findtext("name") or "").strip() == "rotation":
            return (attribute.findtext("value") or "").strip()
    return ""


def _box(element: etree._Element, number: int, result: Annotation) -> list[float] | None:
    box: list[float | None] = [None, None, None, None]
    for edge in element:
        index = _EDGES.get(edge.tag)
        if index is None:
            continue
        text = edge.text
        try:
            value = float(text or "")
            # float() also takes inf, nan and 1_000
            if value - value != 0.0 or "_" in text:
                raise ValueError
        except ValueError:
            result.defects.append(
                Defect("number-bad", number, f"bndbox/{edge.tag}", (text or "").strip()[:80])
            )
            return None
        box[index] = value
    for tag, index in _EDGES.items():
        if box[index] is None:
            result.defects.append(Defect("number-bad", number, f"bndbox/{tag}", "missing"))
            return None
    return box  # type: ignore[return-value]  # every edge is a float here
