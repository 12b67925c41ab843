"""The settings of the commands on ``.rec`` files, without NumPy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Literal

from recpack.bars import Monitor
from recpack.settings import option
from recpack.sinks.settings import Replace, SinkSettings, parse_size
from recpack.storage.s3.access import Access
from recpack.workers.settings import Workers

PathOrUrl = str | os.PathLike[str]
Reader = Literal["sagemaker", "mxnet", "gluoncv", "dali", "image-classification", "insightface"]


def positions(value: str | Sequence[int]) -> tuple[int, ...]:
    """``0,7,12`` or a sequence → numbers; ValueError for anything else."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise ValueError(f"must be positions, like 0,7,12 (got {value!r})") from None


class VerifySettings(Workers, Access, Monitor):
    """What ``recpack.verify`` takes."""

    title = "what to compare"

    deep: bool = option(
        default=False,
        help="read every byte, also on S3, where recpack else compares only the stored checksum",
    )
    reader: Reader | None = option(
        default=None, help="check each record by the rules of this reader"
    )
    against: tuple[PathOrUrl, PathOrUrl] | None = option(
        default=None,
        help="compare each record with its row and its image file",
        metavar="LIST ROOT",
    )


class InspectSettings(Access, Monitor):
    """What ``recpack.inspect`` takes."""


class ReplaceSettings(Replace, Access, Monitor):
    """What ``recpack.unpack`` and ``recpack.reindex`` take."""


class MergeSettings(SinkSettings, Monitor):
    """What ``recpack.merge`` takes."""


class PreviewSettings(Access):
    """What ``recpack.preview`` takes."""

    title = "what to draw"

    records: str | Sequence[int] | None = option(
        default=None, help="positions of the records (default: a random choice)", metavar="N,…",
        read=positions,
    )  # fmt: skip
    count: int = option(default=15, help="number of records to choose", metavar="N")
    seed: int = option(default=0, help="seed of the random choice", metavar="N")
    cell: int | None = option(
        default=None,
        help="pixels of a cell's longer side (default: for a sheet of 1,920 pixels, twice as wide "
        "if an image has many objects)",
        metavar="N",
    )

    def faults(self) -> Iterator[str]:
        if self.records is not None and not len(self.records):
            yield "records: name at least one position, like 0,7,12 (got none)"
        if self.records is not None and self.count != type(self).count:
            yield "count: not with records, which are drawn all; leave one of them out"
        if not 1 <= self.count <= 10_000:
            yield f"count: must be 1 to 10,000 (got {self.count})"
        if self.cell is not None and not 32 <= self.cell <= 4096:
            yield f"cell: must be 32 to 4,096 pixels (got {self.cell})"


class ReaderSettings(Access):
    """What ``RecordReader`` takes. ``index`` is the index file, ``mapped`` reads through a memory
    map."""

    index: PathOrUrl | None = None
    mapped: bool = True


class WriterSettings(SinkSettings):
    """What ``RecordWriter`` takes. ``classes``: class names in the order of their ids."""

    classes: Sequence[str] = ()
    segment_size: int | str = option(
        default="16MiB", help="bytes to write at a time", metavar="SIZE", read=parse_size
    )
