"""The processes that train one model together: one for each GPU, by torch's own DDP.

``torchrun`` starts them and tells them of each other by environment variables; without it there is
one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

from ..errors import SpecError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process's number among ``world``, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def any(self, value: bool) -> bool:
        """Whether it is true in any process; all of them must ask."""
        if self.world == 1:
            return value
        shared = torch.tensor(float(value), device=self.device)
        distributed.all_reduce(shared, op=distributed.ReduceOp.MAX)
        return bool(shared.item())

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def share(self, module: torch.nn.Module) -> None:
        """Give all of them the first one's buffers: each has its own batches' means."""
        for buffer in module.buffers() if self.world > 1 else ():
            distributed.broadcast(buffer, 0)

    def gather(self, values: list[T]) -> list[T]:
        """The values of all processes, in the first one; nothing in the others."""
        if self.world == 1:
            return values
        parts: list[list[T]] | None = [[] for _ in range(self.world)] if self.first else None
        distributed.gather_object(values, parts)
        return [one for part in parts or () for one in part]

    def tell(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self.world == 1:
            return value
        told = [value]
        distributed.broadcast_object_list(told)
        return told[0]


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the processes. ``device`` is ``auto``, ``cpu`` or ``cuda``. Raises SpecError for
    ``cuda`` on a machine without."""
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    chosen = device_of(device, int(os.environ.get("LOCAL_RANK", 0)))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world == 1:
        yield Ranks(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Ranks(rank, world, chosen)
    finally:
        distributed.destroy_process_group()


def device_of(device: str, number: int = 0) -> torch.device:
    """The device of a name; ``auto`` is a GPU where there is one."""
    if device != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", number)
    if device == "cuda":
        raise SpecError("device: there is no GPU that torch can use here; use cpu or auto")
    return torch.device("cpu")
