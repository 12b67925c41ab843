"""The plain annotation, read by regular expressions: what nearly all files are, at a third of the
time that an XML parser takes.

Accepted is a subset of XML that leaves nothing to interpret: ASCII, no entities, comments, CDATA,
processing instructions or self-closing tags, no attributes (but ``verified`` of the root), one box
an object, plain numbers. ``voc`` parses everything else, and the tests hold both to the same
result wherever this one gives any. All repetitions are possessive: nothing is tried twice, and a
file of n bytes takes time in n.
"""

from __future__ import annotations

import re

from recpack.data.annotation import Annotation

_MAX_BYTES = 1 << 20
"""Far below the sizes at which libxml2 has limits of its own."""

_SPACE = r"[ \t\r\n]*+"
# text that stands for itself; a carriage return does not (XML makes it a line feed)
_TEXT = r"([ \t\n!-%'-;=?-~]*+)"
_NUMBER = r"([ \t\n]*+-?[0-9]{1,15}+(?:\.[0-9]{0,15}+)?+[ \t\n]*+)"
_FLAG = r"[ \t\n]*+([01])[ \t\n]*+"
_IGNORED = r"[ \t\r\n!-%'-;=?-~]*+"


def _element(tag: str, content: str) -> str:
    return f"<{tag}>{content}</{tag}>{_SPACE}"


def _any_element(but: str, place: str) -> str:
    """An element that does not matter, with up to three levels in it. Group names are the only
    way to say that a tag is closed by its own name; ``place`` keeps them apart."""
    pattern = ""
    for level in range(4):
        name, children = f"{place}{level}", f"(?:{pattern}{_IGNORED})*+" if pattern else ""
        barred = f"(?!(?:{but})>)" if level == 3 else ""
        pattern = (
            rf"(?><{barred}(?P<{name}>[A-Za-z_][A-Za-z0-9_.-]{{0,60}}+)>"
            rf"{_IGNORED}{children}</(?P={name})>)"
        )
    return pattern + _SPACE


def _about(place: str) -> str:
    """What stands around the objects: groups filename, width, height."""
    of_size = [
        _element("width", _NUMBER),
        _element("height", _NUMBER),
        _any_element("width|height", place + "s"),
    ]
    parts = [
        _element("filename", _TEXT),
        _element("size", f"{_SPACE}(?:{'|'.join(of_size)})*+"),
        _any_element("filename|size|object", place),
    ]
    return f"(?:{'|'.join(parts)})*+"


def _in_object(place: str) -> str:
    """What stands around an object's box: groups name, difficult."""
    parts = [
        _element("name", _TEXT),
        _element("difficult", _FLAG),
        _any_element("name|difficult|bndbox", place),
    ]
    return f"(?:{'|'.join(parts)})*+"


def _quoted(text: str) -> str:
    return f"(?:\"(?:{text})\"|'(?:{text})')"


_EDGES = "|".join(_element(edge, _NUMBER) for edge in ("xmin", "ymin", "xmax", "ymax"))

_HEAD = re.compile(
    rf"(?:<\?xml version={_quoted('1[.]0')}(?: encoding={_quoted('utf-8|UTF-8')})?+ ?+\?>)?+"
    rf"{_SPACE}<annotation(?: verified={_quoted('yes|no')})?+>{_SPACE}{_about('h')}"
)
_OBJECT = re.compile(
    _element(
        "object",
        f"{_SPACE}{_in_object('a')}"
        + _element("bndbox", f"{_SPACE}(?:{_EDGES}){{4}}+")
        + _in_object("b"),
    )
)
_TAIL = re.compile(rf"{_about('t')}</annotation>{_SPACE}\Z")


def _numbered(pattern: re.Pattern[str]) -> list[int]:
    return sorted({*range(1, pattern.groups + 1)} - {*pattern.groupindex.values()})


_NOTHING = (None, None, None)
_HEAD_GROUPS, _OBJECT_GROUPS, _TAIL_GROUPS = map(_numbered, (_HEAD, _OBJECT, _TAIL))


def read_plain(data: bytes) -> Annotation | None:
    """The annotation, equal to what the full parser gives, or None: ask that one."""
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
    # an edge may stand there twice, and another one not at all
    if tail is None or None in edges or None in names:
        return None
    classes = [name.strip() for name in names]  # type: ignore[union-attr]
    if "" in classes:
        return None
    about = head.group(*_HEAD_GROUPS)
    later = tail.group(*_TAIL_GROUPS)
    if later != _NOTHING:
        about = tuple(
            new if new is not None else old for old, new in zip(about, later, strict=True)
        )
    filename, width, height = about
    return Annotation(
        filename.strip() if filename else "",
        max(float(width), 0.0) if width else 0.0,
        max(float(height), 0.0) if height else 0.0,
        classes,
        list(map(float, edges)),  # type: ignore[arg-type]
        [1 if flag == "1" else 0 for flag in flags],
        list(range(1, len(names) + 1)),
        len(names),
    )
