"""The training: epochs of steps, each epoch with its losses, its mAP and a checkpoint.

Hyperparameters mean what they mean to SageMaker's built-in algorithm, and the lines are those of
its log. Sources: AWS developer guide, "Object Detection Hyperparameters"; MXNet's example/ssd,
which the algorithm stems from.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, Literal

import joblib
import torch
from torch import nn

from ..errors import SpecError
from ..hyperparameters import Hyperparameters
from . import checkpoints, optimizers
from .artifact import Model
from .batches import Batch, Loader
from .graph import Graph
from .mxnet_files import Arrays
from .network import mean_of
from .ranks import Ranks, joined
from .validation import mean_average_precision
from .weights import starting_model

Source = str | Path | Sequence[Path] | Callable[[int], BinaryIO]
"""A ``.rec`` or the name of a set of shards (a path or ``s3://…``), several files that are one data
set, or what opens the stream of an epoch's records."""

_WARM_UP = 200
"""Most steps with a rising learning rate: random weights begin with losses that are many times the
last."""
_BATCHES_OF_A_LINE = 100
_BATCHES_OF_A_LOOK = 20
"""How often several processes agree whether to stop."""
_HOST = "algo-1"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A training. ``model`` is the one to continue, ``pretrained`` the arrays to start from,
    ``checkpoints`` the folder of its state. With a ``seed`` the same run gives the same model on
    the same machine; ``workers`` are the processes that read images (None: by the cores).
    ``augmented`` is false to learn the pictures as they are, which shows soon whether a network
    can learn them."""

    hyperparameters: Hyperparameters
    train: Source
    validation: Source
    model: Model | None = None
    pretrained: Arrays | None = field(default=None, repr=False)
    checkpoints: Path | None = None
    seed: int | None = None
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    workers: int | None = None
    augmented: bool = True
    endpoint_url: str | None = None


def fit(
    setup: Setup,
    say: Callable[[str], None],
    stopped: Callable[[], bool] = lambda: False,
    keep: Callable[[Model], None] | None = None,
) -> Model:
    """Train, and return the model. ``say`` gets the lines of the log, ``keep`` the model after each
    epoch. When ``stopped`` tells so, it ends after the step, with the model so far. Raises
    SpecError, ModelError for what can't be, and what the reading of the data raises."""
    with joined(setup.device) as ranks:
        training = _Training(setup, ranks, say if ranks.first else lambda _: None, stopped)
        return training.run(keep if ranks.first else None)


class _Training:
    def __init__(
        self, setup: Setup, ranks: Ranks, say: Callable[[str], None], stopped: Callable[[], bool]
    ) -> None:
        self._setup, self._ranks, self._say, self._stopped = setup, ranks, say, stopped
        learning = self._learning = setup.hyperparameters
        _demand_whole_batches(learning.mini_batch_size, ranks.world)
        seed = setup.seed or 0
        torch.manual_seed(seed % 2**64)
        torch.backends.cudnn.deterministic = setup.seed is not None
        torch.backends.cudnn.benchmark = setup.seed is None
        start = starting_model(learning, setup.model, setup.pretrained, seed)
        self._graph = Graph(start.symbol, start.arrays, learning.image_shape).to(
            ranks.device, memory_format=torch.channels_last
        )
        self._mean = torch.tensor(mean_of(start.symbol, start.arrays), device=ranks.device)
        self._optimizer = self._make_optimizer()
        self._loaders = [
            self._loader(source, training=training, seed=seed)
            for source, training in ((setup.train, True), (setup.validation, False))
        ]
        self._module: nn.Module = self._graph
        if ranks.world > 1:
            self._module = nn.parallel.DistributedDataParallel(self._graph)
        steps = math.ceil(learning.num_training_samples / learning.mini_batch_size)
        fresh = setup.model is None and setup.pretrained is None
        self._warm_up = min(_WARM_UP, steps * learning.epochs // 10) if fresh else 0
        if setup.precision == "bf16" and self._on_cpu:
            # torch 2.14's bf16 convolutions leave gradients unset there, of a map of one pixel
            raise SpecError("precision: bf16 is for a GPU; on a CPU use auto or fp32")
        self._half = setup.precision == "bf16" or (
            setup.precision == "auto" and not self._on_cpu and torch.cuda.is_bf16_supported()
        )
        self._steps = self._epoch = self._worse = 0
        self._best = -math.inf

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """Over what is not frozen."""
        learning = self._learning
        frozen = re.compile(learning.freeze_layer_pattern or r"(?!)")
        learnt = {}
        for name, parameter in self._graph.named().items():
            if frozen.match(name):
                parameter.requires_grad_(False)
            else:
                learnt[name] = parameter
        if not learnt:
            raise SpecError(
                f"freeze_layer_pattern: {learning.freeze_layer_pattern} matches every layer; "
                "nothing would be learnt"
            )
        if learning.freeze_layer_pattern and len(learnt) == len(self._graph.named()):
            self._say(f"freeze_layer_pattern: {frozen.pattern} matches no layer; all are learnt")
        return optimizers.make(
            learning.optimizer, learnt, learning_rate=learning.learning_rate,
            momentum=learning.momentum, weight_decay=learning.weight_decay,
            multipliers=self._graph.multipliers(),
            batch_size=learning.mini_batch_size // self._ranks.world,
        )  # fmt: skip

    def _loader(self, source: Source, *, training: bool, seed: int) -> Loader:
        learning, setup, ranks = self._learning, self._setup, self._ranks
        rec, stream = ("", source) if callable(source) else (source, None)
        workers = setup.workers
        if workers is None:  # without a GPU there is nothing to do beside the training
            workers = 0 if self._on_cpu else max(joblib.cpu_count() // ranks.world - 1, 0)
        return Loader(
            rec, stream=stream, batch_size=learning.mini_batch_size // ranks.world,
            image_shape=learning.image_shape, label_width=learning.label_width,
            training=training, augmented=setup.augmented, seed=seed, rank=ranks.rank,
            world=ranks.world, workers=workers, endpoint_url=setup.endpoint_url,
        )  # fmt: skip

    def run(self, keep: Callable[[Model], None] | None) -> Model:
        """All epochs."""
        with ExitStack() as stack:
            for loader in self._loaders:
                stack.callback(loader.close)
            return self._run(keep)

    def _run(self, keep: Callable[[Model], None] | None) -> Model:
        self._resume()
        while self._epoch < self._learning.epochs and not self._is_enough():
            if not self._train_epoch() or not self._validate():
                break
            self._epoch += 1
            self._say(
                f"#progress_metric: host={_HOST}, completed "
                f"{100 * self._epoch / self._learning.epochs} %"
            )
            model = self.model()
            self._save()
            if keep is not None:
                keep(model)
        return self.model()

    def model(self) -> Model:
        """As it is now. Raises SpecError when that is no model any more."""
        self._demand_numbers(*self._graph.state_dict().values())
        return Model(
            self._graph.symbol,
            self._graph.arrays(),
            self._learning.as_strings() | {"nms_topk": "400"},
        )

    def _resume(self) -> None:
        folder = self._setup.checkpoints
        state = checkpoints.load(folder, self._identity()) if folder is not None else None
        if state is None:
            return
        self._graph.load_state_dict(state["graph"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._epoch, self._steps = state["epoch"], state["steps"]
        self._best, self._worse = state["best"], state["worse"]
        self._say(f"going on after epoch {self._epoch - 1}, from its checkpoint")

    def _save(self) -> None:
        folder = self._setup.checkpoints
        if folder is None or not self._ranks.first:
            return
        state = {
            "graph": self._graph.state_dict(), "optimizer": self._optimizer.state_dict(),
            "epoch": self._epoch, "steps": self._steps, "best": self._best, "worse": self._worse,
        }  # fmt: skip
        checkpoints.save(folder, state, self._identity())

    def _identity(self) -> Mapping[str, str]:
        """What a state must be of; more epochs of the same are welcome."""
        strings = self._learning.as_strings()
        del strings["epochs"]
        return {**strings, "seed": str(self._setup.seed or 0), "processes": str(self._ranks.world)}

    def _is_enough(self) -> bool:
        """Whether early stopping ends the training here."""
        learning = self._learning
        return (
            learning.early_stopping
            and self._epoch >= learning.early_stopping_min_epochs
            and self._worse >= learning.early_stopping_patience
        )

    def _train_epoch(self) -> bool:
        """False when it was stopped."""
        self._module.train()
        started = time.monotonic()
        sums = torch.zeros(3, dtype=torch.float64 if self._on_cpu else torch.float32)
        sums = sums.to(self._ranks.device)
        batch = 0
        for batch, (images, labels) in enumerate(self._batches(self._loaders[0]), 1):
            sums += self._step(images, labels)
            if batch % _BATCHES_OF_A_LINE == 0:
                self._report(sums, batch, started)
            if self._should_stop():
                return False
        self._report(sums, batch, started)
        return True

    def _should_stop(self) -> bool:
        several = self._ranks.world > 1 and not self._on_cpu  # on a CPU a step takes much longer
        if several and self._steps % _BATCHES_OF_A_LOOK:  # an epoch can be shorter
            return False
        return self._ranks.any(self._stopped())

    @property
    def _on_cpu(self) -> bool:
        return bool(self._ranks.device.type == "cpu")

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One step; the sums of cross entropy and smooth L1, and the number of anchors."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        with torch.autocast(self._ranks.device.type, torch.bfloat16, enabled=self._half):
            predictions = self._module(images)
        losses = self._graph.losses(predictions, labels)
        self._optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        self._optimizer.step()
        self._steps += 1
        return torch.stack(
            [one.detach() for one in (losses.cross_entropy, losses.smooth_l1, losses.valid)]
        )

    def _learning_rate(self) -> float:
        learning = self._learning
        passed = sum(
            self._epoch >= int(step) for step in learning.lr_scheduler_step.split(",") if step
        )
        rate = learning.learning_rate * learning.lr_scheduler_factor**passed
        return rate * min(1.0, (self._steps + 1) / (self._warm_up + 1))

    def _batches(self, loader: Loader) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images (N, 3, S, S) without the mean, and labels, on the device."""
        one: Batch
        for one in loader.epoch(self._epoch):
            if (most := int(one.labels[..., 0].max())) >= self._graph.num_classes:
                raise SpecError(
                    f"num_classes: {self._graph.num_classes}, but the data has an object of class "
                    f"{most}; ids begin with 0"
                )
            images = one.images.to(self._ranks.device, non_blocking=True)
            labels = one.labels.to(self._ranks.device, non_blocking=True)
            # uint8 (N, S, S, 3) seen as (N, 3, S, S) is channels_last without a copy
            yield (images - self._mean).permute(0, 3, 1, 2), labels

    def _report(self, sums: torch.Tensor, batch: int, started: float) -> None:
        """The lines of SageMaker's log on the losses so far in the epoch."""
        sums = self._ranks.sum(sums.clone())
        self._demand_numbers(sums)
        cross_entropy, smooth_l1, valid = sums.tolist()
        seconds = time.monotonic() - started
        examples = batch * self._learning.mini_batch_size
        speed = examples / max(seconds, 1e-9)
        self._say(
            f"Epoch: {self._epoch:4}, batches: {batch:6}, num_examples: {examples:6}, "
            f"{speed:.1f} samples/sec, epoch time so far:  {timedelta(seconds=seconds)}"
        )
        for name, value in (("smooth_l1", smooth_l1), ("cross_entropy", cross_entropy)):
            self._say(
                f"#quality_metric: host={_HOST}, epoch={self._epoch}, batch={batch} train {name} "
                f"<loss>=({value / max(valid, 1)})"
            )
        self._say(f"#throughput_metric: host={_HOST}, train throughput={speed} records/second")

    def _demand_numbers(self, *values: torch.Tensor) -> None:
        if not all(bool(one.isfinite().all()) for one in values):
            raise SpecError(
                f"learning_rate: {self._learning.learning_rate:g} is too high: in epoch "
                f"{self._epoch} losses or weights are no numbers any more; choose a lower one"
            )

    def _validate(self) -> bool:
        """False when it was stopped."""
        learning = self._learning
        self._graph.eval()
        self._ranks.share(self._graph)
        batches = takewhile(lambda _: not self._stopped(), self._batches(self._loaders[1]))
        found = mean_average_precision(
            self._graph, batches, self._ranks, learning.overlap_threshold
        )
        if self._ranks.any(self._stopped()):
            return False
        self._say(
            f"#quality_metric: host={_HOST}, epoch={self._epoch}, validation mAP <score>=({found})"
        )
        if found > self._best * (1 + learning.early_stopping_tolerance) or self._best < 0:
            self._best, self._worse = found, 0
        else:
            self._worse += 1
        return True


def _demand_whole_batches(batch: int, world: int) -> None:
    if batch % world:
        raise SpecError(
            f"mini_batch_size: {batch} can't be divided among {world} processes; choose a multiple"
        )
