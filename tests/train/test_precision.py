"""VOC's average precision against a plain account of what GluonCV's metrics do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.detections import Detection, Detections, evaluate, truth_of
from train.precision import average_precisions, iou

Rows = npt.NDArray[Any]
Images = list[tuple[Rows, Rows]]

CLASSES = tuple("abcdef")
SIDE = 400
"""Pixels: boxes are whole numbers of them, as GluonCV has them."""


def random_images(seed: int, count: int) -> Images:
    """Detections near objects and elsewhere, difficult objects, a class without objects, one that
    is never found, images without either, and padding. No two scores are equal."""
    random = np.random.default_rng(seed)
    scores = random.permutation(count * 12) / (count * 12)

    def boxes(number: int) -> Rows:
        corners = np.sort(random.integers(0, SIDE, (number, 2, 2)), 1).reshape(number, 4)
        found: Rows = corners + np.array([0, 0, 1, 1])
        return found

    images = []
    for number in range(count):
        objects = np.full((6, 6), -1.0)
        some = random.integers(0, 6) if number % 5 else 0
        objects[:some, 0] = random.integers(0, 5, some)
        objects[:some, 1:5] = boxes(some) / SIDE
        objects[:some, 5] = random.random(some) < 0.2
        found = np.full((12, 6), -1.0)
        many = random.integers(0, 13)
        found[:many, 0] = random.choice([0, 1, 2, 3, 5], many)
        found[:many, 2:] = boxes(many) / SIDE
        for row in found[:many]:
            if some and random.random() < 0.7:
                one = objects[random.integers(some)]
                shift = random.integers(-20, 21, 4) * [1, 1, 1, 1] / SIDE
                low, high = np.sort((one[1:5] + shift).reshape(2, 2), 0)
                row[2:] = [*low, *(high + 1 / SIDE)]
                row[0] = one[0] if one[0] != 4 else 5
        found[:many, 1] = scores[12 * number : 12 * number + many]
        images.append((found, objects))
    return images


def gluoncv(images: Images, overlap: float, eleven_points: bool) -> dict[int, float]:
    """What ``gluoncv.utils.metrics.voc_detection`` computes, class by class and box by box. Its
    boxes include their last pixel, and it adds 1 to it before it measures."""
    result = {}
    for id_ in range(len(CLASSES)):
        objects_in_all, verdicts = 0, []
        for found, objects in images:
            mine = objects[objects[:, 0] == id_]
            objects_in_all += int((mine[:, 5] == 0).sum())
            taken = set()
            of_class = found[found[:, 0] == id_]
            for row in of_class[np.argsort(-of_class[:, 1])]:
                ratios = [
                    _overlap(np.rint(row[2:] * SIDE), np.rint(one[1:5] * SIDE)) for one in mine
                ]
                if not ratios or max(ratios) < overlap:
                    verdicts.append((row[1], 0))
                    continue
                best = int(np.argmax(ratios))
                verdicts.append((row[1], -1 if mine[best, 5] else int(best not in taken)))
                taken.add(best)
        if not objects_in_all:
            continue
        hits = np.array([verdict for _, verdict in sorted(verdicts, reverse=True)])
        right, wrong = np.cumsum(hits == 1), np.cumsum(hits == 0)
        recall = np.array([0, *right / objects_in_all, 1])
        precision = np.array([0, *right / np.maximum(right + wrong, 1), 0])
        if eleven_points:
            points = [precision[1:-1][recall[1:-1] >= at] for at in np.arange(0.0, 1.1, 0.1)]
            result[id_] = sum(max(point, default=0) / 11 for point in points)
        else:
            steps = range(1, len(recall))
            result[id_] = sum((recall[at] - recall[at - 1]) * precision[at:].max() for at in steps)
    return result


def _overlap(one: Rows, other: Rows) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    both = max(wide, 0) * max(high, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(both / (sum(areas) - both))


@pytest.mark.parametrize("eleven_points", [False, True])
@pytest.mark.parametrize("overlap", [0.5, 0.75])
@pytest.mark.parametrize(("seed", "count"), [(1, 3), (2, 12), (3, 40), (4, 200)])
def test_random_detections(seed: int, count: int, overlap: float, eleven_points: bool) -> None:
    images = random_images(seed, count)
    expected = gluoncv(images, overlap, eleven_points)
    found = average_precisions(images, overlap=overlap, eleven_points=eleven_points)
    assert found == pytest.approx(expected, abs=1e-9)
    assert list(found) == list(expected)
    assert 5 not in found
    pairs = [
        (
            Detections(
                tuple(
                    Detection(int(id_), CLASSES[int(id_)], score, tuple(box))
                    for id_, score, *box in rows.tolist() if id_ >= 0
                ),
                SIDE, SIDE,
            ),
            truth_of(objects),
        )
        for rows, objects in images
    ]  # fmt: skip
    evaluation = evaluate(pairs, CLASSES, overlap=overlap, eleven_points=eleven_points)
    assert evaluation.average_precision == {CLASSES[id_]: one for id_, one in found.items()}
    assert evaluation.mean == pytest.approx(np.mean(list(expected.values())), abs=1e-9)


def test_three_of_ten_do_not_reach_the_fourth_point() -> None:
    box = [0.0, 0.0, 0.5, 0.5]
    images = [(np.array([[0, 0.9, *box]]), np.array([[0, *box]]))] * 3
    images += [(np.empty((0, 6)), np.array([[0, *box]]))] * 7
    assert average_precisions(images, eleven_points=True) == {0: pytest.approx(3 / 11)}
    assert gluoncv([(a, np.column_stack([b, [0]])) for a, b in images], 0.5, True) == {
        0: pytest.approx(3 / 11)
    }


def test_half_is_half_in_ratios_too() -> None:
    found, object_ = np.array([102, 24, 272, 120]) / SIDE, np.array([102, 24, 272, 216]) / SIDE
    assert iou(found[None], object_[None]) < 0.5
    images = [(np.array([[0, 0.9, *found]]), np.array([[0, *object_]]))]
    assert average_precisions(images) == {0: 1.0}


def test_of_equal_scores_the_first_comes_first() -> None:
    box, elsewhere = [0.0, 0.0, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]
    rows = [[0, 0.5, *box], [0, 0.5, *elsewhere]]
    objects = np.array([[0, *box, 0]])
    assert average_precisions([(np.array(rows), objects)]) == {0: 1.0}
    assert average_precisions([(np.array(rows[::-1]), objects)]) == {0: 0.5}
    empty = np.empty((0, 5))
    right, wrong = (np.array([row]) for row in rows)
    assert average_precisions([(right, objects), (wrong, empty)]) == {0: 1.0}
    assert average_precisions([(wrong, empty), (right, objects)]) == {0: 0.5}


def test_nothing_at_all() -> None:
    assert average_precisions([]) == {}
    assert average_precisions([(np.empty((0, 6)), np.empty((0, 5)))]) == {}


@pytest.mark.filterwarnings("error")
def test_numbers_that_are_none_and_boxes_without_an_area() -> None:
    objects = np.array([[0, 0.1, 0.1, 0.1, 0.1, 0], [0, 0.0, 0.0, 0.5, 0.5, 0]])
    rows = np.array(
        [[0, 0.9, np.nan, 0, 1, 1], [0, 0.8, 0.1, 0.1, 0.1, 0.1], [1e18, 1, 0, 0, 1, 1]]
    )
    assert average_precisions([(rows, objects)], overlap=0.0) == {0: 0.0}


edge = st.floats(0, 1).map(lambda value: round(value, 2))
box = st.tuples(edge, edge, edge, edge).map(
    lambda e: (min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]) + 0.01, max(e[1], e[3]) + 0.01)
)


@given(box, box)
def test_overlap(one: Any, other: Any) -> None:
    forth, back, own = iou(np.array([one, other, one]), np.array([other, one, one]))
    assert own == pytest.approx(1)
    assert forth == pytest.approx(back)
    grid = np.zeros((2, 102, 102), bool)
    for layer, (left, top, right, bottom) in zip(grid, (one, other), strict=True):
        edges = [round(100 * e) for e in (top, bottom, left, right)]
        layer[edges[0] : edges[1], edges[2] : edges[3]] = True
    expected = (grid[0] & grid[1]).sum() / (grid[0] | grid[1]).sum()
    assert forth == pytest.approx(expected, abs=1e-6)
