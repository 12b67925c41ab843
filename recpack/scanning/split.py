"""Splitting a data set into training and validation parts: by class as far as images with several
classes allow, and never with the same image on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recpack.columns import Int64
from recpack.data.labels import object_table
from recpack.data.samples import Samples
from recpack.errors import DataError
from recpack.scanning.settings import PARTS


def split_samples(
    samples: Samples, groups: Int64, fractions: Sequence[float], seed: int
) -> list[Int64]:
    """The positions of each part's samples, ascending.

    ``groups`` int64 (n,): samples with equal numbers stay together. Iterative stratification
    (Sechidis, Tsoumakas and Vlahavas 2011): the class with the fewest samples left is dealt out
    first, each group to the part that is furthest from its share of that class. Raises DataError
    when a part would stay empty.
    """
    objects, owners = object_table(samples)
    _, units = np.unique(groups, return_inverse=True)
    sizes = np.bincount(units)
    # which units hold a class: pairs (class, unit), each once
    pairs = np.unique(np.stack([objects[:, 0].astype(np.int64), units[owners]]), axis=1)
    holders = {int(class_id): pairs[1, pairs[0] == class_id] for class_id in np.unique(pairs[0])}
    classes_of: dict[int, list[int]] = {}
    for class_id, unit in pairs.T.tolist():
        classes_of.setdefault(unit, []).append(class_id)
    shares = np.asarray(fractions)
    wanted = {class_id: sizes[held].sum() * shares for class_id, held in holders.items()}
    wanted_all = len(samples) * shares
    left = {class_id: int(sizes[held].sum()) for class_id, held in holders.items()}
    part_of = np.full(len(sizes), -1, np.int64)
    random = np.random.RandomState(seed)

    def deal(unit: int, want: np.ndarray) -> None:
        best = np.flatnonzero(want == want.max())
        part = best[np.argmax(wanted_all[best])]
        part_of[unit] = part
        wanted_all[part] -= sizes[unit]
        for class_id in classes_of.get(unit, ()):
            wanted[class_id][part] -= sizes[unit]
            if class_id in left:
                left[class_id] -= int(sizes[unit])

    while left:
        rarest = min(left, key=lambda class_id: (left[class_id], class_id))
        held = holders[rarest]
        for unit in random.permutation(held[part_of[held] < 0]).tolist():
            deal(unit, wanted[rarest])
        del left[rarest]
    for unit in random.permutation(np.flatnonzero(part_of < 0)).tolist():
        deal(unit, wanted_all)
    for part, name in zip(range(len(shares)), PARTS, strict=False):
        if not (part_of == part).any():
            held = np.bincount(part_of, minlength=len(shares))
            donor = int(np.argmin(np.where(held > 1, wanted_all, np.inf)))
            if held[donor] < 2:
                raise DataError(
                    f"split: no sample is left for {name}; {len(samples)} samples in "
                    f"{len(sizes)} groups of equal images are too few"
                )
            spare = np.flatnonzero(part_of == donor)
            moved = spare[np.argmin(sizes[spare])]
            part_of[moved] = part
            wanted_all[donor] += sizes[moved]
    return [np.flatnonzero(part_of[units] == part) for part in range(len(shares))]
