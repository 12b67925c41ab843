"""The pictures of a page: shrunk images in which boxes are drawn as SVG."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import islice
from math import isfinite
from typing import NamedTuple
from unicodedata import east_asian_width

from recpack.colours import Colour, css, ink_on
from recpack.data.samples import Treatment
from recpack.errors import DataError
from recpack.formats.encoding import Encoding
from recpack.formats.image_codec import decode, encode, shrink
from recpack.formats.image_header import parse_header
from recpack.workers.run import run
from recpack.workers.settings import Workers

Source = tuple[bytes | None, Treatment]
"""An image's bytes, None for no picture, and how it is shown."""

UNITS = 320
"""Length of a picture's longer side in the units of its SVG, whatever its pixels."""
_QUALITY = 75
_BATCH = 4
_NAMED = 12
"""The most boxes of a picture that have their name beside them; others tell it to the pointer."""
_DRAWN = 300
"""The most boxes that are drawn in a picture."""
_LETTER, _LINE = 6.4, 15


class Thumbnail(NamedTuple):
    """``jpeg``: the shrunk image · ``width`` and ``height`` of the image itself, in pixels."""

    jpeg: bytes
    width: int
    height: int


@dataclass(slots=True)
class Box:
    """Edges as ratios of the image's width and height, or in pixels; ``key`` is that of its class
    on the page. A ``bad`` one is the object of a problem."""

    key: int
    name: str
    colour: Colour
    edges: Sequence[float]
    bad: bool = False


def thumbnails(
    sources: Iterable[Source], count: int, side: int, workers: Workers
) -> Iterator[Thumbnail | None]:
    """The image of each source, its longer side at most ``side`` pixels; None where none can be
    decoded."""
    left = iter(sources)
    batches = iter(lambda: list(islice(left, _BATCH)), [])
    function = partial(_shrink, side=side)
    jobs, backend = workers.jobs, workers.backend
    for batch in run(function, batches, -(-count // _BATCH), jobs=jobs, backend=backend):
        yield from batch


def _shrink(sources: Sequence[Source], side: int) -> list[Thumbnail | None]:
    """Runs in a worker."""
    return [None if data is None else _thumbnail(data, how, side) for data, how in sources]


def _thumbnail(data: bytes, treatment: Treatment, side: int) -> Thumbnail | None:
    try:
        header = parse_header(data)
        as_stored = treatment is Treatment.AS_STORED
        width, height = (header.width, header.height) if as_stored else header.upright
        longer = max(width, height)
        reduction = next((by for by in (8, 4, 2) if longer >= by * side), 1)
        pixels = shrink(decode(data, treatment, reduction), side)
    except DataError:
        return None
    return Thumbnail(encode(pixels, Encoding(quality=_QUALITY)).tobytes(), width, height)


def svg(picture: Thumbnail | None, boxes: Sequence[Box], title: str, *, pixels: bool) -> str:
    """The picture with its boxes, whose edges are in ``pixels`` or ratios."""
    if picture is None:
        return '<div class="missing">no picture</div>'
    longer = max(picture.width, picture.height)
    width, height = (max(UNITS * side / longer, 1) for side in picture[1:])
    scale = (UNITS / longer,) * 2 if pixels else (width, height)
    named = len(boxes) <= _NAMED
    # bad ones are drawn last, on top of the others
    finite = (box for box in boxes[:_DRAWN] if all(map(isfinite, box.edges)))
    drawn = sorted(finite, key=lambda box: box.bad)
    shapes = "".join(_shape(box, scale, (width, height), named) for box in drawn)
    source = base64.b64encode(picture.jpeg).decode("ascii")
    return (
        f'<svg class="picture" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}"><image width="{width:.0f}" height="{height:.0f}" '
        f'href="data:image/jpeg;base64,{source}"/>{shapes}</svg>'
    )


def _shape(box: Box, scale: tuple[float, float], size: tuple[float, float], named: bool) -> str:
    left, right = sorted(_near(edge * scale[0]) for edge in box.edges[0::2])
    top, bottom = sorted(_near(edge * scale[1]) for edge in box.edges[1::2])
    kind = ' class="bad"' if box.bad else ""
    name = box.name if len(box.name) <= 32 else box.name[:31] + "…"
    tag = ""
    if named:
        letters = sum(1 + (east_asian_width(letter) in "WF") for letter in name)
        wide = letters * _LETTER
        x = max(min(left, size[0] - wide - 6), 0)
        y = min(max(top - _LINE if top >= _LINE else top, 0), size[1] - _LINE)
        ground, ink = css(box.colour), css(ink_on(box.colour))
        tag = (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide + 6:.1f}" height="{_LINE}" '
            f'fill="{ground}"/><text x="{x + 3:.1f}" y="{y + 11:.1f}" textLength="{wide:.1f}" '
            f'lengthAdjust="spacingAndGlyphs" fill="{ink}">{escape(name)}</text>'
        )
    return (
        f'<g data-c="{box.key}"{kind}><title>{escape(box.name)}</title>'
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
        f'height="{bottom - top:.1f}" stroke="{css(box.colour)}"/>{tag}</g>'
    )


def _near(edge: float) -> float:
    """Browsers refuse numbers that are far too large."""
    return min(max(edge, -UNITS), 2 * UNITS)
