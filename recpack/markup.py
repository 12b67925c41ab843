"""HTML for notebooks and pages: pictures with boxes, tables. It needs no network, script or style
sheet, and takes the colours of what is around it, light or dark."""

from __future__ import annotations

import math
from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from recpack.colours import Colour, css, ink_on
from recpack.display import hide_secrets, one_line

_LONGEST_TEXT = 200
_LONGEST_NAME = 32
_DRAWN = 300
"""The most boxes that are drawn in a picture."""
_ROOM = 25
"""Units of a picture's longer side for each name that is shown: in 320 it has 12 names."""
_LETTER, _PLATE = 6.4, 15
"""Width of a letter and height of a plate, in units."""
_MOST_ROWS = 100
_CELL = "padding:.15em 1.2em .15em 0;vertical-align:top;background:none;text-align:left"


class Box(NamedTuple):
    """A box of a picture: its edges as ratios of the picture's width and height, its name (empty:
    none is shown) and its colour. ``attributes`` of its group are for the style and the script of a
    page; they are HTML."""

    left: float
    top: float
    right: float
    bottom: float
    name: str
    colour: Colour
    attributes: str = ""


def text(value: object, longest: int = _LONGEST_TEXT) -> str:
    """Any text, as one harmless line of HTML; what is longer is cut off."""
    return _escaped(_line(value, longest))


def _line(value: object, longest: int) -> str:
    line = one_line(hide_secrets(str(value)))
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _escaped(line: str) -> str:
    from html import escape  # only what is shown needs it, and it takes a millisecond

    return escape(line)


def svg_picture(
    image: bytes, size: tuple[float, float], boxes: Iterable[Box], title: str = ""
) -> str:
    """An encoded JPEG or PNG, stretched to ``size``, with its first 300 boxes: lines of 2.4 and
    letters of 11 in the units of ``size``. Each box tells its name to the pointer, and shows it
    where there is room for all names. Boxes with an edge that is no finite number are left out.
    The picture is as wide as its place, and has no style, which a page can forbid."""
    wide, high = size
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    data = b2a_base64(image, newline=False).decode("ascii")
    drawn = [_near(box) for box in islice(boxes, _DRAWN) if all(map(math.isfinite, box[:4]))]
    # small boxes last, so that no larger one covers their names
    drawn.sort(key=lambda box: -(box.right - box.left) * (box.bottom - box.top))
    named = len(drawn) * _ROOM <= max(size)
    label = f' aria-label="{text(title)}"' if title else ""
    return (
        f'<svg viewBox="0 0 {wide:.0f} {high:.0f}" display="block" role="img"{label}>'
        f'<image width="{wide:.0f}" height="{high:.0f}" preserveAspectRatio="none" '
        f'href="data:image/{kind};base64,{data}"/>'
        + "".join(_shape(box, size, named) for box in drawn)
        + "</svg>"
    )


def _near(box: Box) -> Box:
    """The box from its upper left; browsers refuse numbers that are far too large."""
    left, top, right, bottom = (min(max(edge, -1), 2) for edge in box[:4])
    (left, right), (top, bottom) = sorted((left, right)), sorted((top, bottom))
    return Box(left, top, right, bottom, *box[4:])


def _shape(box: Box, size: tuple[float, float], named: bool) -> str:
    left, top, right, bottom = (edge * side for edge, side in zip(box[:4], size * 2, strict=True))
    title = f"<title>{text(box.name)}</title>" if box.name else ""
    return (
        f'<g {box.attributes}>{title}<rect x="{left:.1f}" y="{top:.1f}" '
        f'width="{right - left:.1f}" height="{bottom - top:.1f}" fill="none" '
        f'stroke="{css(box.colour)}" stroke-width="2.4"/>'
        f"{_plate(box, left, top, size) if named and box.name else ''}</g>"
    )


def _plate(box: Box, left: float, top: float, size: tuple[float, float]) -> str:
    """The name on a plate of the box's colour: above the box, or in it where there is no room."""
    from unicodedata import east_asian_width  # only pictures need it

    name = _line(box.name, _LONGEST_NAME)
    wide = _LETTER * sum(1 + (east_asian_width(letter) in "WF") for letter in name)
    x = max(min(left, size[0] - wide - 6), 0)
    y = min(max(top - _PLATE if top >= _PLATE else top, 0), size[1] - _PLATE)
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide + 6:.1f}" height="{_PLATE}" '
        f'fill="{css(box.colour)}"/><text x="{x + 3:.1f}" y="{y + 11:.1f}" '
        f'textLength="{wide:.1f}" lengthAdjust="spacingAndGlyphs" font-size="11" '
        f'font-family="ui-monospace, DejaVu Sans Mono, monospace" '
        f'fill="{css(ink_on(box.colour))}">{_escaped(name)}</text>'
    )


def table(rows: Iterable[Sequence[object]], headings: Sequence[str] = ()) -> str:
    """A table. Numbers are shown as people read them; all else is escaped."""
    head = "".join(f'<th style="{_CELL}">{text(name)}</th>' for name in headings)
    lines = [f"<tr>{head}</tr>"] if head else []
    for row in rows:
        cells = "".join(f'<td style="{_CELL}">{_number(cell) or text(cell)}</td>' for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return f'<table style="border-collapse:collapse;margin:.3em 0">{"".join(lines)}</table>'


def _number(value: object) -> str | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:,}" if number else None


def count_table(title: str, counts: Mapping[str, int]) -> str:
    """Counts under a title, the first 100 of those that are not 0; empty without any."""
    rows = [(name, count) for name, count in counts.items() if count]
    more = [(f"… and {len(rows) - _MOST_ROWS:,} more", "")] if len(rows) > _MOST_ROWS else []
    return folded(f"{title} ({len(rows):,})", table([*rows[:_MOST_ROWS], *more])) if rows else ""


def section(title: str, *parts: str) -> str:
    """Parts of HTML under a title, which is text."""
    return f"<div><b>{text(title)}</b>{''.join(parts)}</div>"


def folded(title: str, *parts: str) -> str:
    """Parts of HTML that a click on their title shows."""
    return f"<details><summary>{text(title)}</summary>{''.join(parts)}</details>"


def figure(picture: str, caption: str) -> str:
    """A picture of HTML with a caption, which is text."""
    return f'<figure style="margin:0">{picture}<figcaption>{text(caption)}</figcaption></figure>'


def side_by_side(parts: Iterable[str], width: int = 220) -> str:
    """Parts of HTML in rows, each so many pixels wide."""
    cells = "".join(f'<div style="width:{width}px">{part}</div>' for part in parts)
    return f'<div style="display:flex;flex-wrap:wrap;gap:.6em;margin:.3em 0">{cells}</div>'
