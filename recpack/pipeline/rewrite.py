"""``recpack shuffle``, ``split``, ``filter``: the records of a ``.rec`` in another order, in
parts, or some of them. Images are copied as they are: nothing is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from recpack.columns import Integers
from recpack.data.classes import ClassMap, class_map
from recpack.data.labels import MAX_CLASSES, detection_labels
from recpack.data.objects import Choice
from recpack.data.samples import Samples
from recpack.display import did_you_mean
from recpack.errors import ConfigError, DataError
from recpack.formats.manifest import NOT_PACKED, describe
from recpack.options import FilterSettings, RewriteSettings, ShuffleSettings, SplitSettings
from recpack.packing.input import PackInput
from recpack.packing.publish import publish
from recpack.packing.result import Result
from recpack.packing.run import pack_samples
from recpack.packing.settings import PackSettings
from recpack.pipeline.reach import prove_reach
from recpack.pipeline.second_pass import Output, part_path
from recpack.records.headers import read_samples
from recpack.records.record_source import RecordSource, open_source
from recpack.scanning.order import orders, random_order
from recpack.scanning.settings import PARTS, OrderSettings, parse_fractions
from recpack.settings import takes
from recpack.sinks.base import Sink
from recpack.sinks.open import open_destination
from recpack.sinks.settings import Output as OutputSettings
from recpack.storage.paths import PathOrUrl, demand_other
from recpack.storage.shards import set_name
from recpack.workers.cluster import connect
from recpack.workers.settings import Cluster, Workers

Arrange = Callable[[Samples], Sequence[Integers]]
"""The positions of the records of each output, in order."""


@takes(ShuffleSettings)
def shuffle(path: PathOrUrl, output: Output, settings: ShuffleSettings) -> Result:
    """Write the records of a ``.rec``, or of a set of shards, in the random order of ``seed`` into
    ``output``, with its ``.idx`` and manifest; both can be paths or ``s3://…``.

    Records get the ids 0, 1, … in the new order; images, labels and classes stay. A file that
    ``convert`` wrote without shuffling becomes the one that it writes with this seed as
    ``shuffle``. Workers read and write in parallel as in ``convert``: the same bytes for any
    number of them. Raises ConfigError when ``output`` is the input, RecordError, with the byte
    offset, for a broken file or a record without an image, SinkError.
    """

    def arrange(samples: Samples) -> Sequence[Integers]:
        return [random_order(len(samples), settings.seed)]

    return _rewrite(path, [output], settings, arrange)


@takes(SplitSettings)
def split(path: PathOrUrl, settings: SplitSettings) -> Result:
    """Write the records of ``x.rec`` into two or three parts, ``x_train.rec``, ``x_val.rec`` (and
    ``x_test.rec``), or into parts named after ``output``, each as ``shuffle`` writes it.

    The parts are those of ``convert(…, split=fractions, shuffle=seed)``: by class, and records with
    equal images are in the same part. The result has one result for each part in ``parts``. Raises
    as ``shuffle``, and DataError when there are too few records.
    """
    base = path if settings.output is None else settings.output
    names = PARTS[: len(parse_fractions(settings.fractions))]
    chosen = OrderSettings(
        split=settings.fractions, shuffle=settings.seed, **vars(settings.part(Workers))
    )
    outputs = [part_path(base, name) for name in names]
    return _rewrite(path, outputs, settings, lambda samples: orders(samples, chosen))


@takes(FilterSettings)
def filter(path: PathOrUrl, output: Output, settings: FilterSettings) -> Result:
    """Write the records of a ``.rec`` with only some of their objects into ``output``, in the same
    order, with its ``.idx`` and manifest.

    ``classes``: objects of these classes, which get the ids 0, 1, … in this order; of labels that
    are one class, the records; of labels of several classes, the records that have one, with the
    columns of these. Names are those of the manifest, without one the ids. ``min_box``:
    boxes whose shorter side has at least so many pixels. Records without an object that stays go
    too, unless ``negatives`` is ``keep``. Raises as ``shuffle``, DataError for an unknown class,
    DataError when nothing is left.
    """
    chosen = class_map(settings.classes) if settings.classes is not None else None
    if settings.classes is not None and chosen is None:
        raise ConfigError("classes: auto takes all; name those to keep")

    def arrange(samples: Samples) -> Sequence[Integers]:
        if settings.min_box and not detection_labels(samples).any():
            raise DataError(f"{os.fspath(path)}: no label has boxes; leave min_box out")
        return [random_order(len(samples), None)]

    return _rewrite(path, [output], settings, arrange, chosen)


def _rewrite(
    path: PathOrUrl,
    outputs: Sequence[Output],
    settings: RewriteSettings,
    arrange: Arrange,
    chosen: ClassMap | None = None,
) -> Result:
    with ExitStack() as stack:
        source = open_source(path, settings)
        # an output replaces the shards of its set
        inputs = [path, *source.paths, *(set_name(one) or one for one in source.paths)]
        for output in outputs:
            if not isinstance(output, Sink):
                demand_other(output, inputs)
        choice, classes = _choice(source, settings, chosen)
        sinks = [
            stack.enter_context(open_destination(output, settings, settings.shards))
            for output in outputs
        ]
        stack.enter_context(connect(settings))
        prove_reach(source.tree, sinks, settings)
        samples = read_samples(source, settings, settings.progress, choice)
        try:
            classes = describe(samples, classes, [], {}, NOT_PACKED).classes
        except (ConfigError, DataError) as error:  # before any work
            raise DataError(f"{source.path}: {error}") from None
        shaping = settings.shaping()
        how = PackSettings(**vars(settings.part(OutputSettings)), **vars(settings.part(Cluster)))
        parts = [
            pack_samples(
                PackInput(
                    samples.reorder(order),
                    classes,
                    [],
                    shaping,
                    shards=settings.shards,
                    listed=False,
                ),
                how,
                sink,
                settings.progress,
            )
            for order, sink in zip(arrange(samples), sinks, strict=True)
        ]
        results = [publish(part) for part in parts]
    return results[0] if len(results) == 1 else replace(results[0], parts=results)


def _choice(
    source: RecordSource, settings: RewriteSettings, chosen: ClassMap | None
) -> tuple[Choice | None, Sequence[str]]:
    """What the filter keeps, and the names of the classes."""
    manifest = source.manifest
    classes: Sequence[str] = () if manifest is None else manifest.classes
    if not isinstance(settings, FilterSettings):
        return None, classes
    ids = None
    if chosen is not None:
        new = chosen.ids()
        told = ", ".join(classes) or "numbers, because no manifest names them"
        classes = classes or [str(number) for number in range(MAX_CLASSES)]
        if unknown := sorted(new.keys() - set(classes)):
            raise DataError(
                f"{source.path}: there is no class {', '.join(unknown)}; its classes are {told}"
                f"{did_you_mean(unknown[0], classes)}"
            )
        ids = np.array([new.get(name, -1) for name in classes], np.int64)
        classes = chosen.names
    background = settings.negatives == "keep"
    return Choice(ids, settings.min_box, background), classes
