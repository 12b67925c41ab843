"""Reads plain annotations by regular expressions, in a third of an XML parser's time. Nearly all
files are plain.

It accepts a subset of XML that needs no interpretation: ASCII, no entities, comments, CDATA,
processing instructions or self-closing tags, no attributes (except ``verified`` of the root), one
box per object, no rotation (except 0), plain numbers. ``parse_xml`` parses everything else. Tests
check that both give the same result wherever this one gives a result. All repetitions are
possessive: nothing is tried twice, and the time is linear in the file's size.
"""

from __future__ import annotations

import re

from recpack.data.annotation import Annotation

_MAX_BYTES = 1 << 20
"""Far below the sizes where libxml2 has limits of its own."""

_SPACE = r"[ \t\r\n]*+"
# text that needs no decoding; XML turns a carriage return into a line feed, so it is not in it
_TEXT = r"([ \t\n!-%'-;=?-~]*+)"
_NUMBER = r"([ \t\n]*+-?[0-9]{1,15}+(?:\.[0-9]{0,15}+)?+[ \t\n]*+)"
_FLAG = r"[ \t\n]*+([01])[ \t\n]*+"
_IGNORED = r"[ \t\r\n!-%'-;=?-~]*+"


def _element(tag: str, content: str) -> str:
    return f"<{tag}>{content}</{tag}>{_SPACE}"


def _any_element(but: str, prefix: str) -> str:
    """An element to ignore, of any name but ``but``, with up to three levels in it and no
    ``object`` among them. Only a named group can say that the closing tag has the same name;
    ``prefix`` makes group names unique."""
    pattern = ""
    for level in range(4):
        name, children = f"{prefix}{level}", f"(?:{pattern}{_IGNORED})*+" if pattern else ""
        excluded = f"(?!(?:{but}|object)>)" if level == 3 else "(?!object>)"
        pattern = (
            rf"(?><{excluded}(?P<{name}>[A-Za-z_][A-Za-z0-9_.-]{{0,60}}+)>"
            rf"{_IGNORED}{children}</(?P={name})>)"
        )
    return pattern + _SPACE


def _fields_around_objects(prefix: str) -> str:
    """The elements before or after the objects: groups filename, width, height."""
    size_fields = [
        _element("width", _NUMBER),
        _element("height", _NUMBER),
        _any_element("width|height", prefix + "s"),
    ]
    parts = [
        _element("filename", _TEXT),
        _element("size", f"{_SPACE}(?:{'|'.join(size_fields)})*+"),
        _any_element("filename|size", prefix),
    ]
    return f"(?:{'|'.join(parts)})*+"


# attributes without rotation but CVAT's usual one, of 0
_NO_ROTATION = rf"rotation</name>{_SPACE}<value>-?0{{1,15}}+(?:\.0{{0,15}}+)?+</value>"
_NOT_ROTATED = (
    rf"(?!<attributes>(?:(?!</attributes>)(?:[^r]|r(?!otation)|{_NO_ROTATION}))*+rotation)"
)


def _fields_around_box(prefix: str) -> str:
    """The elements before or after an object's box: groups name, difficult."""
    parts = [
        _element("name", _TEXT),
        _element("difficult", _FLAG),
        _NOT_ROTATED + _any_element("name|difficult|bndbox", prefix),
    ]
    return f"(?:{'|'.join(parts)})*+"


def _quote(text: str) -> str:
    return f"(?:\"(?:{text})\"|'(?:{text})')"


_EDGES = "|".join(_element(edge, _NUMBER) for edge in ("xmin", "ymin", "xmax", "ymax"))

_HEAD = re.compile(
    rf"(?:<\?xml version={_quote('1[.]0')}(?: encoding={_quote('utf-8|UTF-8')})?+ ?+\?>)?+"
    rf"{_SPACE}<annotation(?: verified={_quote('yes|no')})?+>{_SPACE}{_fields_around_objects('h')}"
)
_OBJECT = re.compile(
    _element(
        "object",
        f"{_SPACE}{_fields_around_box('a')}"
        + _element("bndbox", f"{_SPACE}(?:{_EDGES}){{4}}+")
        + _fields_around_box("b"),
    )
)
_TAIL = re.compile(rf"{_fields_around_objects('t')}</annotation>{_SPACE}\Z")


def _unnamed_groups(pattern: re.Pattern[str]) -> list[int]:
    return sorted({*range(1, pattern.groups + 1)} - {*pattern.groupindex.values()})


_NOTHING = (None, None, None)
_HEAD_GROUPS, _OBJECT_GROUPS, _TAIL_GROUPS = map(_unnamed_groups, (_HEAD, _OBJECT, _TAIL))


def read_plain(data: bytes) -> Annotation | None:
    """The annotation, equal to the result of ``parse_xml``; None when only that one can read it."""
    if len(data) > _MAX_BYTES or not data.isascii():
        return None
    text = data.decode("ascii")
    head = _HEAD.match(text)
    if head is None:
        return None
    names: list[str | None] = []
    edges: list[str | None] = []
    flags: list[str | None] = []
    at = head.end()
    match = _OBJECT.match
    while (found := match(text, at)) is not None:
        name, flag, xmin, ymin, xmax, ymax, later_name, later_flag = found.group(*_OBJECT_GROUPS)
        names.append(name if later_name is None else later_name)
        edges += (xmin, ymin, xmax, ymax)
        flags.append(later_flag or flag)
        at = found.end()
    tail = _TAIL.match(text, at)
    # one edge can appear twice, and another be missing
    if tail is None or None in edges or None in names or (not names and "<bndbox>" in text):
        return None
    classes = [name.strip() for name in names]  # type: ignore[union-attr]  # no None is left
    if "" in classes:
        return None
    fields = head.group(*_HEAD_GROUPS)
    later = tail.group(*_TAIL_GROUPS)
    if later != _NOTHING:
        fields = tuple(
            new if new is not None else old for old, new in zip(fields, later, strict=True)
        )
    filename, width, height = fields
    return Annotation(
        filename.strip() if filename else "",
        max(float(width), 0.0) if width else 0.0,
        max(float(height), 0.0) if height else 0.0,
        classes,
        list(map(float, edges)),  # type: ignore[arg-type]  # no None is left
        [1 if flag == "1" else 0 for flag in flags],
        list(range(1, len(names) + 1)),
        len(names),
    )
