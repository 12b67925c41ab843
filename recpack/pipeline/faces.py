"""Samples of faces → what InsightFace's layout needs: tables, and images of one size."""

from __future__ import annotations

import numpy as np

from recpack.data.samples import Samples
from recpack.errors import DataError
from recpack.formats.encoding import Encoding
from recpack.formats.image_codec import centred_square, new_size
from recpack.formats.insightface import Property, with_tables
from recpack.problem_lines import summary
from recpack.problems import Problem
from recpack.scanning.run import ScanResult


def face_samples(scan: ScanResult, encoding: Encoding) -> tuple[Samples, Property]:
    """The samples with their tables, and the ``property``. Raises DataError that names the first
    image of another size, as it will be packed."""
    distinct, which = np.unique(scan.sizes, axis=0, return_inverse=True)
    packed = [_packed_size(int(w), int(h), encoding) for w, h in distinct.tolist()]
    which = which.ravel()
    sizes = np.array(packed, np.int64)[which]
    others = np.flatnonzero((sizes != sizes[0]).any(1))
    (width, height), paths = packed[which[0]], scan.samples.paths
    if len(others):
        odd = packed[which[others[0]]]
        value = f"{odd[0]} x {odd[1]}, {paths[0]} {width} x {height}"
        problem = Problem("face-size", "error", paths[int(others[0])], "error", 0, "size", value)
        raise DataError(summary([problem]), [*scan.problems, problem])
    identities = len(scan.classes.names)
    return with_tables(scan.samples, identities), Property(identities, height, width)


def _packed_size(width: int, height: int, encoding: Encoding) -> tuple[int, int]:
    if encoding.center_crop:
        width = height = centred_square(width, height)[2]
    return new_size(width, height, encoding.resize) if encoding.resize else (width, height)
