"""The colours of classes, for pictures and pages, without NumPy."""

from __future__ import annotations

import colorsys

Colour = tuple[int, int, int]
"""Red, green, blue: 0 to 255."""

_FIRST: tuple[Colour, ...] = (
    (230, 57, 70), (0, 122, 204), (255, 176, 0), (24, 150, 84), (138, 63, 252), (255, 112, 20),
    (0, 190, 170), (224, 54, 190), (140, 190, 20), (141, 92, 64), (128, 0, 40), (255, 145, 165),
)  # fmt: skip
"""Well apart from each other, neighbours most of all; to be seen on a photograph."""
_GOLDEN = 0.61803398875
"""Steps of this size around the colour circle keep the hues of many classes apart."""
_TONES = ((0.75, 0.95), (0.9, 0.65), (0.45, 1.0))
"""Saturation and value of the classes after the first ones, by turns."""


def class_colour(class_id: float) -> Colour:
    """A class's own colour, the same in every picture and page."""
    if 0 <= class_id < len(_FIRST):
        return _FIRST[int(class_id)]
    saturation, value = _TONES[int(class_id) % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb(class_id * _GOLDEN % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def ink_on(ground: Colour) -> Colour:
    """Black or white: what has more contrast on this colour (as WCAG 2 measures it)."""
    parts = [value / 255 for value in ground]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (0, 0, 0) if light > 0.26 else (255, 255, 255)


def css(colour: Colour) -> str:
    """``#rrggbb``."""
    return "#" + bytes(colour).hex()
