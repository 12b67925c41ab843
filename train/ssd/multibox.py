"""MXNet's MultiBoxPrior, MultiBoxTarget and MultiBoxDetection, on whole batches.

Boxes are xmin, ymin, xmax, ymax in ratios of the image. N images, A anchors, C classes without the
background, M rows of objects. All is computed in float32, as MXNet does it, under autocast too, and
has no gradient. Nothing here waits for the device but ``detection``, so that ``torch.compile`` and
CUDA graphs take the rest. Source: MXNet 1.9.1, ``src/operator/contrib/multibox_*``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

VARIANCES = (0.1, 0.1, 0.2, 0.2)
LEAST_OVERLAP = 1e-6
"""An object that overlaps no anchor by more gets none of its own."""
BLOCK = 512
"""Rows of the suppression's matrix at once; it has as many columns as there are boxes."""


class Targets(NamedTuple):
    """What the network should have said, float32."""

    locations: Tensor
    """(N, 4A), 0 where ``mask`` is."""
    mask: Tensor
    """(N, 4A), 1 for the anchors that have an object, else 0."""
    classes: Tensor
    """(N, A): class id + 1, 0 for the background, and ``ignore_label``."""


def prior(
    height: int,
    width: int,
    *,
    sizes: Sequence[float],
    ratios: Sequence[float],
    steps: Sequence[float] = (-1.0, -1.0),
    offsets: Sequence[float] = (0.5, 0.5),
    clip: bool = False,
) -> Tensor:
    """The anchors of a feature map of ``height`` x ``width`` cells: float32 (1, height * width * K,
    4), row by row; K is ``len(sizes) + len(ratios) - 1``. ``steps`` and ``offsets`` are y, x."""
    side, ratio = (torch.tensor(values, dtype=torch.float32) for values in (sizes, ratios))
    # each size with the first ratio, then the first size with each other ratio
    root = torch.cat([ratio[:1].expand(len(side)), ratio[1:]]).sqrt()
    side = torch.cat([side, side[:1].expand(len(ratio) - 1)])
    half = torch.stack([side * height / width * root / 2, side / root / 2], -1)
    cells = torch.tensor([height, width], dtype=torch.float32)
    step = torch.tensor(steps, dtype=torch.float32) if min(steps) > 0 else 1 / cells
    y, x = (
        (torch.arange(count, dtype=torch.float32) + offset) * one
        for count, offset, one in zip((height, width), offsets, step, strict=True)
    )
    centre = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[:, :, None]
    boxes = torch.cat([centre - half, centre + half], -1).reshape(1, -1, 4)
    return boxes.clamp(0, 1) if clip else boxes


@torch.no_grad()
def target(
    anchors: Tensor,
    labels: Tensor,
    logits: Tensor,
    *,
    overlap_threshold: float = 0.5,
    ignore_label: float = -1.0,
    negative_mining_ratio: float = -1.0,
    negative_mining_thresh: float = 0.5,
    minimum_negative_samples: int = 0,
    variances: Sequence[float] = VARIANCES,
) -> Targets:
    """What each anchor should say: ``anchors`` (1, A, 4), ``labels`` (N, M, 5 or more) with rows
    id, xmin, ymin, xmax, ymax up to the first id -1, ``logits`` (N, C + 1, A) before the softmax.

    Each object takes the anchor that it overlaps most, the largest overlap first; every other
    anchor takes the object that it overlaps most, if by more than ``overlap_threshold``. Of the
    rest, those whose background has the lowest probability become background:
    ``negative_mining_ratio`` for each anchor with an object, among those that overlap no object by
    ``negative_mining_thresh``; all when the ratio is not positive. An image without objects has
    none. Where too few are left MXNet's CPU aborts; here all of them are taken. As on MXNet's
    GPU there are ``minimum_negative_samples`` in each image; its CPU ignores that number.
    """
    anchors, labels = anchors.float(), labels.float()
    if not labels.shape[1]:
        labels = labels.new_full((len(labels), 1, 5), -1)
    ended = (labels[..., 0] == -1).cumsum(1) > 0
    overlaps = _overlaps(labels[..., 1:5], anchors).masked_fill(ended[..., None], -1)
    most, which = overlaps.max(1)
    forced = _bipartite(overlaps)
    positive = forced >= 0
    if overlap_threshold > 0:
        positive = positive | (most > overlap_threshold)
    objects = labels[..., :5].take_along_dim(forced.where(forced >= 0, which)[..., None], 1)
    if negative_mining_ratio > 0:
        wanted = positive.sum(1, keepdim=True)
        room = wanted.neg() + positive.shape[1]
        wanted = (wanted * negative_mining_ratio).long().clamp(min=minimum_negative_samples)
        candidate = ~positive & (most < negative_mining_thresh)
        background = logits.float().softmax(1)[:, 0].masked_fill(~candidate, 2)
        negative = candidate & _lowest(background, wanted.minimum(room))
    else:
        negative = ~(positive | ended[:, :1])
    classes = (objects[..., 0] + 1).masked_fill(~positive, ignore_label).masked_fill(negative, 0)
    locations = _encode(objects[..., 1:], anchors, variances)
    locations = locations.masked_fill(~positive[..., None], 0)
    mask = positive.float()[..., None].expand_as(locations)
    return Targets(locations.flatten(1), mask.flatten(1), classes)


