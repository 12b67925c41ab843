"""Reads plain annotations by regular expressions, in a fraction of an XML parser's time. Nearly all
files are plain.

It accepts a subset of XML that needs no interpretation: ASCII, no entities, comments, CDATA,
processing instructions or self-closing tags, no attributes (except ``verified`` of the root), one
box per object, no rotation (except 0), plain numbers. ``parse_xml`` parses everything else. Tests
check that both give the same result wherever this one gives a result.

A data set has few sequences of tags: in front of the objects, in an object, behind the objects.
The first part with a new sequence is walked through; it becomes an expression of just these tags,
with groups for the fields, which reads all later ones. All repetitions are possessive: nothing is
tried twice, and the time is linear in the file's size.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from operator import methodcaller
from typing import Any, NamedTuple

from recpack.data.annotation import Annotation

_MAX_BYTES = 1 << 20
"""Far below the sizes where libxml2 has limits of its own."""
_MAX_FORMS, _MAX_TAGS = 32, 200
"""So many expressions for each part of a file, of at most so many tags. Compiling takes as long as
``parse_xml`` for twenty files, so with all places taken, only one in so many new sequences gets
one, in the place of the oldest. ``parse_xml`` reads the others."""

_SPACE = r"[ \t\r\n]*+"
_IGNORED = r"[ \t\r\n!-%'-;=?-~]*+"
# text that needs no decoding; XML turns a carriage return into a line feed, so it is not in it
_TEXT = r"([ \t\n!-%'-;=?-~]*+)"
_NUMBER = rf"{_SPACE}(-?[0-9]{{1,15}}+(?:\.[0-9]{{0,15}}+)?+){_SPACE}"
_FLAG = rf"{_SPACE}([01]){_SPACE}"
_NO_ROTATION = rf"{_IGNORED}<value>{_SPACE}-?0{{1,15}}+(?:\.0{{0,15}}+)?+{_SPACE}</value>"
_ATTRIBUTE = rf"(?!{_SPACE}rotation{_SPACE}</name>(?!{_NO_ROTATION})){_IGNORED}"
"""The text of an attribute's name: not a rotation, but CVAT's usual one, of 0."""

_FILE = {"filename": _TEXT, "size/width": _NUMBER, "size/height": _NUMBER}
_OBJECT = {
    "object/name": _TEXT,
    "object/difficult": _FLAG,
    **{f"object/bndbox/{edge}": _NUMBER for edge in ("xmin", "ymin", "xmax", "ymax")},
}
_NEEDED = {*_OBJECT} - {"object/difficult"}
_FIELDS = {**_FILE, **_OBJECT, "object/bndbox": f"({_IGNORED})"}
"""Path below the root → its text, in a group. No field may be there twice."""
_UNUSED = "(?:(?!)())?"
"""A group that is None, for fields that are not there."""
_TAG = re.compile("[A-Za-z_][A-Za-z0-9_.-]{0,60}")
_MAX_DEPTH = 16
"""libxml2 takes 256 levels."""


def _quote(text: str) -> str:
    return f"(?:\"(?:{text})\"|'(?:{text})')"


_BEGIN = (
    rf"(?:<\?xml version={_quote('1[.]0')}(?: encoding={_quote('utf-8|UTF-8')})?+ ?+\?>)?+"
    rf"{_SPACE}<annotation(?: verified={_quote('yes|no')})?+>{_IGNORED}"
)
_WHOLE = {str(number): float(number) for number in range(4096)}
"""Most edges; to look a number up takes a third of ``float``'s time."""
_END = re.compile(rf"</annotation>{_SPACE}\Z")
_PARTS = {
    "head": (_BEGIN, r"(?=<object>|</annotation>)"),
    "object": ("", ""),
    "tail": (_IGNORED, _END.pattern),
}
"""The expressions in front of a part's tags and behind them."""


class _Form(NamedTuple):
    """A part of a file with certain tags."""

    tags: list[str]
    match: Callable[[str, int], re.Match[str] | None]
    fields: Callable[[re.Match[str]], tuple[Any, ...]]
    """The texts of ``_FILE``, or of ``_OBJECT``; None for those that are not there."""


_forms: dict[str, list[_Form]] = {part: [] for part in _PARTS}
_refusals = count(1)


