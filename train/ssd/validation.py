"""The mAP of a graph on batches of images with their labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from ..detections import Detection, Detections, evaluate, name_of, truth_of
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
    names = [str(id_) for id_ in range(graph.num_classes)]
    gathered = ranks.gather(pairs)
    found = evaluate(
        ((detections_of(rows, names), truth_of(truth)) for rows, truth in gathered),
        names, overlap=overlap,
    )  # fmt: skip
    return ranks.tell(found.mean)


def rows_of(found: torch.Tensor) -> list[Rows]:
    """Detections (N, A, 6) → for each image its rows, class id, score and box, by falling score;
    those that a better one suppressed are left out."""
    rows = found.cpu().numpy()
    kept = [one[one[:, 0] >= 0] for one in rows]
    return [one[np.argsort(-one[:, 1], kind="stable")] for one in kept]


def detections_of(rows: Rows, names: Sequence[str], width: int = 1, height: int = 1) -> Detections:
    """An image's rows as detections."""
    return Detections(
        tuple(
            Detection(int(id_), name_of(int(id_), names), score, (left, top, right, bottom))
            for id_, score, left, top, right, bottom in rows.tolist()
        ),
        width, height,
    )  # fmt: skip
