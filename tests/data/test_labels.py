from __future__ import annotations

import numpy as np
import pytest

from recpack.data.labels import class_ids, label_kind, label_shape
from recpack.data.samples import Samples
from recpack.formats.lst import parse_rows
from recpack.storage.trees.local import LocalTree

BOX = [2, 5, 3, 0.1, 0.1, 0.5, 0.5]


def samples(*labels: list[float]) -> Samples:
    rows = (
        "\t".join(map(str, [number, *label, f"{number}.jpg"]))
        for number, label in enumerate(labels)
    )
    return parse_rows(rows, LocalTree("/"))


@pytest.mark.parametrize(
    ("labels", "kind", "ids", "counts"),
    [
        ([BOX, BOX], "boxes", [3, 3], [0, 0, 0, 2]),
        ([[1], [0], [1]], "class", [1, 0, 1], [1, 2]),
        ([[1.5], [0]], "numbers", [], []),
        ([[-1], [1]], "numbers", [], []),
        ([[0, 1, 0], [1, 1, 0]], "classes", [1, 0, 1], [1, 2, 0]),
        ([[0, 1, 0], [1, 0.5, 0]], "numbers", [], []),
        ([[7.5, 1]], "boxes", [], []),
        ([[0, 1], [1]], "boxes", [1], []),
    ],
)
def test_what_labels_hold(
    labels: list[list[float]], kind: str, ids: list[int], counts: list[int]
) -> None:
    table = samples(*labels)
    assert label_kind(table) == kind
    assert class_ids(table)[0].tolist() == ids
    shape = label_shape(table)
    assert shape.objects.tolist() == counts
    assert shape.label_width == max(map(len, labels))
    order = np.arange(len(labels))[::-1]
    assert label_shape(table.reorder(order)).objects.tolist() == counts
