"""What the commands on finished ``.rec`` files are told, without NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from recpack.progress import Monitor
from recpack.settings import option
from recpack.sinks.settings import Replace, SinkSettings
from recpack.storage.paths import PathOrUrl
from recpack.storage.s3.access import Access
from recpack.workers.settings import Workers

Reader = Literal["sagemaker", "mxnet", "gluoncv", "dali"]


def positions(value: str | Sequence[int]) -> tuple[int, ...]:
    """``0,7,12`` or a sequence → numbers; ValueError for anything else."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise ValueError(f"{value!r}; write positions, like 0,7,12") from None


@dataclass(frozen=True, kw_only=True)
class VerifySettings(Workers, Access, Monitor):
    """What ``recpack.verify`` takes."""

    title = "what to compare"

    deep: bool = option(
        False, "read all of it, also on S3, where the stored checksum is compared by default"
    )
    reader: Reader | None = option(None, "what this reader demands of each record")
    against: tuple[PathOrUrl, PathOrUrl] | None = option(
        None, "compare each record with its row and its file", metavar="LIST ROOT"
    )


@dataclass(frozen=True, kw_only=True)
class InspectSettings(Access, Monitor):
    """What ``recpack.inspect`` takes."""


@dataclass(frozen=True, kw_only=True)
class ReplaceSettings(Replace, Access, Monitor):
    """What ``recpack.unpack`` and ``recpack.reindex`` take."""


@dataclass(frozen=True, kw_only=True)
class MergeSettings(SinkSettings, Monitor):
    """What ``recpack.merge`` takes."""


@dataclass(frozen=True, kw_only=True)
class PreviewSettings(Access):
    """What ``recpack.preview`` takes."""

    title = "what to draw"

    records: str | Sequence[int] | None = option(
        None, "positions of the records (default: chosen by the seed)", metavar="N,…",
        read=positions,
    )  # fmt: skip
    count: int = option(16, "how many are chosen", metavar="N")
    seed: int = option(0, "seed of the choice", metavar="N")
    cell: int = option(
        360, "pixels of a cell's side; twice as many where an image has many objects", metavar="N"
    )

    def faults(self) -> Iterator[str]:
        if self.count < 1:
            yield f"count: must be at least 1 (got {self.count})"
        if not 32 <= self.cell <= 4096:
            yield f"cell: {self.cell} pixels; 32 to 4,096"


@dataclass(frozen=True, kw_only=True)
class ReaderSettings(Access):
    """What ``RecordReader`` takes. ``index`` is the index file, ``mapped`` reads through a memory
    map."""

    index: PathOrUrl | None = None
    mapped: bool = True


@dataclass(frozen=True, kw_only=True)
class WriterSettings(SinkSettings):
    """What ``RecordWriter`` takes. ``classes``: their names in the order of their ids."""

    classes: Sequence[str] = ()
