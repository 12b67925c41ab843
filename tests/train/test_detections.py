from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.devkits import jpeg
from train.bodies import MAX_BODY, payload
from train.detections import (
    Box,
    Detection,
    Detections,
    Truth,
    evaluate,
    parse_response,
    truth_of,
)
from train.errors import JobError, TrainError
from train.pictures import colour, draw, load

CLASSES = ("cat", "dog")
RATIOS = (
    b'{"prediction": [[1.0, 0.25, 0.1, 0.2, 0.5, 0.6], [0, 0.75, 0, 0, 1, 1], [-1, 0, 0, 0, 0, 0]]}'
)
PIXELS = json.dumps({
    "image_size": [{"width": 200, "height": 100, "depth": 3}],
    "annotations": [
        {"class_id": 1, "score": 0.25, "left": 20, "top": 20, "width": 80, "height": 40},
        {"class_id": 0, "score": 0.75, "left": 0, "top": 0, "width": 200, "height": 100},
    ],
}).encode()  # fmt: skip


@pytest.mark.parametrize("body", [RATIOS, PIXELS])
def test_both_answers_of_the_service(body: bytes) -> None:
    found = parse_response(body, CLASSES, 200, 100)
    assert [(one.class_id, one.name, one.score) for one in found] == [
        (0, "cat", 0.75), (1, "dog", 0.25),
    ]  # fmt: skip
    np.testing.assert_allclose(found.pixels(), [[0, 0, 200, 100], [20, 20, 100, 60]])
    assert found[1].box == pytest.approx((0.1, 0.2, 0.5, 0.6))
    assert [one.name for one in found.above(0.5)] == ["cat"]
    assert len(found.above(0.9)) == 0
    assert parse_response(body, ("cat",), 200, 100)[1].name == "1"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"no", b"[]", b"{}", b'{"prediction": [[1, 2]]}', b'{"prediction": 1}', b"3",
        b'{"prediction": [["a", 0, 0, 0, 0, 0]]}', b'{"annotations": [], "image_size": []}',
        b'{"image_size": [{"width": 0, "height": 0}], "annotations": [{"class_id": 1, "score": 1,'
        b' "left": 1, "top": 1, "width": 1, "height": 1}]}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_other_answers_are_refused(body: bytes) -> None:
    with pytest.raises(JobError, match="not a list of detections"):
        parse_response(body, CLASSES, 9, 9)


# ---- drawn


def test_drawing(tmp_path: Path) -> None:
    image = np.full((300, 400, 3), 40, np.uint8)
    found = Detections(
        (
            Detection(1, "dog", 0.9, (0.25, 0.5, 0.5, 0.9)),
            Detection(0, "cät", 0.1, (0.6, 0.6, 0.9, 0.9)),
        ),
        400, 300,
    )  # fmt: skip
    pixels = found.draw(image, threshold=0.5).pixels
    assert (image == 40).all()
    for x, y in ((100, 200), (200, 220), (150, 270), (100, 270), (200, 270)):
        assert tuple(pixels[y, x]) == colour(1)
    assert (pixels[160:260, 110:190] == 40).all()  # inside
    assert (pixels[175:275, 230:] == 40).all()  # below the threshold: not drawn
    label = pixels[130:149, 100:180]
    assert (label == colour(1)).all(2).sum() > 300  # a filled plate, with letters on it
    thin = cv2.__version__ < "5"  # letters of OpenCV 4: none of their pixels is all white
    assert (label.min(2) > (150 if thin else 254)).sum() > 20  # in white, well read on blue
    all_ = found.draw(image, threshold=0.0)
    assert tuple(all_.pixels[180, 300]) == colour(0)
    all_.save(tmp_path / "x.png")
    np.testing.assert_array_equal(load(tmp_path / "x.png"), all_.pixels)
    assert all_._repr_png_().startswith(b"\x89PNG")
    (tmp_path / "link.png").symlink_to(tmp_path / "x.txt")
    all_.save(tmp_path / "link.png")
    with pytest.raises(TrainError, match=r"must end in \.png"):
        all_.save(tmp_path / "x.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.png", "x.png"]
    with pytest.raises(TrainError, match="can't be written"):
        all_.save(tmp_path / "none" / "x.png")


def test_labels_stay_in_the_picture() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    pixels = draw(
        image, [(0, 0, 79, 59), (60, 2, 79, 20)], ["a rather long name", "b"], [0, 1]
    ).pixels
    assert pixels.shape == image.shape
    assert (pixels == colour(0)).all(2).any()


def test_what_can_be_drawn_on(tmp_path: Path) -> None:
    data = jpeg(30, 20)
    (tmp_path / "x.jpg").write_bytes(data)
    for image in (data, tmp_path / "x.jpg", str(tmp_path / "x.jpg"), load(data)):
        assert draw(image, [], [], []).pixels.shape == (20, 30, 3)
    (tmp_path / "bad.jpg").write_bytes(b"x")
    for bad, message in (
        (b"x", "the bytes are not an image"),
        (tmp_path / "bad.jpg", "bad.jpg is not an image"),
        (np.zeros((3, 3), np.uint8), r"shape \(3, 3\)"),
        (np.zeros((3, 3, 3)), "float64"),
    ):
        with pytest.raises(TrainError, match=message):
            draw(bad, [], [], [])


