"""Boxes and texts on pixels."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest

from recpack import drawing
from recpack.colours import class_colour
from recpack.columns import Pixels
from recpack.drawing import Plate, Tagged, draw_boxes, find_room, fitted, plate_size, text_width


def paper(width: int = 400, height: int = 300) -> Pixels:
    return np.full((height, width, 3), 90, np.uint8)


def drawn(text: str) -> bytes:
    pixels = paper()
    drawing.write(pixels, text, 10, 100, 20, (0, 0, 0))
    assert (pixels != 90).any() or not text
    return pixels.tobytes()


def test_fifty_names_meet_nowhere() -> None:
    boxes = np.random.RandomState(0).randint(0, 700, (50, 2))
    placed: list[Plate] = []
    for left, top in boxes.tolist():
        box = (left, top, left + 90, top + 90)
        plate = find_room(box, plate_size("pottedplant", 12), (800, 800), 2, placed)
        if plate is not None:
            assert 0 <= plate.left < plate.right <= 800
            assert 0 <= plate.top < plate.bottom <= 800
            placed.append(plate)
    assert len(placed) >= 45
    assert not any(one.common(other) for one, other in combinations(placed, 2))


def test_a_text_without_room_is_left_out_unless_all_are_wanted() -> None:
    objects = [Tagged((50, 50, 52, 52), "a long name", class_colour(id_)) for id_ in range(40)]
    some, all_ = paper(), paper()
    draw_boxes(some, objects, 1, 12, all_texts=False)
    draw_boxes(all_, objects, 1, 12, all_texts=True)
    seen, also = (
        {one.colour for one in objects if (pixels == one.colour[::-1]).all(2).sum() > 50}
        for pixels in (some, all_)
    )
    assert 2 <= len(seen) < 10
    assert objects[-1].colour in also - seen  # written over others


def test_the_first_box_is_on_top() -> None:
    pixels = paper()
    box = (100, 100, 300, 250)
    draw_boxes(
        pixels, [Tagged(box, "a", (1, 2, 3)), Tagged(box, "b", (7, 8, 9))], 2, 12, all_texts=True
    )
    assert tuple(pixels[200, 100]) == (3, 2, 1)


def test_a_long_text_is_shortened() -> None:
    text = fitted("one of the longest names of a class " * 100, 12, 150)
    assert text.endswith("…")
    assert text_width(text, 12) <= 150
    assert fitted("cat", 12, 150) == "cat"
    assert fitted("cat", 12, 1) == ""


@pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="OpenCV 4 has ASCII letters alone")
def test_letters_of_other_scripts() -> None:
    names = ["кошка", "собака", "自行车", "行人", "고양이", "γάτα", "chat", "Bär", "Bar"]
    assert len({drawn(name) for name in names}) == len(names)


def test_without_a_font_letters_lose_their_accents(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with OpenCV 4."""
    monkeypatch.setattr(drawing, "_font", lambda: None)
    assert drawing.legible("Straße · café…") == "Strasse - cafe..."
    assert drawing.legible("кошка") == "?????"
    assert drawn("café") == drawn("cafe")
    assert text_width("café", 20) > text_width("café", 10) > 5
    assert drawing.legible("a\nb") == "a\\u000ab"
    pixels = paper()
    draw_boxes(pixels, [Tagged((50, 100, 90, 150), "café", (200, 0, 0))], 1, 12, all_texts=False)
    assert (pixels == (0, 0, 200)).all(2).sum() > 100
