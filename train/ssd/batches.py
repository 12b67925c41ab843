"""``.rec`` → batches of pictures and boxes, made by any number of processes.

The batches of an epoch depend on the file, the seed and the number of the epoch alone: the order is
drawn from (seed, epoch), and each picture is changed by (seed, epoch, position in the order). So
any number of workers makes the same ones, and so do the ranks of a training together. A worker is
told which records to read, keeps nothing from batch to batch, and opens the file itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

import recpack

from ..errors import SpecError, TrainError
from .augment import Boxes, Pixels, augment, decode, resize
from .shards import Place, Shards, open_rec

_ROWS = 8
"""Rows of labels come in multiples of this, so that shapes repeat."""
_MIXED, _MIXED_BYTES = 1024, 64 << 20
"""A stream's records are mixed among so many of their neighbours, of so many bytes together."""


class Batch(NamedTuple):
    """``images`` uint8 (n, side, side, 3), red first; ``labels`` float32 (n, m, 6): class id, xmin,
    ymin, xmax, ymax, difficult, and rows of -1 behind the objects."""

    images: Tensor
    labels: Tensor

    def __repr__(self) -> str:
        return f"Batch(images={tuple(self.images.shape)}, labels={tuple(self.labels.shape)})"


class _Task(NamedTuple):
    """A batch to make: of each picture its position in the epoch, and its record or where that
    begins."""

    epoch: int
    items: Sequence[tuple[int, Place | recpack.Record]]


