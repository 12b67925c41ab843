"""``.rec`` → batches of pictures and boxes, by any number of processes.

The batches of an epoch depend on the file, the seed and the number of the epoch alone. Their order
is drawn from (seed, epoch), and each picture is changed by (seed, epoch, position in the order), so
any number of workers, and of ranks together, makes the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

import recpack

from ..errors import SpecError, TrainError
from .augment import Boxes, augment, decode, resize

_ROWS = 8
"""Rows of labels come in multiples of this, so that shapes repeat."""


class Batch(NamedTuple):
    """``images`` uint8 (n, side, side, 3), red first; ``labels`` float32 (n, m, 6): class id, xmin,
    ymin, xmax, ymax, difficult, with rows of -1 behind the objects."""

    images: Tensor
    labels: Tensor


class _Task(NamedTuple):
    """A batch to make: the epoch, and for each picture its position in the epoch and where its
    record begins, or the record."""

    epoch: int
    items: list[tuple[int, int | recpack.Record]]


class _Pictures(Dataset[Batch | TrainError]):
    """Makes batches, in whichever process. The file is opened where it is first read."""

    def __init__(
        self, rec: str, endpoint_url: str | None, side: int, label_width: int,
        training: bool, seed: int,
    ) -> None:  # fmt: skip
        self._rec, self._endpoint_url = rec, endpoint_url
        self._side, self._label_width = side, label_width
        self._training, self._seed = training, seed
        self._reader: recpack.RecordReader | None = None

    def __getitem__(self, task: _Task) -> Batch | TrainError:
        """The batch, or the error: torch would bury its text in a worker's traceback."""
        try:
            return self._batch(task)
        except TrainError as error:
            return error
        except recpack.RecpackError as error:
            return TrainError(str(error))

    def _batch(self, task: _Task) -> Batch:
        images = np.empty((len(task.items), self._side, self._side, 3), np.uint8)
        found = []
        for image, (position, record) in zip(images, task.items, strict=True):
            image[:], boxes = self._picture(task.epoch, position, self._record(record))
            found.append(boxes)
        rows = max(1, *map(len, found))
        labels = np.full((len(found), -(-rows // _ROWS) * _ROWS, 6), -1, np.float32)
        for label, boxes in zip(labels, found, strict=True):
            label[: len(boxes)] = boxes
        return Batch(torch.from_numpy(images), torch.from_numpy(labels))

    def _record(self, record: int | recpack.Record) -> recpack.Record:
        if isinstance(record, recpack.Record):
            return record
        if self._reader is None:
            self._reader = recpack.RecordReader(
                self._rec, mapped=False, endpoint_url=self._endpoint_url
            )
        return self._reader[record]

    def _picture(
        self, epoch: int, position: int, record: recpack.Record
    ) -> tuple[np.ndarray, Boxes]:
        name = f"{self._rec}: record {record.id} at byte {record.offset}"
        boxes = self._boxes(record, name)
        pixels = decode(record.image_bytes, name)
        if not self._training:
            return resize(pixels, self._side), boxes
        random = np.random.default_rng((self._seed, epoch, position))
        return augment(pixels, boxes, self._side, random)

    def _boxes(self, record: recpack.Record, name: str) -> Boxes:
        if len(record.label) > self._label_width:
            raise SpecError(
                f"label_width: {name} has a label of {len(record.label)} numbers, more than "
                f"{self._label_width}; set label_width={len(record.label)}"
            )
        objects = record.boxes[:, :6]
        objects = objects[objects[:, 0] >= 0]
        boxes = np.zeros((len(objects), 6), np.float32)
        boxes[:, : objects.shape[1]] = objects
        return boxes[(boxes[:, 3] > boxes[:, 1]) & (boxes[:, 4] > boxes[:, 2])]


class _Order(Sampler[_Task]):
    """The tasks of the epoch that is due."""

    def __init__(self, tasks: Callable[[int], Iterator[_Task]]) -> None:
        self.epoch = 0
        self._tasks = tasks

    def __iter__(self) -> Iterator[_Task]:
        return self._tasks(self.epoch)


def _same(batch: Batch | TrainError) -> Batch | TrainError:
    return batch


class Loader:
    """The batches of a ``.rec``, by path or ``s3://…``."""

    def __init__(
        self,
        rec: str | Path,
        *,
        batch_size: int,
        image_shape: int,
        label_width: int,
        training: bool,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        endpoint_url: str | None = None,
        stream: Callable[[int], BinaryIO] | None = None,
    ) -> None:
        if stream is not None:
            raise SpecError("stream: not yet")
        self._batch_size, self._training, self._seed = batch_size, training, seed
        self._rank, self._world = rank, world
        try:
            with recpack.RecordReader(rec, mapped=False, endpoint_url=endpoint_url) as reader:
                self._count = len(reader)
        except recpack.RecpackError as error:
            raise SpecError(str(error)) from error
        if not self._count:
            raise SpecError(f"{rec}: it has no records")
        self._order = _Order(self._tasks)
        self._loader = DataLoader(
            _Pictures(str(rec), endpoint_url, image_shape, label_width, training, seed),
            batch_size=None, sampler=self._order, collate_fn=_same, num_workers=workers,
            pin_memory=torch.cuda.is_available(), persistent_workers=workers > 0,
            multiprocessing_context="forkserver" if workers else None,
        )  # fmt: skip

    def __len__(self) -> int:
        """Batches of an epoch on this rank."""
        if self._training:
            return -(-self._count // (self._batch_size * self._world))
        return -(-len(range(self._rank, self._count, self._world)) // self._batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch, in order."""
        self._order.epoch = number
        for batch in self._loader:
            if isinstance(batch, TrainError):
                raise batch
            yield batch

    def _tasks(self, epoch: int) -> Iterator[_Task]:
        size, count = self._batch_size, self._count
        if self._training:
            order = np.random.default_rng((self._seed, epoch)).permutation(count)
            for step in range(len(self)):
                first = (step * self._world + self._rank) * size
                positions = range(first, first + size)
                yield _Task(epoch, [(one, int(order[one % count])) for one in positions])
        else:
            mine = range(self._rank, count, self._world)
            for first in range(0, len(mine), size):
                yield _Task(epoch, [(one, one) for one in mine[first : first + size]])
