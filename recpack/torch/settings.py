"""The settings of the data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from recpack.formats.recordio import Record
from recpack.records.settings import ReaderSettings

Decode = Literal["opencv", "torchvision"] | Callable[[bytes], Any] | None
Targets = Literal["tensors", "tv_tensors", "label"] | Callable[[Record], Any]
Tail = Literal["keep", "drop", "pad"]


class SampleSettings(ReaderSettings):
    """What ``RecordDataset`` takes."""

    decode: Decode = "opencv"
    targets: Targets = "tensors"
    label_offset: int = 1
    transform: Callable[[Any], Any] | None = None
    transforms: Callable[[Any, Any], Any] | None = None

    def faults(self) -> Iterator[str]:
        if self.transform is not None and self.transforms is not None:
            yield "transform, transforms: give one; transforms takes image and target"


class IterableSettings(SampleSettings):
    """What ``RecordIterableDataset`` takes."""

    shuffle: bool = False
    buffer_size: int = 1000
    seed: int = 0
    rank: int | None = None
    world_size: int | None = None
    tail: Tail = "keep"

    def faults(self) -> Iterator[str]:
        if self.buffer_size < 1:
            yield f"buffer_size: must be 1 or more (got {self.buffer_size})"
        if not 0 <= self.seed < 1 << 32:
            yield f"seed: must be 0 to {(1 << 32) - 1} (got {self.seed})"
        if (self.rank is None) != (self.world_size is None):
            yield "rank, world_size: give both, or none for those of torch.distributed"
        elif self.rank is not None and not 0 <= self.rank < (self.world_size or 0):
            yield f"rank: must be 0 or more, and less than {self.world_size} (got {self.rank})"
