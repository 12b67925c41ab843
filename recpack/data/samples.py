"""Samples as columns: the value that every reader returns and every writer takes."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recpack.columns import Float32, Int64, Integers, StringColumn, gather
from recpack.display import brief
from recpack.storage.trees.base import Tree

_BLOCK = 2048
"""Samples per step of an iteration; this limits its memory."""


class Treatment(enum.IntEnum):
    """What an image needs so that every reader can read it."""

    KEEP = 0  #: nothing: copy its bytes
    UPRIGHT = 1  #: decode with its EXIF orientation applied, encode
    AS_STORED = 2  #: decode without its EXIF orientation (the boxes ignore it), encode


@dataclass(slots=True, eq=False)
class Sample:
    """One image and its label.

    ``path`` is relative to the data set's root, with ``/``, and empty for a record without an
    image, a table; ``label`` a float32 vector as in
    ``recordio.Record``; ``image_bytes`` the image file's size in bytes; ``identity`` is that of
    ``OpenFile`` when it was checked.
    """

    index: int
    path: str
    label: Float32
    image_bytes: int
    treatment: Treatment
    identity: int

    def __repr__(self) -> str:
        return brief(self, index=self.index, path=self.path, label=self.label.tolist())


_TREATMENTS = tuple(Treatment)


@dataclass(frozen=True, eq=False)
class Samples:
    """Many samples as columns, a few dozen bytes each beside the path. A scan returns them, a list
    stores them, a worker packs them.

    ``indices`` int (n,) · ``paths`` · ``labels`` float32, all label vectors in one array ·
    ``bounds`` int (n + 1,), sample i's label is ``labels[bounds[i]:bounds[i + 1]]`` ·
    ``image_bytes`` int64 (n,) · ``treatments`` uint8 (n,), see ``Treatment`` · ``identities`` int64
    (n,), 0 where unknown. Arrays are never written in place. A shuffled table keeps its columns and
    has an ``order``, int (n,), because a second copy of them would be the largest object in memory.
    ``slice`` and iteration follow ``order``.
    """

    root: Tree
    indices: Integers
    paths: StringColumn
    labels: Float32
    bounds: Integers
    image_bytes: Int64
    treatments: npt.NDArray[np.uint8]
    identities: Int64
    order: Integers | None = None

    def __repr__(self) -> str:
        return brief(self, root=str(self.root), samples=len(self))

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), _BLOCK):
            block = self.slice(start, min(start + _BLOCK, len(self)))
            bounds = block.bounds.tolist()
            for i, (index, path, size, treatment, identity) in enumerate(
                zip(
                    block.indices.tolist(),
                    block.paths,
                    block.image_bytes.tolist(),
                    block.treatments.tolist(),
                    block.identities.tolist(),
                    strict=True,
                )
            ):
                label = block.labels[bounds[i] : bounds[i + 1]]
                yield Sample(index, path, label, size, _TREATMENTS[treatment], identity)

    def reorder(self, order: Integers) -> Samples:
        """The same samples in this order, numbered from 0 again."""
        return replace(self, order=order, indices=np.arange(len(order), dtype=order.dtype))

    def label_widths(self) -> Int64:
        """Floats of each label vector in the order of the output, int64 (n,)."""
        widths = np.diff(self.bounds)
        return widths if self.order is None else widths[self.order]

    def treatments_in_order(self) -> npt.NDArray[np.uint8]:
        """``treatments`` in the order of the output, uint8 (n,)."""
        return self.treatments if self.order is None else self.treatments[self.order]

    def slice(self, start: int, stop: int) -> Samples:
        """Samples ``start`` to ``stop`` of the output: small enough to send to a worker."""
        if self.order is not None:
            return self._rows(self.order[start:stop], self.indices[start:stop])
        first, last = self.bounds[start], self.bounds[stop]
        return Samples(
            self.root,
            self.indices[start:stop],
            self.paths[start:stop],
            self.labels[first:last],
            self.bounds[start : stop + 1] - first,
            self.image_bytes[start:stop],
            self.treatments[start:stop],
            self.identities[start:stop],
        )

    def take(self, positions: Integers) -> Samples:
        """A copy of the samples at these positions of the output, numbered from 0 again."""
        rows = positions if self.order is None else self.order[positions]
        return self._rows(rows, np.arange(len(rows), dtype=np.int64))

    def images(self) -> Samples:
        """Without the rows of tables, which have no path."""
        has_image = np.diff(self.paths.bounds) > 0
        if has_image.all():
            return self
        return self.take(np.flatnonzero(has_image if self.order is None else has_image[self.order]))

    def for_worker(self) -> Samples:
        """The same samples, with a root that knows only their files."""
        return replace(self, root=self.root.only(self.paths))

    def _rows(self, rows: Integers, indices: Integers) -> Samples:
        labels, bounds = gather(self.labels, self.bounds, rows)
        return Samples(
            self.root,
            indices,
            self.paths.take(rows),
            labels,
            bounds,
            self.image_bytes[rows],
            self.treatments[rows],
            self.identities[rows],
        )
