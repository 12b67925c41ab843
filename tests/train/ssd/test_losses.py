"""The losses and their gradients against MXNet's, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.arrays import ask
from train.ssd.losses import losses
from train.ssd.multibox import Targets


@pytest.mark.parametrize("objects", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("ignored", [0.0, 0.5, 1.0])
def test_losses_and_gradients(oracle: Callable[..., Any], objects: float, ignored: float) -> None:
    random = np.random.default_rng(3)
    images, anchors, classes = 3, 40, 5
    found = random.random((images, anchors)) < objects
    labels = np.where(found, random.integers(1, classes, found.shape), 0.0)
    labels[random.random(found.shape) < ignored] = -1
    mask = np.repeat(labels > 0, 4, axis=1).astype(float)
    # whole steps apart too: the smooth L1 bends where the difference is 1, and is 0 where it is 0
    targets = random.integers(-3, 4, mask.shape) * mask
    locations = np.where(random.random(mask.shape) < 0.5, targets, random.normal(0, 2, mask.shape))
    locations += random.integers(-1, 2, mask.shape)
    logits = random.normal(0, 3, (images, classes, anchors))
    theirs = ask(
        oracle, "losses",
        {
            "logits": logits, "locations": locations,
            "classes": labels, "mask": mask, "targets": targets,
        },
    )  # fmt: skip

    said, placed = (
        torch.tensor(logits, requires_grad=True),
        torch.tensor(locations, requires_grad=True),
    )
    ours = losses(said, placed, Targets(*map(torch.tensor, (targets, mask, labels))))
    ours.total.backward()
    assert said.grad is not None
    assert placed.grad is not None
    valid = labels >= 0
    # the factor of SoftmaxOutput has float32's digits, in float64 too
    count = max(1, valid.sum())
    exact = theirs["logits"] / np.float32(1 / count) / count
    np.testing.assert_allclose(said.grad.numpy(), exact, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(placed.grad.numpy(), theirs["locations"], rtol=1e-12, atol=1e-15)
    chosen = np.take_along_axis(theirs["probabilities"], labels[:, None].astype(int), 1)[:, 0]
    assert ours.valid == valid.sum()
    assert ours.cross_entropy.item() == pytest.approx(-np.log(chosen[valid]).sum(), rel=1e-12)
    assert ours.smooth_l1.item() == pytest.approx(theirs["distance"].sum(), rel=1e-12)


def test_halves_are_summed_in_float32() -> None:
    torch.manual_seed(0)
    logits, locations = torch.randn(2, 4, 900).bfloat16(), torch.randn(2, 3600).bfloat16()
    classes = torch.randint(-1, 4, (2, 900)).float()
    mask = (classes > 0).float().repeat_interleave(4, 1)
    targets = Targets(mask, mask, classes)
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(logits.requires_grad_(), locations.requires_grad_(), targets)
    expected = losses(logits.float(), locations.float(), targets)
    assert found.total.dtype == torch.float32
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    found.total.backward()
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16
    assert not any(one.requires_grad for one in found[1:])