def _overlaps(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union, (N, P, Q), of boxes (N, P, 4) and (N, Q, 4)."""
    one, other = one.movedim(-1, 0)[..., :, None], other.movedim(-1, 0)[..., None, :]
    wide, high = (one[2:].minimum(other[2:]) - one[:2].maximum(other[:2])).clamp(min=0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    both = wide * high
    union = areas[0] + areas[1] - both
    return (both / union).masked_fill(union <= 0, 0)


def _bipartite(overlaps: Tensor) -> Tensor:
    """The object of each anchor, (N, A), or -1: again and again the largest overlap of all objects
    and anchors that are free, of equal ones the first anchor's, then the first object's.

    ``overlaps`` is (N, M, A). An object loses at most M - 1 anchors to others, so only its best M
    are looked at.
    """
    _, rows, anchors = overlaps.shape
    few = min(rows, anchors)
    order = torch.arange(rows * anchors - 1, -1, -1, device=overlaps.device).view(anchors, rows).T
    # all differ: the bits of a positive number rise as it does, and below them stands the order
    keys = (overlaps.contiguous().view(torch.int32).long() << 32) + order
    top = keys.masked_fill(overlaps <= LEAST_OVERLAP, 0).topk(few, 2)
    keys, near = top.values.flatten(1), top.indices.flatten(1)
    row = torch.arange(rows * few, device=keys.device) // few
    pairs = torch.stack([near, row.expand_as(near)], 1)
    found = []
    for _ in range(few):
        best, at = keys.max(1, keepdim=True)
        pair = pairs.gather(2, at[:, None].expand(-1, 2, -1))
        found.append((best, pair))
        keys = keys.masked_fill((pairs == pair).any(1), 0)
    best, pair = (torch.cat(parts, -1) for parts in zip(*found, strict=True))
    anchor, mine = pair.unbind(1)
    # what found none goes to a column that is cut off
    none = mine.new_full((len(mine), anchors + 1), -1)
    return none.scatter(1, anchor.masked_fill(best == 0, anchors), mine)[:, :anchors]


def _lowest(values: Tensor, count: Tensor) -> Tensor:
    """Which of each row, (N, A), are its ``count`` (N, 1) lowest, of equal ones the first."""
    order = values.sort(dim=1, stable=True).indices
    among = torch.arange(values.shape[1], device=values.device) < count
    return torch.zeros_like(among).scatter(1, order, among)


def _encode(boxes: Tensor, anchors: Tensor, variances: Sequence[float]) -> Tensor:
    size, centre = _size_and_centre(anchors)
    box_size, box_centre = _size_and_centre(boxes)
    return _each(((box_centre - centre) / size, (box_size / size).log()), variances, torch.div)


def _decode(locations: Tensor, anchors: Tensor, variances: Sequence[float]) -> Tensor:
    size, centre = _size_and_centre(anchors)
    parts = _each(locations.split(2, -1), variances, torch.mul)
    centre = parts[..., :2] * size + centre
    half = parts[..., 2:].exp() * size / 2
    return torch.cat([centre - half, centre + half], -1)


def _size_and_centre(boxes: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes[..., :2], boxes[..., 2:]
    return high - low, (low + high) / 2


def _each(
    pairs: Sequence[Tensor], variances: Sequence[float], do: Callable[[Tensor, float], Tensor]
) -> Tensor:
    """Two pairs of coordinates (…, 2), each coordinate by its variance → (…, 4). By numbers: a
    tensor of them would be a copy to the device that the host waits for."""
    parts = (part for pair in pairs for part in pair.unbind(-1))
    return torch.stack([do(part, one) for part, one in zip(parts, variances, strict=True)], -1)


@torch.no_grad()
def detection(
    probabilities: Tensor,
    locations: Tensor,
    anchors: Tensor,
    *,
    threshold: float = 0.01,
    clip: bool = True,
    variances: Sequence[float] = VARIANCES,
    nms_threshold: float = 0.5,
    force_suppress: bool = False,
    nms_topk: int = -1,
) -> Tensor:
    """The objects: float32 (N, A, 6), rows class id, score, xmin, ymin, xmax, ymax, from
    ``probabilities`` (N, C + 1, A) after the softmax, ``locations`` (N, 4A), ``anchors`` (1, A, 4).

    First the anchors whose best class has a score of ``threshold``, highest first; the first
    ``nms_topk`` of them (all when it is not positive) keep their id unless one before them that
    keeps its own, of the same class or with ``force_suppress`` of any, overlaps them by
    ``nms_threshold``. Those beyond are in the order of the anchors. What lost its id has -1
    there; the rest of the rows are -1 throughout. A ``nms_threshold`` outside ]0, 1] suppresses
    and sorts nothing.
    """
    score, ids = probabilities[:, 1:].float().max(1)
    live = score >= threshold
    boxes = _decode(locations.float().unflatten(1, (-1, 4)), anchors.float(), variances)
    if clip:
        boxes = boxes.clamp(0, 1)
    anchor_order = (~live).byte().sort(dim=1, stable=True).indices
    order, top = anchor_order, 0
    if 0 < nms_threshold <= 1:
        order = score.masked_fill(~live, -1).sort(dim=1, descending=True, stable=True).indices
        top = int(live.sum(1).max())  # no image has more
        top = min(nms_topk, top) if nms_topk > 0 else top
        order = torch.cat([order[:, :top], anchor_order[:, top:]], 1)
    rows = torch.cat([ids[..., None].float(), score[..., None], boxes], -1)
    rows = rows.take_along_dim(order[..., None], 1)
    filled = torch.arange(live.shape[1], device=live.device) < live.sum(1, keepdim=True)
    rows = rows.masked_fill(~filled[..., None], -1)
    if 0 < nms_threshold <= 1:
        kept = _suppress(rows[:, :top], filled[:, :top], nms_threshold, force_suppress)
        rows[:, :top, 0].masked_fill_(~kept, -1)
        rows[:, top:, 0] = -1
    return rows


def _suppress(rows: Tensor, live: Tensor, threshold: float, force: bool) -> Tensor:
    """Which rows (N, K, 6) stay, (N, K): those that none before them that stays suppresses.

    The greedy answer is the only one that agrees with itself, so it is found by asking again what
    the last answer suppresses, until nothing changes: a few steps, at most K.
    """
    kept = live.clone()
    ids, boxes = rows[..., 0], rows[..., 2:]
    for start in range(0, rows.shape[1], BLOCK):
        stop = min(start + BLOCK, rows.shape[1])
        hit = _overlaps(boxes[:, start:stop], boxes[:, :stop]) >= threshold
        if not force:
            hit &= ids[:, start:stop, None] == ids[:, None, :stop]
        hit = hit.tril(start - 1)
        while True:
            now = live[:, start:stop] & ~(hit & kept[:, None, :stop]).any(2)
            if torch.equal(now, kept[:, start:stop]):
                break
            kept[:, start:stop] = now
    return kept
