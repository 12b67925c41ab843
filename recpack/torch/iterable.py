"""``RecordIterableDataset``: samples in the order of the file, shared by ranks and workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import index as whole
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from recpack.columns import Int64
from recpack.display import brief
from recpack.errors import ConfigError
from recpack.formats.recordio import Record
from recpack.settings import takes
from recpack.torch.order import Blocks, Share, mix, range_of_rank, range_of_worker
from recpack.torch.records import ImageRecords, PathOrPaths
from recpack.torch.samples import SampleMaker
from recpack.torch.settings import IterableSettings


class RecordIterableDataset(IterableDataset[Any]):
    """The samples of ``.rec`` files, read in order; they, and other arguments, as in
    ``RecordDataset``.

    Among ``world_size`` ranks and the workers of each rank's ``DataLoader``, each sample comes once
    an epoch, whatever the numbers of files, ranks and workers: each reads a range of its own.
    ``rank`` and ``world_size`` are those of ``torch.distributed`` where it is initialised, else one
    rank. ``tail``: ``"keep"``: a rank can have one sample more than another; ``"drop"`` leaves out
    as many as are too many for equal numbers; ``"pad"`` repeats some.

    ``shuffle`` reads blocks of about 16 MiB in an order drawn from ``seed`` and epoch, through a
    buffer of ``buffer_size`` samples that gives out a random one. On S3 each worker has them in
    memory, encoded, and 48 MiB; local files are mapped, and the page cache has them. The order
    depends on ``seed``, epoch, rank and worker alone, and the numbers of ranks and workers. As with
    ``DistributedSampler``, call ``set_epoch`` before each epoch; without it each has the same
    order.

    ``state_dict`` and ``load_state_dict`` go on in an epoch at the next sample, also through
    torchdata's ``StatefulDataLoader``; with a plain ``DataLoader`` take ``state_after``.
    """

    @takes(IterableSettings)
    def __init__(self, path: PathOrPaths, settings: IterableSettings) -> None:
        self._settings = settings
        self._records = ImageRecords(path, settings)
        self._make = SampleMaker(settings, self._records.path)
        # workers that stay from epoch to epoch see these
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._starts: torch.Tensor | None = None
        self._loaded: dict[str, Any] | None = None
        self._given: tuple[Share, int, int] | None = None
        self._last_ranks = 0, 1

    def __repr__(self) -> str:
        return brief(self, path=self._records.name, samples=len(self), epoch=self.epoch)

    def __len__(self) -> int:
        """The samples of this rank in an epoch. A ``DataLoader`` expects as few batches as they
        fill; with workers it can give one more for each, as each has a last batch of its own."""
        return len(range_of_rank(len(self._records), self._share(), self._settings.tail))

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; it begins at its first sample, unless
        ``load_state_dict`` was called for this epoch."""
        epoch = _whole("epoch", epoch)
        if epoch != self.epoch:
            self._loaded = self._starts = self._given = None
        self._epoch[0] = epoch

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return int(self._epoch[0])

    def __iter__(self) -> Iterator[Any]:
        epoch = self.epoch
        share, start = self._take_start(self._share())
        self._given = share, epoch, start
        return self._samples(share, epoch, start)

    def state_dict(self) -> dict[str, Any]:
        """Where the last iteration of this process is: what ``load_state_dict`` takes. It does not
        see the iterations of a ``DataLoader``'s workers; see ``state_after``."""
        if self._given is None and self._loaded is not None:
            return self._loaded
        share, epoch, given = self._given or (self._share(), self.epoch, 0)
        samples = [0] * share.workers
        samples[share.worker] = given
        return self._state(epoch, samples, share.worker - self._share().worker)

    def state_after(self, loader: DataLoader[Any], batches: int) -> dict[str, Any]:
        """Where a plain ``DataLoader`` of this data set is when its iteration of this epoch has
        given so many batches: what ``load_state_dict`` takes. After ``load_state_dict`` count from
        there. Raises ConfigError for a loader without a batch size, and in an epoch that was begun
        with another batch size or number of workers."""
        size, workers = loader.batch_size, max(loader.num_workers, 1)
        if size is None:
            raise ConfigError("loader: it has no batch_size; take one, or iterate without it")
        before = self._loaded or self._state(self.epoch, [0] * workers, 0)
        samples, first = list(before["samples"]), before["first_worker"]
        if (len(samples), before.get("batch_size", size)) != (workers, size):
            raise ConfigError(
                f"loader: the epoch was begun with {len(samples)} workers and batch_size="
                f"{before.get('batch_size', size)}; change them between epochs"
            )
        for worker in range(workers):  # a loader takes one batch of each in turn
            turns = len(range(worker, batches, workers))
            samples[(first + worker) % workers] += size * turns
        return self._state(self.epoch, samples, first + batches) | {"batch_size": size}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on, in the next iteration, at the first sample that ``state`` has not given; its epoch
        is this one's then. Call it before a ``DataLoader`` starts. Raises ConfigError for the state
        of another data set or another division; the number of workers is checked when they
        start."""
        samples = state.get("samples") if isinstance(state, Mapping) else None
        if not isinstance(samples, Sequence) or isinstance(samples, str) or not samples:
            raise ConfigError(f"state: this is none of state_dict (got {str(state)[:80]})")
        samples = [_whole("samples", one) for one in samples]
        first, epoch = _whole("first_worker", state.get("first_worker")), state.get("epoch")
        ours = self._state(_whole("epoch", epoch), samples, first)
        differ = [name for name in ours if state.get(name) != ours[name]]
        if differ:
            lines = (f"{name}: {state.get(name)} then, {ours[name]} now" for name in differ)
            raise ConfigError("the state is of another data set:\n" + "\n".join(lines))
        # the loader's next batch is of its worker 0, so that is who goes on where it stopped
        parts = [(worker + first) % len(samples) for worker in range(len(samples))]
        starts = [(part, samples[part]) for part in parts]
        self._starts = torch.tensor(starts, dtype=torch.int64).share_memory_()
        self._loaded, self._given = dict(state), None
        self._epoch[0] = ours["epoch"]

    def __getstate__(self) -> dict[str, Any]:
        # a spawned worker knows nothing of torch.distributed
        return vars(self) | {"_last_ranks": self._ranks()}

    def _ranks(self) -> tuple[int, int]:
        settings = self._settings
        if settings.rank is not None and settings.world_size is not None:
            return settings.rank, settings.world_size
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return self._last_ranks

    def _share(self) -> Share:
        worker = get_worker_info()
        return Share(*self._ranks(), *((worker.id, worker.num_workers) if worker else ()))

    def _state(self, epoch: int, samples: list[int], first_worker: int) -> dict[str, Any]:
        """``samples``: how many each worker's part has given · ``first_worker``: whose part is
        next."""
        settings = self._settings
        return {
            "epoch": epoch,
            "samples": samples,
            "first_worker": first_worker % len(samples),
            "records": len(self._records),
            "world_size": self._ranks()[1],
            "shuffle": settings.shuffle,
            "buffer_size": settings.buffer_size,
            "seed": settings.seed,
            "tail": settings.tail,
        }

    def _take_start(self, share: Share) -> tuple[Share, int]:
        """Whose part to read, and the sample to begin at: as the state says, but once."""
        if self._starts is None:
            return share, 0
        if len(self._starts) != share.workers:
            raise ConfigError(
                f"num_workers: the state is of {len(self._starts)} workers, and this loader has "
                f"{share.workers}; give it as many as before"
            )
        part, start = self._starts[share.worker].tolist()
        self._starts[share.worker] = torch.tensor([share.worker, 0])
        return share._replace(worker=part), start

    @property
    def _buffer_size(self) -> int:
        return self._settings.buffer_size if self._settings.shuffle else 1

    def _order(self, share: Share, epoch: int) -> tuple[Int64, Int64]:
        """The positions of a reader's samples in the order of reading, and the order in which they
        are given out: each int64, shape (samples,)."""
        settings, records = self._settings, self._records
        blocks = Blocks(
            records.counts, records.sizes, settings.seed, epoch, shuffle=settings.shuffle
        )
        positions = blocks[range_of_worker(len(records), share, settings.tail)]
        key = [settings.seed, epoch, *share]
        return positions, mix(len(positions), self._buffer_size, key)

    def _samples(self, share: Share, epoch: int, start: int) -> Iterator[Any]:
        positions, order = self._order(share, epoch)
        order = order[start:]
        waiting = np.sort(order)
        if self._records.mapped:  # the page cache is the buffer
            records = self._records.read_mapped(
                positions[order], positions[waiting], self._buffer_size
            )
        else:
            records = _mix(self._records.read_in_order(positions[waiting]), waiting, order)
        for given, (place, record) in enumerate(
            zip(order.tolist(), records, strict=True), start + 1
        ):
            sample = self._make(record, positions.item(place))
            self._given = share, epoch, given
            yield sample


def _whole(name: str, value: object) -> int:
    """A whole number that a state or an epoch can be; ConfigError for any other."""
    try:
        number = whole(value)  # type: ignore[arg-type]  # it says what it can't take
    except TypeError:
        number = -1
    if not 0 <= number < 1 << 32:
        raise ConfigError(f"{name}: must be a whole number from 0 (got {value!r})")
    return number


def _mix(records: Iterator[Record], waiting: Int64, order: Int64) -> Iterator[Record]:
    """The records, whose numbers are ``waiting``, in this order of the numbers."""
    numbered = zip(waiting.tolist(), records, strict=True)
    buffer: dict[int, Record] = {}
    for wanted in order.tolist():
        while wanted not in buffer:
            number, record = next(numbered)
            buffer[number] = record
        yield buffer.pop(wanted)
