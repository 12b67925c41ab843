"""The mAP of a graph on batches of images with their labels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch

from ..precision import average_precisions
from .graph import Graph
from .ranks import Ranks

Rows = npt.NDArray[np.float32]


@torch.inference_mode()
def mean_average_precision(
    graph: Graph,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    ranks: Ranks,
    overlap: float,
) -> float:
    """VOC's mAP (the area below the curve) of all processes' batches, in each of them."""
    pairs: list[tuple[Rows, Rows]] = []
    for images, labels in batches:
        rows = rows_of(graph.detect(graph(images)))
        pairs += zip(rows, labels.cpu().numpy(), strict=True)
    found = average_precisions(ranks.gather(pairs), overlap=overlap).values()
    return ranks.tell(sum(found) / len(found) if found else 0.0)


def rows_of(found: torch.Tensor) -> list[Rows]:
    """Detections (N, A, 6) → for each image its rows, class id, score and box, by falling score;
    those that a better one suppressed are left out."""
    rows = found.cpu().numpy()
    kept = [one[one[:, 0] >= 0] for one in rows]
    return [one[np.argsort(-one[:, 1], kind="stable")] for one in kept]
