"""The colours of classes."""

from __future__ import annotations

from itertools import combinations

import pytest

from recpack.colours import Colour, class_colour, css, ink_on

pytestmark = pytest.mark.once


def lightness(colour: Colour) -> float:
    """As WCAG 2 defines it."""
    parts = [value / 255 for value in colour]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_many_classes_differ_and_the_first_are_well_apart() -> None:
    assert len({class_colour(id_) for id_ in range(500)}) == 500
    for one, other in combinations(map(class_colour, range(12)), 2):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 75, (one, other)


@pytest.mark.parametrize("id_", [*range(60), 1e9, 0.5, 16777216.0])
def test_a_text_on_a_colour_can_be_read(id_: float) -> None:
    ground = class_colour(id_)
    light, ink = lightness(ground), lightness(ink_on(ground))
    contrast = (max(light, ink) + 0.05) / (min(light, ink) + 0.05)
    assert contrast >= 3
    assert css(ground) == f"#{ground[0]:02x}{ground[1]:02x}{ground[2]:02x}"
