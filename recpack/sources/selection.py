"""Settings: which part of a data set is read. ``--year`` and ``--set`` are parsed here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Literal

from recpack.settings import option
from recpack.storage.trees.links import Links

SourceFormat = Literal[
    "voc", "coco", "yolo", "augmented-manifest", "image-json", "csv", "folders", "identities"
]


EVERY = "all"
"""``--set all`` reads every image set, unless one has this name."""


def split_names(value: str | int | Sequence[str | int]) -> tuple[str, ...]:
    """``2007, 2012``, ``2007`` or a sequence → its names, without white space around them."""
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, int):
        parts = (parts,)
    return tuple(name for name in (str(part).strip() for part in parts) if name)


class Selection(Links):
    """Which data set, and which part of it. ``year`` and ``set`` become tuples of names."""

    title = "what to read"

    source_format: SourceFormat | None = option(
        default=None, help="format of the data set (default: detected)", flag="--from"
    )
    year: str | int | Sequence[str | int] | None = option(
        default=None, help="years, in this order (default: all)", metavar="Y,…", read=split_names
    )
    set: str | Sequence[str] | None = option(
        default=None,
        help="image sets: all, one for all years, or one for each (default: for training)",
        metavar="S,…",
        read=split_names,
    )
    images: str | os.PathLike[str] | None = option(
        default=None, help="image folder, if not detected", metavar="DIR"
    )
    annotations: str | os.PathLike[str] | None = option(
        default=None, help="annotation folder, if not detected", metavar="DIR"
    )

    def faults(self) -> Iterator[str]:
        if self.annotations is not None and self.images is None:
            yield "annotations: name the folder of the images too: images=DIR"
        if self.images is not None and self.year is not None:
            yield "year: images and annotations name folders without years; leave year out"

    @property
    def years(self) -> tuple[str, ...]:
        """The years to read; empty for all."""
        return split_names(self.year or ())

    @property
    def sets(self) -> tuple[str, ...]:
        """The image sets to read; empty for the default."""
        return split_names(self.set or ())
