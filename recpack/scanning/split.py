"""Split a data set into training and validation parts: by class, as far as images with several
classes allow, and without equal images in two parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recpack.columns import Int64
from recpack.data.labels import class_ids
from recpack.data.samples import Samples
from recpack.errors import DataError
from recpack.scanning.settings import PARTS


def split_samples(
    samples: Samples, groups: Int64, fractions: Sequence[float], seed: int
) -> list[Int64]:
    """The positions of each part's samples, ascending.

    ``groups`` int64 (n,): samples with equal numbers stay together. Iterative stratification
    (Sechidis, Tsoumakas and Vlahavas 2011): start with the class that has the fewest remaining
    samples, and give each of its groups to the part that lacks most of that class. Raises DataError
    when a part would stay empty.
    """
    ids, owners = class_ids(samples)
    _, units = np.unique(groups, return_inverse=True)
    sizes = np.bincount(units)
    # pairs (class, unit), each once: the units that contain a class
    pairs = np.unique(np.stack([ids, units[owners]]), axis=1)
    classes, starts = np.unique(pairs[0], return_index=True)
    units_of = dict(zip(classes.tolist(), np.split(pairs[1], starts[1:]), strict=False))
    classes_of: dict[int, list[int]] = {}
    for class_id, unit in pairs.T.tolist():
        classes_of.setdefault(unit, []).append(class_id)
    shares = np.asarray(fractions)
    needs = {class_id: sizes[members].sum() * shares for class_id, members in units_of.items()}
    total_needs = len(samples) * shares
    remaining = {class_id: int(sizes[members].sum()) for class_id, members in units_of.items()}
    part_of = np.full(len(sizes), -1, np.int64)
    random = np.random.RandomState(seed)

    def assign(unit: int, need: np.ndarray) -> None:
        best = np.flatnonzero(need == need.max())
        part = best[np.argmax(total_needs[best])]
        part_of[unit] = part
        total_needs[part] -= sizes[unit]
        for class_id in classes_of.get(unit, ()):
            needs[class_id][part] -= sizes[unit]
            if class_id in remaining:
                remaining[class_id] -= int(sizes[unit])

    while remaining:
        rarest = min(remaining, key=lambda class_id: (remaining[class_id], class_id))
        members = units_of[rarest]
        for unit in random.permutation(members[part_of[members] < 0]).tolist():
            assign(unit, needs[rarest])
        del remaining[rarest]
    for unit in random.permutation(np.flatnonzero(part_of < 0)).tolist():
        assign(unit, total_needs)
    for part, name in zip(range(len(shares)), PARTS, strict=False):
        if not (part_of == part).any():
            counts = np.bincount(part_of, minlength=len(shares))
            donor = int(np.argmin(np.where(counts > 1, total_needs, np.inf)))
            if counts[donor] < 2:
                raise DataError(
                    f"split: no sample is left for {name}: too few samples ({len(samples)}, in "
                    f"{len(sizes)} groups of equal images)"
                )
            candidates = np.flatnonzero(part_of == donor)
            smallest = candidates[np.argmin(sizes[candidates])]
            part_of[smallest] = part
            total_needs[donor] += sizes[smallest]
    return [np.flatnonzero(part_of[units] == part) for part in range(len(shares))]