class _Pictures(Dataset[Batch | TrainError]):
    """Makes batches, in whichever process."""

    def __init__(
        self, shards: Shards, side: int, label_width: int, augmented: bool, seed: int
    ) -> None:
        self._shards = shards
        self._side, self._label_width = side, label_width
        self._augmented, self._seed = augmented, seed

    def close(self) -> None:
        """Close the files; they are opened again where they are needed."""
        self._shards.close()

    def __getitem__(self, task: _Task | TrainError) -> Batch | TrainError:
        """The batch, or the error: torch would bury its words in a worker's traceback."""
        try:
            return task if isinstance(task, TrainError) else self._batch(task)
        except TrainError as error:
            return error
        except recpack.RecpackError as error:
            return TrainError(str(error))

    def _batch(self, task: _Task) -> Batch:
        images = np.empty((len(task.items), self._side, self._side, 3), np.uint8)
        found = []
        for image, (position, record) in zip(images, task.items, strict=True):
            image[:], boxes = self._picture(task.epoch, position, *self._record(record))
            found.append(boxes)
        rows = max(1, *map(len, found))
        labels = np.full((len(found), -(-rows // _ROWS) * _ROWS, 6), -1, np.float32)
        for label, boxes in zip(labels, found, strict=True):
            label[: len(boxes)] = boxes
        return Batch(torch.from_numpy(images), torch.from_numpy(labels))

    def _record(self, record: Place | recpack.Record) -> tuple[recpack.Record, str]:
        """A record, and the name of its file."""
        if isinstance(record, recpack.Record):
            return record, self._shards.paths[0]
        return self._shards.read(record), self._shards.paths[record.file]

    def _picture(
        self, epoch: int, position: int, record: recpack.Record, path: str
    ) -> tuple[Pixels, Boxes]:
        name = f"{path}: record {record.id} at byte {record.offset}"
        boxes = self._boxes(record, name, path)
        pixels = decode(record.image_bytes, name)
        if not self._augmented:
            return resize(pixels, self._side), boxes
        random = np.random.default_rng((self._seed, epoch, position))
        return augment(pixels, boxes, self._side, random)

    def _boxes(self, record: recpack.Record, name: str, path: str) -> Boxes:
        numbers = len(record.label)
        if numbers > self._label_width:
            raise SpecError(
                f"label_width: {name} has a label of {numbers} numbers, more than "
                f"{self._label_width}; choose label_width={numbers} or more (the manifest beside "
                "the .rec says how many the longest has)"
            )
        try:
            objects = record.boxes[:, :6]
        except recpack.RecordError as error:
            raise TrainError(f"{path}: {error}") from None
        boxes = np.zeros((len(objects), 6), np.float32)
        boxes[:, : objects.shape[1]] = objects
        has_area = (boxes[:, 3] > boxes[:, 1]) & (boxes[:, 4] > boxes[:, 2])
        return boxes[(boxes[:, 0] >= 0) & has_area]


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked
    cv2.setNumThreads(1)  # the workers share the cores
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """torch looks whether the fork server has died, which lives as long as its workers do."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _as_it_is(batch: Batch | TrainError) -> Batch | TrainError:
    return batch


class _Order(Sampler[_Task]):
    """The tasks of the epoch that is due."""

    def __init__(self) -> None:
        self.tasks: Iterator[_Task | TrainError] = iter(())

    def __iter__(self) -> Iterator[_Task | TrainError]:
        return self.tasks


class Loader:
    """The batches of a ``.rec`` or a set of shards, by path or ``s3://…``, of several files that
    are one data set, or of a stream of records.

    ``training`` gives each epoch another order and changes every picture (see ``augment``), unless
    ``augmented`` is false; all batches are full, the last one filled from the start of the epoch.
    Otherwise the order is the file's, pictures are resized only, and the last batch is smaller.
    Of ``world`` ranks each gets its own pictures: in training equally many batches, else as many
    pictures as the others or one fewer. A batch is of this rank alone.

    ``stream(epoch)`` opens a RecordIO stream instead, which is read once, in order, and closed. In
    training its records are mixed with those that are near. One rank reads it, and how many batches
    it has is known at its end, so there is no ``len``.

    ``workers`` processes decode; 0 decodes here. They begin with the first epoch, serve all, and
    end with ``close`` or an error. They are started afresh, so a script that uses them must have
    its code under ``if __name__ == "__main__":``. Batches are in pinned memory where CUDA is.

    Raises SpecError for a file that can't be read or has no records.
    """

    def __init__(
        self,
        rec: str | Path | Sequence[Path],
        *,
        batch_size: int,
        image_shape: int,
        label_width: int,
        training: bool,
        augmented: bool = True,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        endpoint_url: str | None = None,
        stream: Callable[[int], BinaryIO] | None = None,
    ) -> None:
        self._rec = str(rec if isinstance(rec, str | Path) else rec[0]) or "the stream"
        self._batch_size, self._training, self._seed = batch_size, training, seed
        self._rank, self._world, self._workers = rank, world, workers
        self._stream = stream
        paths: Sequence[str] = (self._rec,)
        identities: Sequence[object] = ()
        if stream is None:
            try:
                with open_rec(
                    rec if isinstance(rec, Sequence) else str(rec), endpoint_url
                ) as reader:
                    self._offsets, self._starts = reader.offsets, reader.starts
                    paths, identity = reader.paths, reader.identity
            except recpack.RecpackError as error:
                raise SpecError(str(error)) from error
            if not len(self._offsets):
                raise SpecError(f"{self._rec}: it has no records")
            identities = identity if len(paths) > 1 else [identity]
        elif world > 1:
            raise SpecError(
                f"{self._rec}: only one process can read a stream, not {world}; use files (File "
                "mode) to train with several"
            )
        self._pictures = _Pictures(
            Shards(paths, identities, endpoint_url), image_shape, label_width,
            training and augmented, seed,
        )  # fmt: skip
        self._order = _Order()
        self._loader: DataLoader[Batch | TrainError] | None = None
        self._batches: Any = None

    def __len__(self) -> int:
        """Batches of an epoch on this rank. Raises TypeError for a stream."""
        if self._stream is not None:
            raise TypeError(f"{self._rec}: how many batches it has is known at its end")
        if self._training:
            return -(-len(self._offsets) // (self._batch_size * self._world))
        return -(-len(self._mine()) // self._batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch, in order; one epoch at a time. It may be left early, and the
        next one begins afresh.

        Raises SpecError for a label that is too long, TrainError for a record, an image or a file
        that can't be read, and for a worker that died. The workers are ended then.
        """
        if self._loader is None:
            # only where no server runs yet; it imports once what every worker needs
            multiprocessing.set_forkserver_preload(["torch", __name__])
            self._loader = DataLoader(
                self._pictures, batch_size=None, sampler=self._order, collate_fn=_as_it_is,
                num_workers=self._workers, pin_memory=torch.cuda.is_available(),
                persistent_workers=self._workers > 0, worker_init_fn=_start_worker,
                # a fork would copy the locks that other threads hold, such as CUDA's
                multiprocessing_context="forkserver" if self._workers else None,
            )  # fmt: skip
        tasks = self._order.tasks = self._tasks(number)
        try:
            self._batches = iter(self._loader)
            for batch in self._batches:
                if isinstance(batch, TrainError):
                    raise batch
                yield batch
        except GeneratorExit:
            raise
        except BaseException as error:
            self.close()
            if self._workers and isinstance(error, RuntimeError):
                raise TrainError(
                    f"{self._rec}: a process that prepares pictures has died: {error}; memory may "
                    "be short: try fewer workers (in a container also a larger --shm-size); a "
                    'script needs its code under if __name__ == "__main__":'
                ) from error
            raise
        finally:
            tasks.close()

    def close(self) -> None:
        """End the workers and close the file. A second call does nothing, and the next epoch begins
        anew."""
        self._pictures.close()
        end = getattr(self._batches, "_shutdown_workers", None)
        if end is not None:  # private: without it they would end when this object is collected
            end()
        self._batches = self._loader = None

    def _mine(self) -> range:
        """The positions of this rank's pictures, when not in training."""
        return range(self._rank, len(self._offsets), self._world)

    def _tasks(self, epoch: int) -> Generator[_Task | TrainError]:
        if self._stream is not None:
            yield from self._streamed(self._stream, epoch)
        elif self._training:
            order = np.random.default_rng((self._seed, epoch)).permutation(len(self._offsets))
            for step in range(len(self)):
                first = (step * self._world + self._rank) * self._batch_size
                positions = range(first, first + self._batch_size)
                yield _Task(
                    epoch, [(one, self._place(order[one % len(order)])) for one in positions]
                )
        else:
            mine, size = self._mine(), self._batch_size
            for first in range(0, len(mine), size):
                positions = mine[first : first + size]
                yield _Task(epoch, [(one, self._place(one)) for one in positions])

    def _place(self, position: int) -> Place:
        file = int(np.searchsorted(self._starts, position, "right")) - 1
        return Place(file, int(self._offsets[position]))

    def _streamed(
        self, stream: Callable[[int], BinaryIO], epoch: int
    ) -> Iterator[_Task | TrainError]:
        items: list[tuple[int, recpack.Record]] = []
        start: list[recpack.Record] = []
        position = 0
        try:
            with closing(stream(epoch)) as file:
                records = recpack.read_records(file)
                if self._training:
                    records = _mixed(records, np.random.default_rng((self._seed, epoch)))
                for position, record in enumerate(records, 1):
                    if len(start) < self._batch_size:
                        start.append(record)
                    items.append((position - 1, record))
                    if len(items) == self._batch_size:
                        yield _Task(epoch, items)
                        items = []
        except (OSError, recpack.RecpackError) as error:
            yield TrainError(f"{self._rec} of epoch {epoch}: {error}")
            return
        if not start:
            yield TrainError(f"{self._rec} of epoch {epoch}: it has no records")
        if items:
            if self._training:
                more = range(position, position + self._batch_size - len(items))
                items += zip(more, cycle(start), strict=False)
            yield _Task(epoch, items)


def _mixed(
    records: Iterator[recpack.Record], random: np.random.Generator
) -> Iterator[recpack.Record]:
    """The records in an order of chance, each not far from its place."""
    waiting: list[recpack.Record] = []
    size = 0
    for record in records:
        waiting.append(record)
        size += len(record.image_bytes)
        while len(waiting) > _MIXED or size > _MIXED_BYTES:
            place = int(random.integers(len(waiting)))
            waiting[place], waiting[-1] = waiting[-1], waiting[place]
            chosen = waiting.pop()
            size -= len(chosen.image_bytes)
            yield chosen
    random.shuffle(waiting)
    yield from waiting
