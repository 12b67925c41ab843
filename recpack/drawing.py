"""Boxes with the names of their classes, and text, drawn on pixels: uint8 (height, width, 3), blue
first. OpenCV 5 has a font with the letters of most scripts; OpenCV 4 has ASCII alone, so that other
letters lose their accents there, or become ``?``."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import cv2

from recpack.colours import Colour, ink_on
from recpack.columns import Pixels
from recpack.display import one_line

_LONGEST = 60
"""Letters of a name that are drawn, at most."""
_PLAIN = str.maketrans({"…": "...", "·": "-", "–": "-", "—": "-", "’": "'", "ß": "ss"})


class Plate(NamedTuple):
    """The ground of a text: edges in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def common(self, other: Plate) -> int:
        """The area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide * high if wide > 0 and high > 0 else 0


class Tagged(NamedTuple):
    """A box (left, top, right, bottom in pixels), its text and its colour."""

    box: tuple[int, int, int, int]
    text: str
    colour: Colour


@cache
def _font() -> Any:
    """OpenCV 5's own font; None with OpenCV 4."""
    return cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


def legible(text: str) -> str:
    """One line, of letters that the font has."""
    line = one_line(text)
    if _font() is None:
        line = unicodedata.normalize("NFKD", line.translate(_PLAIN))
        line = "".join(letter for letter in line if not unicodedata.combining(letter))
        line = line.encode("ascii", "replace").decode()
    return line


def text_width(text: str, size: int, weight: int = 400) -> int:
    """Pixels that a text takes in letters of ``size`` pixels."""
    text, font = legible(text), _font()
    if font is None:
        return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size / 30, 1)[0][0])
    x, _, wide, _ = cv2.getTextSize((0, 0), text, (0, 0), font, size, weight)
    return int(x + wide)


def fitted(text: str, size: int, width: int, weight: int = 400) -> str:
    """The text, shortened with ``…`` to this width; empty where nothing fits."""
    text = text if len(text) <= 4 * _LONGEST else text[: 4 * _LONGEST] + "…"
    if text_width(text, size, weight) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(text[:middle].rstrip() + "…", size, weight) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low].rstrip() + "…" if low else ""


def write(
    pixels: Pixels, text: str, left: int, baseline: int, size: int, ink: Colour, weight: int = 400
) -> None:
    """Write a line of text."""
    text, font, bgr = legible(text), _font(), ink[::-1]
    if font is None:
        thick = 2 if weight >= 600 and size > 14 else 1
        cv2.putText(
            pixels, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, size / 30, bgr, thick,
            cv2.LINE_AA,
        )  # fmt: skip
    elif text:
        cv2.putText(pixels, text, (left, baseline), bgr, font, size, weight)


def plate_size(text: str, size: int) -> tuple[int, int]:
    """Width and height of a text's ground."""
    return text_width(text, size, 500) + size * 2 // 3, round(size * 1.45)


def write_plate(pixels: Pixels, text: str, plate: Plate, size: int, colour: Colour) -> None:
    """Write a text on its colour."""
    corner = plate.right - 1, plate.bottom - 1
    cv2.rectangle(pixels, plate[:2], corner, colour[::-1], cv2.FILLED)
    baseline = plate.top + round((plate.bottom - plate.top + 0.72 * size) / 2)
    write(pixels, text, plate.left + size // 3, baseline, size, ink_on(colour), 500)


def draw_boxes(
    pixels: Pixels, objects: Sequence[Tagged], thick: int, size: int, *, all_texts: bool
) -> None:
    """Draw boxes, the first on top, with their texts where these cover no other. A text for which
    there is no such place is left out, unless ``all_texts``."""
    height, width = pixels.shape[:2]
    for one in reversed(objects):
        left, top, right, bottom = one.box
        cv2.rectangle(pixels, (left, top), (right, bottom), one.colour[::-1], thick)
    # small boxes first: they have the least space for their texts
    order = sorted(objects, key=lambda one: (one.box[2] - one.box[0]) * (one.box[3] - one.box[1]))
    placed: list[Plate] = []
    texts: list[tuple[str, Plate, Colour]] = []
    for one in order:
        text = fitted(one.text[:_LONGEST], size, width - size, 500)
        plate = find_room(one.box, plate_size(text, size), (width, height), thick, placed)
        if plate is None and all_texts:
            plate = next(places(one.box, plate_size(text, size), (width, height), thick))
        if plate is not None:
            placed.append(plate)
            texts.append((text, plate, one.colour))
    for text, plate, colour in texts:
        write_plate(pixels, text, plate, size, colour)


def find_room(
    box: tuple[int, int, int, int], plate: tuple[int, int], picture: tuple[int, int], thick: int,
    others: Sequence[Plate],
) -> Plate | None:  # fmt: skip
    """A place for a text at its box that meets no other; None: there is none."""
    free = (one for one in places(box, plate, picture, thick) if not any(map(one.common, others)))
    return next(free, None)


def places(
    box: tuple[int, int, int, int], plate: tuple[int, int], picture: tuple[int, int], thick: int
) -> Iterator[Plate]:
    """Where a text can be: above its box, inside at the top, below, inside at the bottom, from the
    left edge and from the right one; then along its sides."""
    wide, high = plate
    half = thick // 2
    left, top, right, bottom = box[0] - half, box[1] - half, box[2] + half + 1, box[3] + half + 1
    rows = [top - high, top, bottom, bottom - high]
    spots = [(x, y) for y in rows for x in (left, right - wide)]
    middle = (top + bottom - high) // 2
    spots += [(right, top), (left - wide, top), (right, middle), (left - wide, middle)]
    spots += [(right, bottom - high), (left - wide, bottom - high), (left, middle)]
    inside = picture[0] - wide, picture[1] - high
    for x, y in spots:
        x, y = min(max(x, 0), max(inside[0], 0)), min(max(y, 0), max(inside[1], 0))
        yield Plate(x, y, x + wide, y + high)