def test_colours_of_classes_differ() -> None:
    assert len({colour(id_) for id_ in range(100)}) == 100


# ---- judged


def seen(*rows: tuple[int, float, Box]) -> Detections:
    return Detections(tuple(Detection(i, CLASSES[i], s, box) for i, s, box in rows), 10, 10)


def test_truth_of_a_record() -> None:
    rows = np.array([[1, 0, 0, 0.5, 0.5, 1], [0, 0, 0, 1, 1, 0], [-1, 0, 0, 0, 0, 0]], np.float32)
    assert truth_of(rows) == Truth([1, 0], [(0, 0, 0.5, 0.5), (0, 0, 1, 1)], [True, False])
    assert truth_of(rows[:, :5]).difficult == [False, False]


A, B, FAR = (0.0, 0.0, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9), (0.6, 0.0, 0.7, 0.1)


def test_average_precision_by_hand() -> None:
    # right, wrong, right of three objects: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3
    pairs = [
        (seen((0, 0.9, A), (0, 0.8, FAR), (0, 0.7, B)), Truth([0, 0], [A, B], [False] * 2)),
        (seen(), Truth([0], [A], [False])),
    ]
    found = evaluate(pairs, CLASSES)
    assert found.average_precision == {"cat": pytest.approx(1 / 3 + 1 / 3 * 2 / 3)}
    assert found.mean == found.average_precision["cat"]
    # recall 0, .1, .2, .3 at precision 1; .4, .5, .6 at 2/3
    eleven = evaluate(pairs, CLASSES, eleven_points=True)
    assert eleven.mean == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)


@pytest.mark.parametrize(
    ("detections", "truth", "expected"),
    [
        (seen((0, 0.9, A), (0, 0.8, A)), Truth([0], [A], [False]), 1.0),  # twice: the second wrong
        (seen((0, 0.9, FAR), (0, 0.8, A)), Truth([0], [A], [False]), 0.5),
        (seen((1, 0.9, A)), Truth([0], [A], [False]), 0.0),  # of another class
        (seen(), Truth([0], [A], [False]), 0.0),
        (seen((0, 0.9, B), (0, 0.8, A)), Truth([0, 0], [A, B], [False, True]), 1.0),
        (seen((0, 0.9, (0.0, 0.0, 0.4, 0.19))), Truth([0], [A], [False]), 0.0),  # too little of it
        (seen((0, 0.9, (0.0, 0.0, 0.4, 0.21))), Truth([0], [A], [False]), 1.0),
    ],
)
def test_what_counts_as_right(detections: Detections, truth: Truth, expected: float) -> None:
    assert evaluate([(detections, truth)], CLASSES).mean == pytest.approx(expected)


def test_nothing_to_find() -> None:
    found = evaluate([(seen((0, 0.9, A)), Truth([], [], []))], CLASSES)
    assert (found.average_precision, found.mean) == ({}, 0.0)


@given(st.lists(st.tuples(st.floats(0.01, 1), st.booleans()), max_size=12), st.integers(1, 9))
def test_area_below_the_curve_is_voc_evals(verdicts: list[tuple[float, bool]], extra: int) -> None:
    """Against the development kit's own steps: sentinels, precision made monotone, summed where
    recall changes."""
    verdicts = sorted(dict(verdicts).items(), reverse=True)
    rights = sum(good for _, good in verdicts)
    objects = rights + extra
    pairs = [(seen((0, score, A)), Truth([0] * good, [A] * good, [False] * good))
             for score, good in verdicts]  # fmt: skip
    pairs.append((seen(), Truth([0] * extra, [B] * extra, [False] * extra)))
    good = np.array([good for _, good in verdicts], float)
    recall = np.concatenate(([0], np.cumsum(good) / objects, [1]))
    precision = np.concatenate(([0], np.cumsum(good) / np.arange(1, len(good) + 1), [0]))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    expected = ((recall[steps] - recall[steps - 1]) * precision[steps]).sum()
    assert evaluate(pairs, CLASSES).mean == pytest.approx(expected)


def test_images_that_the_service_does_not_take() -> None:
    noise = np.random.RandomState(0).randint(0, 256, (1500, 2000, 3), np.uint8)
    large = cv2.imencode(".png", noise)[1].tobytes()
    assert len(large) > MAX_BODY
    with pytest.warns(UserWarning, match="encoded again"):
        body, content_type, width, height = payload(large)
    assert (content_type, width, height) == ("image/jpeg", 2000, 1500)
    assert len(body) <= MAX_BODY
    small = np.zeros((20, 30, 3), np.uint8)
    assert payload(small)[1:] == ("image/jpeg", 30, 20)
    assert payload(cv2.imencode(".bmp", small)[1].tobytes())[1] == "image/jpeg"
    png = cv2.imencode(".png", small)[1].tobytes()
    assert payload(png) == (png, "image/png", 30, 20)
