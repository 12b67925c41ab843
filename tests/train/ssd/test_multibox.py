"""The MultiBox operators against MXNet's own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.support.arrays import ask
from train.ssd import multibox
from train.ssd.losses import losses
from train.ssd.multibox import Targets, detection, prior, target

Array = npt.NDArray[Any]
Oracle = Callable[..., Any]

MINING = {"negative_mining_ratio": 3.0, "negative_mining_thresh": 0.5}
FEW, MANY = (1.0, 2.0, 0.5), (1.0, 2.0, 0.5, 3.0, 0.333333333333)


def anchors_of(*maps: int) -> Tensor:
    return torch.cat(
        [
            prior(side, side, sizes=(size, size * 1.4), ratios=ratios)
            for side, size, ratios in zip(
                maps, (0.1, 0.2, 0.37, 0.88), (FEW, MANY, MANY, FEW), strict=False
            )
        ],
        1,
    )


ANCHORS = anchors_of(19, 10, 5, 3)


def theirs(oracle: Oracle, operator: str, *inputs: Any, **attributes: Any) -> list[Array]:
    arrays = {str(number): value for number, value in enumerate(inputs)}
    return list(ask(oracle, "multibox", arrays, operator, attributes).values())


# ---- prior


@pytest.mark.parametrize("shape", [(19, 19), (38, 38), (10, 10), (5, 5), (3, 3), (1, 1), (7, 13)])
def test_anchors_are_equal_to_the_bit(oracle: Oracle, shape: tuple[int, int]) -> None:
    for attributes in (
        {"sizes": (0.1, 0.141421), "ratios": FEW},
        {"sizes": (0.2, 0.272029), "ratios": MANY, "clip": True},
        {"sizes": (0.3,), "ratios": (4.0, 2.0), "steps": (8 / 300, 16 / 300)},
        {"sizes": (0.37, 0.44699, 0.9), "ratios": (1.0,), "offsets": (0.25, 0.75)},
    ):
        (expected,) = theirs(oracle, "MultiBoxPrior", np.zeros((1, 1, *shape)), **attributes)
        found = prior(*shape, **attributes)
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found.numpy(), expected)


# ---- target


def labels_of(random: np.random.Generator, images: int, rows: int, classes: int) -> Array:
    """Random objects: an image without any, duplicates, and boxes on a grid, so that overlaps tie.
    A row has a sixth value, as recpack's have."""
    labels = np.full((images, rows, 6), -1, np.float32)
    for number, image in enumerate(labels):
        count = number and random.integers(1, rows + 1)
        boxes = np.sort(random.random((count, 2, 2)), 1).reshape(count, 4)
        if number % 2:
            boxes = np.round(boxes * 8) / 8
        image[:count, 0] = random.integers(0, classes, count)
        image[:count, 1:5] = boxes
        image[:count, 5] = 0
        if count > 2:
            image[1] = image[0]
    return labels


def assert_targets(found: Targets, expected: list[Array]) -> None:
    locations, mask, classes = (one.numpy() for one in found)
    np.testing.assert_array_equal(classes, expected[2])
    np.testing.assert_array_equal(mask, expected[1])
    # beyond 1, two units in the last place: of the logarithm, and of its division
    np.testing.assert_allclose(locations, expected[0], rtol=2.4e-7, atol=1.2e-7)


@pytest.mark.parametrize("classes", [1, 3, 20])
@pytest.mark.parametrize("rows", [1, 8, 40])
def test_targets(oracle: Oracle, classes: int, rows: int) -> None:
    random = np.random.default_rng(classes * rows)
    labels = labels_of(random, 6, rows, classes)
    logits = random.normal(0, 3, (6, classes + 1, ANCHORS.shape[1])).astype(np.float32)
    expected = theirs(oracle, "MultiBoxTarget", ANCHORS, labels, logits, **MINING)
    found = target(ANCHORS, torch.tensor(labels), torch.tensor(logits), **MINING)
    assert_targets(found, expected)
    assert (found.classes[0] == -1).all()
    assert (found.classes > 0).any()
    assert (found.classes == 0).any()


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"overlap_threshold": 0.0, **MINING},
        {"overlap_threshold": 0.3, "negative_mining_ratio": 1.5, "negative_mining_thresh": 0.2},
        {"ignore_label": -2.0, "variances": (0.2, 0.3, 0.4, 0.5), **MINING},
    ],
)
def test_attributes_of_the_target(oracle: Oracle, attributes: dict[str, Any]) -> None:
    random = np.random.default_rng(5)
    labels = labels_of(random, 4, 8, 3)
    logits = random.normal(0, 3, (4, 4, ANCHORS.shape[1])).astype(np.float32)
    expected = theirs(oracle, "MultiBoxTarget", ANCHORS, labels, logits, **attributes)
    assert_targets(
        target(ANCHORS, torch.tensor(labels), torch.tensor(logits), **attributes), expected
    )


