"""The steps of ``pack`` after the list is cut: measure, pack, publish."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recpack.data.labels import detection_labels, doubtful_rows
from recpack.errors import ConfigError
from recpack.formats.lst import PlainText
from recpack.formats.manifest import NOT_PACKED, describe
from recpack.options import PackOptions
from recpack.packing.input import PackInput
from recpack.packing.publish import publish
from recpack.packing.result import Result
from recpack.packing.run import pack_samples
from recpack.pipeline.prepare import refuse
from recpack.pipeline.second_pass import Output
from recpack.problems import Problem
from recpack.scanning.measure import Measuring
from recpack.scanning.run import acted
from recpack.sinks.base import Destination
from recpack.sinks.open import open_destination
from recpack.storage.blocks import TextFile
from recpack.storage.s3.location import LIST


@contextmanager
def sink_beside(
    file: TextFile, output: Output, options: PackOptions
) -> Iterator[tuple[Destination, bool]]:
    """The sink, entered, and whether the list ``file`` is its own: then it does not write one."""
    own = isinstance(output, (str, os.PathLike)) and file.is_at(Path(output).with_suffix(LIST))
    own = own and options.shards is None
    with open_destination(output, options, options.shards, (LIST,) if own else ()) as sink:
        yield sink, own


def pack_list(
    measuring: Measuring, sink: Destination, options: PackOptions, *, own: bool
) -> Result:
    """Pack the samples of the list into the sink, and publish them."""
    names = options.class_names()
    samples, kept, settled, found, problems = measuring.finish()
    if options.center_crop and detection_labels(samples).any():
        raise ConfigError("center_crop: recpack pack can't crop boxes; use recpack convert")
    unclear = {problem.file for problem in found if problem.severity == "error"}
    problems = [problem for problem in problems if problem.file not in unclear]
    problems += acted(found, options)
    problems += [
        Problem(code, "warning", samples.paths[row], "kept", value=value)
        for row, code, value in doubtful_rows(samples)
    ]
    refuse(problems, options, len(samples))
    # a list has its own class ids: refuse those without a name before any work
    describe(kept, names, [], {}, NOT_PACKED)
    # a sink beside its own list does not write it, but the manifest needs its checksum
    as_it_is = own or not settled
    # the shards' lists have other ids
    rows = PlainText(*measuring.text()) if as_it_is and options.shards is None else None
    shards = options.shards
    source = PackInput(kept, names, problems, options.shaping(), rows, shards=shards)
    if len(kept) < len(samples):
        source = source.without([], options)
    return publish(pack_samples(source, options, sink, options.watch))
