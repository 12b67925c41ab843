from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpack.data.boxes import crop_square, normalise, round_to

W, H = 100.0, 50.0


@pytest.mark.parametrize(
    ("box", "policy", "expected", "code", "action"),
    [
        ((10, 10, 20, 20), "repair", (0.1, 0.2, 0.2, 0.4), None, None),
        ((0, 0, 100, 50), "error", (0, 0, 1, 1), None, None),
        ((-5, 10, 120, 60), "repair", (0, 0.2, 1, 1), "box-outside", "clipped"),
        ((-5, 10, 120, 60), "drop", None, "box-outside", "dropped box"),
        ((-5, 10, 120, 60), "error", None, "box-outside", "error"),
        ((20, 20, 10, 10), "repair", (0.1, 0.2, 0.2, 0.4), "box-inverted", "swapped"),
        ((20, 10, 10, 20), "repair", (0.1, 0.2, 0.2, 0.4), "box-inverted", "swapped"),
        ((20, 20, 10, 10), "drop", None, "box-inverted", "dropped box"),
        ((20, 20, 10, 10), "error", None, "box-inverted", "error"),
        ((10, 10, 10, 20), "repair", None, "box-empty", "dropped box"),
        ((10, 10, 10, 20), "error", None, "box-empty", "error"),
        ((100, 10, 120, 20), "repair", None, "box-off-image", "dropped box"),
        ((-9, 10, 0, 20), "drop", None, "box-off-image", "dropped box"),
        ((10, 50, 20, 70), "error", None, "box-off-image", "error"),
    ],
)
def test_policies(
    box: tuple[float, ...],
    policy: str,
    expected: tuple[float, ...] | None,
    code: str | None,
    action: str | None,
) -> None:
    table = np.array([(1, 1, 2, 2), box], np.float64)
    before = table.copy()
    found = normalise(table, np.array([[W, H], [W, H]]), policy=policy)
    np.testing.assert_array_equal(table, before)
    assert found.keep.tolist() == [True, expected is not None]
    if expected is not None:
        np.testing.assert_allclose(found.boxes[1], expected)
    assert [(p.row, p.code, p.action) for p in found.problems] == (
        [(1, code, action)] if code else []
    )


def test_swapped_and_clipped_is_two_problems() -> None:
    found = normalise(np.array([[120.0, 10, 10, 20]]), np.array([[W, H]]))
    assert [p.action for p in found.problems] == ["swapped", "clipped"]
    np.testing.assert_allclose(found.boxes, [[0.1, 0.2, 1, 0.4]])


def test_one_based_shifts_the_near_edges_only() -> None:
    found = normalise(np.array([[1.0, 1, 100, 50]]), np.array([[W, H]]), one_based=True)
    assert found.boxes.tolist() == [[0, 0, 1, 1]]


def test_a_box_lost_in_rounding_is_dropped() -> None:
    boxes, sizes = np.array([[12.0, 10, 13, 40]]), np.array([[30000.0, 100]])
    assert normalise(boxes, sizes).keep.all()
    found = normalise(boxes, sizes, precision=4)
    assert [p.code for p in found.problems] == ["box-empty"]
    assert not found.keep.any()


def test_rounding_is_that_of_the_text() -> None:
    values = np.array([1 / 160, 0.03125, 0.09375, 1 / 3])
    assert round_to(values, 4).tolist() == [float(f"{v:.4f}") for v in values.tolist()]
    assert round_to(values, 4)[0] == 0.0063 != np.round(values, 4)[0]
    assert round_to(values, None) is values


pixel = st.floats(-300, 300)


@given(
    st.lists(st.tuples(pixel, pixel, pixel, pixel), max_size=20),
    st.sampled_from(["repair", "drop", "error"]),
    st.sampled_from([None, 3]),
)
def test_kept_boxes_are_sound_and_the_others_reported(
    boxes: list[tuple[float, ...]], policy: str, precision: int | None
) -> None:
    table = np.array(boxes, np.float64).reshape(-1, 4)
    found = normalise(table, np.full((len(table), 2), 100.0), policy=policy, precision=precision)
    kept = found.boxes[found.keep].astype(np.float32)
    assert ((kept >= 0) & (kept <= 1)).all()
    assert (kept[:, :2] < kept[:, 2:]).all()
    reported = {p.row for p in found.problems if p.action in ("dropped box", "error")}
    assert reported == set(np.flatnonzero(~found.keep).tolist())
    changed = np.abs(found.boxes - table / 100).max(1, initial=0) > 0.001
    assert set(np.flatnonzero(changed & found.keep).tolist()) <= {p.row for p in found.problems}


def test_crop_square() -> None:
    # 100 x 50: the square is x 25 to 75
    boxes = np.array([[0.25, 0, 0.75, 1], [0, 0, 0.5, 0.5], [0, 0, 0.25, 1], [0.4, 0.2, 0.5, 0.4]])
    square, holds = crop_square(boxes, np.full((4, 2), (W, H)))
    assert holds.tolist() == [True, True, False, True]
    np.testing.assert_allclose(
        square[holds], [[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.3, 0.2, 0.5, 0.4]]
    )


def test_a_box_lost_in_rounding_after_the_crop_is_gone() -> None:
    boxes, sizes = np.array([[0.51, 0, 0.52, 1]]), np.array([[W, H]])
    assert crop_square(boxes, sizes)[1].tolist() == [True]
    assert crop_square(boxes, sizes, precision=1)[1].tolist() == [False]


def test_numbers_beyond_all_images() -> None:
    """A warning of NumPy would be an error here."""
    huge = np.array([[1e308, 1, np.inf, 6], [-1e308, -1e308, 1e308, 1e308]])
    found = normalise(huge, np.array([[60.0, 40.0]] * 2))
    assert found.keep.tolist() == [False, True]
    assert found.boxes[1].tolist() == [0, 0, 1, 1]
