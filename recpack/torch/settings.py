"""The settings of the data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from recpack.formats.recordio import Record
from recpack.records.settings import ReaderSettings

Decode = Literal["opencv", "torchvision"] | Callable[[bytes], Any] | None
Targets = Literal["tensors", "tv_tensors", "label"] | Callable[[Record], Any]
Tail = Literal["keep", "drop", "pad"]

_DECODERS = ("opencv", "torchvision")
_TARGETS = ("tensors", "tv_tensors", "label")
_TAILS = ("keep", "drop", "pad")


class SampleSettings(ReaderSettings):
    """What ``RecordDataset`` takes."""

    decode: Decode = "opencv"
    targets: Targets = "tensors"
    label_offset: int = 1
    transform: Callable[[Any], Any] | None = None
    transforms: Callable[[Any, Any], Any] | None = None

    def faults(self) -> Iterator[str]:
        yield from _choice("decode", self.decode, _DECODERS, "a function of bytes, or None")
        yield from _choice("targets", self.targets, _TARGETS, "a function of a Record")
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
        yield from _choice("tail", self.tail, _TAILS)
        if self.buffer_size < 1:
            yield f"buffer_size: must be 1 or more (got {self.buffer_size})"
        if not 0 <= self.seed < 1 << 32:
            yield f"seed: must be 0 to {(1 << 32) - 1} (got {self.seed})"
        if (self.rank is None) != (self.world_size is None):
            yield "rank, world_size: give both, or none for those of torch.distributed"
        elif self.rank is not None and self.world_size is not None:
            if not 0 <= self.rank < self.world_size:
                yield f"rank: must be 0 to {self.world_size - 1} (got {self.rank})"


def _choice(name: str, value: object, words: tuple[str, ...], other: str = "") -> Iterator[str]:
    if value not in words and not (other and (callable(value) or "None" in other and not value)):
        yield f"{name}: must be {', '.join(words)}{other and f', or {other}'} (got {value!r})"