GRID = prior(4, 4, sizes=(0.25, 0.5), ratios=(1, 4))
"""Their sides are sums of halves, so overlaps are what they should be to the bit, a threshold's
too: 1/4 of two of one cell, 1/2 of one and an object of two cells."""

sides = (
    st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted).filter(lambda one: one[0] < one[1])
)
boxes = st.tuples(sides, sides).map(
    lambda ab: [ab[0][0] / 8, ab[1][0] / 8, ab[0][1] / 8, ab[1][1] / 8]
)
objects = st.lists(st.tuples(st.integers(0, 2), boxes), max_size=8)
images = st.lists(objects, min_size=1, max_size=3)
levels = st.lists(st.sampled_from([-9.0, -1.0, 0.0, 0.5, 2.0, 30.0]), min_size=4, max_size=4)


@given(batch=images, pool=st.lists(levels, min_size=1, max_size=6), padding=st.integers(0, 3))
def test_any_target(oracle: Oracle, batch: Any, pool: list[list[float]], padding: int) -> None:
    rows = max(1, *map(len, batch)) + padding
    labels = np.full((len(batch), rows, 5), -1, np.float32)
    for image, content in zip(labels, batch, strict=True):
        for row, (id_, box) in zip(image, content, strict=False):
            row[:] = [id_, *box]
    # a few kinds of anchors only: most probabilities of the background are equal to another
    logits = np.resize(np.array(pool, np.float32), (len(batch), GRID.shape[1], 4)).swapaxes(1, 2)
    found = target(GRID, torch.tensor(labels), torch.tensor(logits), **MINING)
    with suppress(RuntimeError):  # its CPU gives up when too few are left
        assert_targets(found, theirs(oracle, "MultiBoxTarget", GRID, labels, logits, **MINING))


def test_fewer_candidates_than_wanted_are_all_taken() -> None:
    anchors = torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.5, 0.8], [0.5, 0.0, 1.0, 1.0]]])
    labels = torch.tensor([[[1.0, 0.0, 0.0, 0.5, 1.0], [-1.0] * 5]])
    found = target(anchors, labels, torch.zeros(1, 3, 3), overlap_threshold=0.9, **MINING)
    assert found.classes.tolist() == [[2, -1, 0]]


def test_a_least_number_of_negatives() -> None:
    labels = torch.tensor([[[1.0, 0.0, 0.0, 0.5, 1.0]], [[-1.0] * 5]])
    logits = torch.randn(2, 4, ANCHORS.shape[1])
    found = target(ANCHORS, labels, logits, minimum_negative_samples=50, **MINING)
    assert (found.classes == 0).sum(1).tolist() == [50, 50]


def test_a_batch_without_rows() -> None:
    found = target(ANCHORS, torch.zeros(2, 0, 6), torch.zeros(2, 4, ANCHORS.shape[1]), **MINING)
    assert (found.classes == -1).all()
    assert not found.mask.any()
    assert not found.locations.any()


def test_the_probabilities_that_autocast_rounds_are_not_rounded_again() -> None:
    random = np.random.default_rng(6)
    labels = torch.tensor(labels_of(random, 2, 8, 3))
    logits = torch.randn(2, 4, ANCHORS.shape[1]).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = target(ANCHORS, labels, logits, **MINING)
    for one, other in zip(found, target(ANCHORS, labels, logits.float(), **MINING), strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


def test_targets_and_losses_are_one_graph() -> None:
    """Nothing in them depends on a value that the host would have to wait for."""

    def run(labels: Tensor, logits: Tensor, locations: Tensor) -> Tensor:
        total: Tensor = losses(logits, locations, target(ANCHORS, labels, logits, **MINING)).total
        return total

    random = np.random.default_rng(7)
    count = ANCHORS.shape[1]
    compiled = torch.compile(run, backend="eager", fullgraph=True)
    for rows in (2, 3, 4):
        labels = torch.tensor(labels_of(random, 2, rows, 3))
        inputs = labels, torch.randn(2, 4, count, requires_grad=True), torch.randn(2, 4 * count)
        assert torch.equal(compiled(*inputs), run(*inputs))


# ---- detection


def outputs(images: int, classes: int, spread: float, anchors: Tensor = ANCHORS) -> list[Tensor]:
    torch.manual_seed(images * classes)
    count = anchors.shape[1]
    logits = torch.randn(images, classes + 1, count) * 2
    logits[0, 0] = 50  # an image without objects
    return [logits.softmax(1), torch.randn(images, 4 * count) * spread, anchors]


def assert_detections(found: Tensor, expected: Array, away: float = 6e-8) -> None:
    np.testing.assert_array_equal(found[..., :2].numpy(), expected[..., :2])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1.2e-7, atol=away)