def _compile(part: str, tags: list[str]) -> _Form | None:
    """The expression for a part with these tags; None where their meaning is not plain."""
    path: list[str] = []
    found: list[str] = []
    before, after = _PARTS[part]
    pattern = before
    for number, tag in enumerate(tags):
        text = _IGNORED
        if tag.startswith("/"):
            if not path or path.pop() != tag[1:]:
                return None
        else:
            path.append(tag)
            where = "/".join(path)
            if len(path) > _MAX_DEPTH or _TAG.fullmatch(tag) is None:
                return None
            if where in found or where == "object/bndbox/angle" or (tag == "object" and number):
                return None
            if where in _FIELDS:
                found.append(where)
                text = _FIELDS[where]
            elif path[:2] == ["object", "attributes"] and len(path) == 4:
                if tag == "name" and tags[number + 1] == "/name":
                    text = _ATTRIBUTE
                elif tag == "name" or (tag == "value" and tags[number - 1] != "/name"):
                    return None
        pattern += f"<{re.escape(tag)}>{text}"
    fields = _OBJECT if part == "object" else _FILE
    if path or (part == "object" and not {*found} >= _NEEDED):
        return None
    groups = [found.index(field) + 1 if field in found else len(found) + 1 for field in fields]
    if max(groups) > len(found):
        pattern += _UNUSED
    return _Form(tags, re.compile(pattern + after).match, methodcaller("group", *groups))


def _new_form(part: str, text: str, at: int) -> _Form | None:
    """The form of the part that begins here, unless it is known."""
    if part == "head":
        begin = re.match(_BEGIN, text)
        at = len(text) if begin is None else begin.end()
        end = text.find("<object>")
        if end < 0:
            end = text.rfind("</annotation>")
    elif part == "object":
        end = text.find("</object>", at) + len("</object>")
    else:
        end = text.rfind("</annotation>")
    tags = re.findall("<([^<>]*)>", text[at:end])
    known = _forms[part]
    if end < at or len(tags) > _MAX_TAGS or any(form.tags == tags for form in known):
        return None
    if len(known) >= _MAX_FORMS and next(_refusals) % _MAX_FORMS:
        return None
    form = _compile(part, tags)
    if form is not None:
        known.append(form)
        del known[:-_MAX_FORMS]
    return form


def _read(part: str, text: str, at: int) -> tuple[tuple[Any, ...], int] | None:
    """The fields of the head or the tail that begins here, and where it ends."""
    for form in _forms[part]:
        found = form.match(text, at)
        if found is not None:
            return form.fields(found), found.end()
    return None if _new_form(part, text, at) is None else _read(part, text, at)


def read_plain(data: bytes) -> Annotation | None:
    """The annotation, equal to the result of ``parse_xml``; None when only that one can read it."""
    if len(data) > _MAX_BYTES or not data.isascii():
        return None
    text = data.decode("ascii")
    head = _read("head", text, 0)
    if head is None:
        return None
    (filename, width, height), at = head
    names: list[str] = []
    edges: list[str] = []
    difficult: list[int] = []
    while text.startswith("<object>", at):
        begin = at
        for form in _forms["object"]:
            match, fields = form.match, form.fields
            while (found := match(text, at)) is not None:
                name, flag, xmin, ymin, xmax, ymax = fields(found)
                names.append(name.strip())
                edges += (xmin, ymin, xmax, ymax)
                difficult.append(1 if flag == "1" else 0)
                at = found.end()
            if at > begin:
                break
        else:
            if _new_form("object", text, at) is None:
                return None
    if _END.match(text, at) is None:
        tail = _read("tail", text, at)
        if tail is None:
            return None
        (later, *sides), _ = tail
        filename = filename if later is None else later
        width, height = (new or old for new, old in zip(sides, (width, height), strict=True))
    if "" in names or (not names and "<bndbox>" in text):
        return None
    edges += (width or "0", height or "0")
    try:
        boxes = list(map(_WHOLE.__getitem__, edges))
    except KeyError:
        boxes = list(map(float, edges))
    height = boxes.pop()
    width = boxes.pop()
    return Annotation(
        filename.strip() if filename else "",
        max(width, 0.0),
        max(height, 0.0),
        names,
        boxes,
        difficult,
        list(range(1, len(names) + 1)),
        len(names),
    )
