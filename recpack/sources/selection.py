"""What is read of a data set: the settings, and how ``--year`` and ``--set`` are understood."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Literal

from recpack.settings import Settings, option

SourceFormat = Literal["voc", "coco", "yolo", "augmented-manifest", "image-json"]


def words(value: str | int | Sequence[str | int]) -> tuple[str, ...]:
    """``2007, 2012``, ``2007`` or a sequence → the names in it, without white space around them."""
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, int):
        parts = (parts,)
    return tuple(word for word in (str(part).strip() for part in parts) if word)


class Selection(Settings):
    """Which data set, and which part of it. ``year`` and ``set`` are kept as tuples of names."""

    title = "what to read"

    source_format: SourceFormat | None = option(
        default=None, help="format of the data set (default: detected)", flag="--from"
    )
    year: str | Sequence[str] | None = option(
        default=None, help="years, in this order (default: all)", metavar="Y,…", read=words
    )
    set: str | Sequence[str] | None = option(
        default=None,
        help="image sets: one for all years, or one for each (default: trainval)",
        metavar="S,…",
        read=words,
    )
    images: str | os.PathLike[str] | None = option(
        default=None, help="image folder, if not detected", metavar="DIR"
    )
    annotations: str | os.PathLike[str] | None = option(
        default=None, help="annotation folder, if not detected", metavar="DIR"
    )

    def faults(self) -> Iterator[str]:
        if self.annotations is not None and self.images is None:
            yield "annotations: name the folder of the images too, with images"
        if self.images is not None and self.year is not None:
            yield "year: the folders given with images and annotations have no years"

    @property
    def years(self) -> tuple[str, ...]:
        """The years asked for; empty for all."""
        return words(self.year or ())

    @property
    def sets(self) -> tuple[str, ...]:
        """The image sets asked for; empty for the default."""
        return words(self.set or ())
