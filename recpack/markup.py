"""HTML for notebooks and pages: pictures with boxes, tables. It needs no network, script or style
sheet, and takes the colours of what is around it, light or dark."""

from __future__ import annotations

import math
from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from recpack.colours import Colour, css, ink_on
from recpack.display import hide_secrets, one_line

_LONGEST_TEXT = 200
_LONGEST_NAME = 40
_MOST_ROWS = 100
_CELL = "padding:.15em 1.2em .15em 0;vertical-align:top;background:none;text-align:left"


class Box(NamedTuple):
    """A box of a picture: its edges in pixels, its name (empty: none is written) and its colour."""

    left: float
    top: float
    right: float
    bottom: float
    name: str
    colour: Colour


def text(value: object, longest: int = _LONGEST_TEXT) -> str:
    """Any text, as one harmless line of HTML; what is longer is cut off."""
    from html import escape  # only what is shown needs it, and it takes a millisecond

    line = one_line(hide_secrets(str(value)))
    return escape(line if len(line) <= longest else line[: longest - 1] + "…")


def svg_picture(image: bytes, size: tuple[int, int], boxes: Iterable[Box]) -> str:
    """An encoded JPEG or PNG with boxes over it. ``size``: width and height in pixels of what the
    boxes are of, to which the image is stretched; it can have fewer pixels. Boxes with an edge that
    is no finite number are left out. The picture is as wide as its place, at most ``size``."""
    wide, high = size
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    data = b2a_base64(image, newline=False).decode("ascii")
    drawn = [box for box in boxes if all(map(math.isfinite, box[:4]))]
    # small boxes last, so that no larger one covers them
    drawn.sort(key=lambda box: -abs((box.right - box.left) * (box.bottom - box.top)))
    return (
        f'<svg viewBox="0 0 {wide} {high}" role="img" '
        f'style="display:block;width:100%;max-width:{wide}px">'
        f'<image width="{wide}" height="{high}" preserveAspectRatio="none" '
        f'href="data:image/{kind};base64,{data}"/>'
        + "".join(_outline(box, max(size) / 250) for box in drawn)
        + "".join(_plate(box, size) for box in drawn if box.name)
        + "</svg>"
    )


def _outline(box: Box, stroke: float) -> str:
    left, right = sorted((box.left, box.right))
    top, bottom = sorted((box.top, box.bottom))
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
        f'height="{bottom - top:.1f}" fill="none" stroke="{css(box.colour)}" '
        f'stroke-width="{stroke:.2f}"><title>{text(box.name)}</title></rect>'
    )


def _plate(box: Box, size: tuple[int, int]) -> str:
    """The name on a plate of the box's colour: above the box, or in it where there is no room."""
    height = max(size) / 28
    shown = len(box.name[:_LONGEST_NAME])
    width = height * (0.5 * shown + 0.5)
    left = min(max(min(box.left, box.right), 0), max(size[0] - width, 0))
    top = min(box.top, box.bottom)
    top = top - height if top >= height else max(top, 0)
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{css(box.colour)}"/><text x="{left + height / 4:.1f}" '
        f'y="{top + 0.78 * height:.1f}" textLength="{0.5 * shown * height:.1f}" '
        f'lengthAdjust="spacingAndGlyphs" fill="{css(ink_on(box.colour))}" '
        f'style="font:{0.8 * height:.1f}px sans-serif">'
        f"{text(box.name, _LONGEST_NAME)}</text>"
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