@pytest.mark.parametrize("classes", [1, 3, 20])
@pytest.mark.parametrize(("spread", "away"), [(0.3, 6e-8), (2.0, 1.2e-7)])
def test_detections(oracle: Oracle, classes: int, spread: float, away: float) -> None:
    """In the second, boxes are larger than the image, and so is the last place of their sides."""
    inputs = outputs(4, classes, spread)
    for attributes in (
        {"nms_threshold": 0.45, "nms_topk": 400},
        {"nms_threshold": 0.45, "nms_topk": 20},
        {"nms_threshold": 0.5, "force_suppress": True},
        {"nms_threshold": 1.0, "threshold": 0.3, "clip": False},
        {"nms_threshold": 0.0, "nms_topk": 20},
        {"nms_threshold": 1.5, "variances": (0.2, 0.3, 0.1, 0.15)},
    ):
        (expected,) = theirs(oracle, "MultiBoxDetection", *inputs, **attributes)
        found = detection(*inputs, **attributes)
        assert_detections(found, expected, away)
        assert (found[0] == -1).all()
        assert (found[1:, :, 0] >= 0).any()


def test_more_detections_than_are_compared_at_once(oracle: Oracle) -> None:
    anchors = anchors_of(19, 10)
    inputs = outputs(2, 2, 0.5, anchors)
    assert anchors.shape[1] > 3 * multibox.BLOCK
    for topk in (-1, 1200):
        attributes = {"nms_threshold": 0.45, "nms_topk": topk, "threshold": 0.2}
        (expected,) = theirs(oracle, "MultiBoxDetection", *inputs, **attributes)
        assert_detections(detection(*inputs, **attributes), expected)


@given(
    scores=st.lists(st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.75]), min_size=12, max_size=12),
    moved=st.lists(st.sampled_from([-2.0, 0.0, 0.0, 1.0]), min_size=16, max_size=16),
    threshold=st.sampled_from([0.0, 0.25, 0.3, 1.0]),
    topk=st.sampled_from([-1, 1, 3, 6, 100]),
    force=st.booleans(),
)
def test_any_detections(
    oracle: Oracle,
    scores: list[float],
    moved: list[float],
    threshold: float,
    topk: int,
    force: bool,
) -> None:
    """Equal scores, equal boxes, and boxes whose overlap is the threshold to the bit."""
    count = GRID.shape[1]
    inputs = [
        torch.tensor(np.resize(np.array(scores, np.float32), (2, 3, count))),
        torch.tensor(np.resize(np.array(moved, np.float32), (2, 4 * count))),
        GRID,
    ]
    attributes = {"nms_threshold": threshold, "nms_topk": topk, "force_suppress": force}
    (expected,) = theirs(oracle, "MultiBoxDetection", *inputs, **attributes)
    assert_detections(detection(*inputs, **attributes), expected)


def test_an_overlap_of_the_threshold_itself_suppresses(oracle: Oracle) -> None:
    probabilities, _, _ = outputs(2, 1, 0.0, GRID)
    inputs = [probabilities, torch.zeros(2, 4 * GRID.shape[1]), GRID]
    (expected,) = theirs(oracle, "MultiBoxDetection", *inputs, nms_threshold=0.25)
    found = detection(*inputs, nms_threshold=0.25)
    assert_detections(found, expected)
    more = detection(*inputs, nms_threshold=0.2500001)
    assert (more[..., 0] >= 0).sum() > (found[..., 0] >= 0).sum()


def test_no_gradient_and_no_autocast_in_detections() -> None:
    probabilities, locations, anchors = outputs(2, 3, 0.3)
    plain = detection(probabilities, locations.bfloat16().float(), anchors)
    with torch.autocast("cpu", torch.bfloat16):
        found = detection(probabilities, locations.bfloat16().requires_grad_(), anchors)
    assert not found.requires_grad
    assert found.dtype == torch.float32
    assert torch.equal(found, plain)
