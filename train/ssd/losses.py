"""The losses of SageMaker's graph: SoftmaxOutput of the classes, MakeLoss of the locations.

Source: MXNet 1.9.1, ``src/operator/softmax_output-inl.h``, ``make_loss-inl.h``, and the metrics of
its SSD example. Their attributes in the graph: ``normalization="valid"``, ``use_ignore``, ignored
label -1, ``grad_scale`` 1, ``smooth_l1(scalar=1)``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .multibox import Targets


class Losses(NamedTuple):
    """Of one batch; tensors without a dimension, so that nothing waits for the device."""

    total: Tensor
    """What ``backward`` starts from."""
    cross_entropy: Tensor
    """The sum over the anchors that are not ignored; no gradient, as the next two."""
    smooth_l1: Tensor
    """The sum over the anchors with an object."""
    valid: Tensor
    """How many are not ignored. MXNet's metrics are the sums by this number (its example adds 1e-8
    to each probability before the logarithm)."""


def losses(logits: Tensor, locations: Tensor, targets: Targets) -> Losses:
    """``logits`` (N, C + 1, A) before the softmax, ``locations`` (N, 4A), both in float32 or more
    (of less they are made float32).

    The gradients are MXNet's: of the cross entropy by the number of valid anchors, and of the
    smooth L1 by the number of coordinates where it is not 0, at least 1 each.
    """
    logits, locations = (
        one.to(torch.promote_types(one.dtype, torch.float32)) for one in (logits, locations)
    )
    classes = targets.classes.long()
    # summed apart: cross_entropy's own sum has no certain order on a GPU
    entropy = functional.cross_entropy(logits, classes, ignore_index=-1, reduction="none").sum()
    valid = (classes != -1).sum()
    apart = functional.smooth_l1_loss(
        targets.mask * locations, targets.mask * targets.locations.to(locations), reduction="none"
    )
    distance = apart.sum()
    total = entropy / valid.clamp(min=1) + distance / (apart > 0).sum().clamp(min=1)
    return Losses(total, entropy.detach(), distance.detach(), valid)
