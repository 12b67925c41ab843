"""The pictures of the demonstration: what they show is where they say."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from recpack.demo.photograph import CLASSES, make_image

pytestmark = pytest.mark.once


def test_a_box_holds_its_object_exactly() -> None:
    """Objects have colours on gray, so that they can be found by these alone."""
    random = np.random.RandomState(4)
    seen: Counter[str] = Counter()
    while min(seen.get(name, 0) for name in CLASSES) < 3:
        pixels, objects = make_image(random, 320, 240, easy=True)
        if len(objects) != 1:
            continue
        ((name, (left, top, right, bottom)),) = objects
        rows, columns = np.nonzero(np.ptp(pixels.astype(int), 2) > 16)
        found = columns.min() + 1, rows.min() + 1, columns.max() + 1, rows.max() + 1
        # a pixel that an object covers by less than half is not in its box
        assert np.abs(np.subtract(found, (left, top, right, bottom))).max() <= 1, (found, objects)
        seen[name] += 1


def test_objects_are_in_the_picture_and_largely_seen() -> None:
    random = np.random.RandomState(1)
    counts: Counter[str] = Counter()
    for _ in range(12):
        pixels, objects = make_image(random, 375, 500)
        assert pixels.shape == (500, 375, 3)
        assert pixels.std() > 10
        assert 1 <= len(objects) <= 4
        for name, (left, top, right, bottom) in objects:
            counts[name] += 1
            assert 3 < left < right < 373
            assert 3 < top < bottom < 498
            assert max(right - left, bottom - top) >= 30
    assert set(counts) == set(CLASSES)


@pytest.mark.parametrize("size", [(16, 12), (64, 48), (900, 60), (60, 900), (1600, 1200)])
def test_any_size(size: tuple[int, int]) -> None:
    for seed in range(3):
        pixels, objects = make_image(np.random.RandomState(seed), *size)
        assert pixels.shape == (size[1], size[0], 3)
        assert len(objects) <= 4


def test_the_same_seed_gives_the_same_picture() -> None:
    first, again, other = (make_image(np.random.RandomState(seed), 200, 150) for seed in (7, 7, 8))
    assert first[1] == again[1]
    assert first[0].tobytes() == again[0].tobytes() != other[0].tobytes()
