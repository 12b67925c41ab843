"""The steps of ``convert`` after the scan: order, pack, publish."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from recpack.columns import Int64
from recpack.errors import ConfigError
from recpack.formats.manifest import RecFile
from recpack.options import FACES, ConvertOptions, Options
from recpack.packing.input import PackInput
from recpack.packing.plan import expected_lengths, shard_bounds
from recpack.packing.publish import publish
from recpack.packing.result import Result
from recpack.packing.run import pack_samples
from recpack.pipeline.describe import result_of
from recpack.pipeline.faces import face_samples
from recpack.pipeline.prepare import demand_samples
from recpack.problem_list import Problems
from recpack.problems import Problem
from recpack.scanning.order import orders
from recpack.scanning.run import Scanning, ScanResult
from recpack.scanning.settings import PARTS, parse_fractions
from recpack.sinks.base import Destination, Sink
from recpack.sinks.open import open_destination
from recpack.storage.s3.location import PROPERTY, is_s3
from recpack.storage.shards import shard_names

Output = str | os.PathLike[str] | Sink


@contextmanager
def open_sinks(output: Output, options: Options) -> Iterator[list[Destination]]:
    """One sink, or one for each part of a split; entered."""
    with ExitStack() as stack:
        yield [stack.enter_context(sink) for sink in _sinks(output, options)]


def _sinks(output: Output, options: Options) -> list[Destination]:
    if options.split is None:
        sink = open_destination(output, options, options.shards)
        if options.source_format == FACES:  # which is never split
            sink.extra = (PROPERTY,)
        return [sink]
    if isinstance(output, Sink):
        raise ConfigError("split: needs a path to name its outputs, not a sink")
    names = PARTS[: len(parse_fractions(options.split))]
    paths = [part_path(output, name) for name in names]
    return [open_destination(path, options, options.shards) for path in paths]


def part_path(output: str | os.PathLike[str], name: str) -> str:
    """The path of a part: ``x.rec`` → ``x_train.rec``, on S3 ``train/x_train.rec``, because a
    channel's prefix must not contain another channel's ``.rec``."""
    folder, file = os.path.split(os.fspath(output))
    stem, suffix = os.path.splitext(file)
    return os.path.join(folder, name if is_s3(output) else "", f"{stem}_{name}{suffix}")


def pack_parts(scanning: Scanning, sinks: list[Destination], options: ConvertOptions) -> Result:
    """Pack the samples of the scan into the sinks, and publish all together."""
    scan = demand_samples(scanning.finish(options.watch), options)
    chosen = orders(scan.samples, options)
    problems = _split_problems(scan, chosen)
    parts = [
        pack_samples(_pack_input(scan, order, found, options), options, sink, options.watch)
        for order, found, sink in zip(chosen, problems, sinks, strict=True)
    ]
    results = [publish(part) for part in parts]
    if len(results) == 1:
        return results[0]
    every = Problems(problem for result in results for problem in result.problems)
    return replace(results[0], problems=every, parts=results)


def _split_problems(scan: ScanResult, parts: Sequence[Int64]) -> list[list[Problem]]:
    """The problems of each part's images. Those of images in no part (they were left out) are with
    the first, so that each counts once."""
    if len(parts) == 1:
        return [scan.problems]
    images = set(scan.images.values())
    paths = scan.samples.paths
    part_of = {
        path: number
        for number, rows in enumerate(parts)
        for row in rows.tolist()
        if (path := paths[row]) in images
    }
    split: list[list[Problem]] = [[] for _ in parts]
    for problem in scan.problems:
        split[part_of.get(scan.images.get(problem.file, ""), 0)].append(problem)
    return split


def _pack_input(
    scan: ScanResult, order: Int64, problems: list[Problem], options: Options
) -> PackInput:
    if options.source_format == FACES:
        samples, stated = face_samples(scan, options)
    else:
        samples, stated = scan.samples.reorder(order), None
    names, shaping = scan.classes.names, options.shaping()
    return PackInput(
        samples, names, problems, shaping, precision=options.precision, scope=scan.scope,
        property=stated, shards=options.shards,
    )  # fmt: skip


def demand_free(output: Output, options: Options) -> None:
    """Raise ConfigError and SinkError as ``open_sinks``, but no store is asked."""
    for sink in _sinks(output, options):
        sink.demand_free()


def describe_output(scanning: Scanning, output: Output, options: ConvertOptions) -> Result:
    """The result that ``pack_parts`` would return, without packing."""
    scan = demand_samples(scanning.finish(options.watch), options)
    faces = options.source_format == FACES
    samples = face_samples(scan, options)[0] if faces else scan.samples
    size = None if options.changes_images else int(expected_lengths(samples).sum())
    name = output.name if isinstance(output, Sink) else Path(output).name
    rec = RecFile(name, size, None)
    result = result_of(scan, options.shaping(), rec)
    if options.shards is None or options.split is not None:
        return result
    shard_bounds(len(scan.samples), options.shards)
    names = shard_names(name, options.shards)
    shards = tuple(RecFile(one, None, None) for one in names)
    return replace(result, manifest=replace(result.manifest, shards=shards))
