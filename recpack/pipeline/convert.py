"""``recpack convert``: a data set → scan → plan → segments → sink → manifest."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from recpack.columns import Int64
from recpack.errors import ConfigError
from recpack.formats.lst import CheckedLines, format_rows
from recpack.formats.manifest import RecFile
from recpack.options import ConvertOptions, Options
from recpack.packing.input import PackInput
from recpack.packing.plan import expected_lengths
from recpack.packing.publish import Result, publish
from recpack.packing.run import pack_samples
from recpack.pipeline.output import output_format
from recpack.pipeline.prepare import demand_samples, open_source, result_of, scan_source
from recpack.pipeline.reach import prove_reach
from recpack.scanning.order import orders
from recpack.scanning.run import Scanning, ScanResult
from recpack.scanning.settings import PARTS, parse_fractions
from recpack.settings import takes
from recpack.sinks.base import Sink
from recpack.sinks.open import open_sink
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.open import Root
from recpack.workers.cluster import connect
from recpack.workers.settings import FORK

Output = str | os.PathLike[str] | Sink


@takes(ConvertOptions)
def convert(devkit: Root, output: Output, options: ConvertOptions) -> Result:
    """Convert a data set into a ``.rec`` with its ``.idx``, ``.lst`` and manifest.

    ``devkit`` is a Pascal VOC devkit: a folder, or one or several tar archives (which are read as
    they are: nothing is unpacked), on a disk or on S3. COCO, YOLO and SageMaker's formats are taken
    too; see ``recpack.sources.open``.

    ``output`` is a path that ends in ``.rec`` (the others stand beside it) or a sink; a name that
    ends in ``.manifest``, ``.jsonl`` or ``/`` asks for SageMaker's other formats. The keywords are
    the command line's options; see ``recpack.Options``. ``progress`` is called with a ``Progress``
    as images are done. ``split`` (``0.8/0.2``) writes two or three outputs, ``x_train.rec``,
    ``x_val.rec`` (and ``x_test.rec``) for ``x.rec``, published together. ``dry_run`` scans, judges
    and describes, and writes nothing.

    The bytes depend on the input and the options alone, never on ``jobs``, ``backend`` or
    ``segment_size``. Peak memory is ``jobs × segment_size`` and less than 300 bytes an image.

    Raises ConfigError for wrong options, DataError when the data is at fault (its ``problems``
    lists everything, and nothing was written), SinkError when the output can't be written.
    """
    if not isinstance(output, Sink):
        kind = options.output_format or output_format(os.fspath(output))
        if kind != "rec":
            from recpack.pipeline.export import export  # its formats take their time to import

            return export(devkit, os.fspath(output), kind, options)
    if options.images_url is not None:
        raise ConfigError("images_url: only for an augmented manifest; name the output x.manifest")
    if options.dry_run:
        return _describe(devkit, output, options)
    with ExitStack() as stack:
        stack.enter_context(connect(options))
        sinks = _sinks(output, options)
        # forked workers read while we find out whether we can write; those of joblib complain when
        # they are stopped at their start
        early = options.backend == FORK
        for sink in () if early else sinks:
            stack.enter_context(sink)
        dataset = open_source(devkit, options)
        prove_reach(dataset.root, sinks, options)
        scanning = stack.enter_context(Scanning(dataset, options))
        for sink in sinks if early else ():
            stack.enter_context(sink)
        found = demand_samples(scanning.finish(options.progress), options)
        packed = [
            pack_samples(_pack_input(found, order, options), options, sink, options.progress)
            for order, sink in zip(orders(found.samples, options), sinks, strict=True)
        ]
        results = [publish(part) for part in packed]
    return results[0] if len(results) == 1 else replace(results[0], parts=results)


def _describe(devkit: Root, output: Output, options: ConvertOptions) -> Result:
    """What would be written."""
    found = scan_source(devkit, options)
    size = None if options.changes_images else int(expected_lengths(found.samples).sum())
    name = output.name if isinstance(output, Sink) else Path(output).name
    rec: RecFile = {"name": name, "bytes": size, "checksum": None}
    return result_of(found, options.shaping(), rec)


def _pack_input(scan: ScanResult, order: Int64, options: Options) -> PackInput:
    samples = scan.samples.shuffled(order)
    rows = CheckedLines(format_rows(samples, options.precision))
    names, shaping = scan.classes.names, options.shaping()
    return PackInput(samples, names, scan.problems, rows, shaping, options.precision)


def _sinks(output: Output, options: Options) -> list[Sink]:
    """A sink for each part of a split, or the one."""
    if options.split is None:
        return [open_sink(output, options)]
    if isinstance(output, Sink):
        raise ConfigError("split: its outputs are named after a path; give one, not a sink")
    names = PARTS[: len(parse_fractions(options.split))]
    return [open_sink(part_path(output, name), options) for name in names]


def part_path(output: str | os.PathLike[str], name: str) -> str:
    """Where a part of a split goes: ``x.rec`` → ``x_train.rec``, and on S3 ``train/x_train.rec``,
    because a channel's prefix must not hold another channel's ``.rec``."""
    folder, file = os.path.split(os.fspath(output))
    stem, suffix = os.path.splitext(file)
    return os.path.join(folder, name if is_s3(output) else "", f"{stem}_{name}{suffix}")
