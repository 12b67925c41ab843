"""``recpack pack``: an existing list and its image root → ``.rec``."""

from __future__ import annotations

import os
from pathlib import Path

from recpack.data.labels import detection_labels, doubtful_rows
from recpack.errors import ConfigError
from recpack.formats.lst import CheckedLines, PlainText, format_rows
from recpack.formats.manifest import describe
from recpack.options import PackOptions
from recpack.packing.input import PackInput
from recpack.packing.publish import Result, publish
from recpack.packing.run import pack_samples
from recpack.pipeline.prepare import refuse
from recpack.pipeline.reach import prove_reach
from recpack.problems import Problem
from recpack.scanning.measure import Measuring
from recpack.scanning.run import acted
from recpack.settings import takes
from recpack.sinks.base import Sink
from recpack.sinks.open import open_sink
from recpack.sources.lst import open_list
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import LIST
from recpack.storage.trees.open import Root, open_tree
from recpack.workers.cluster import connect


@takes(PackOptions)
def pack(
    rows: str | os.PathLike[str],
    root: Root,
    output: str | os.PathLike[str] | Sink,
    options: PackOptions,
) -> Result:
    """An existing ``.lst`` and its image root → ``.rec``: byte for byte what im2rec does.

    ``root`` can be ``s3://…``, and a tar or a zip. Rows keep their order, indices and labels, and
    images pass through unless the options change all of them. ``classes`` names the classes in
    the manifest; without it their names are their ids. Where ``on_error`` skips images, the
    remaining rows get new numbers. Raises as ``convert`` does, and ListError for a broken list.
    """
    path = Path(rows)
    tree = open_tree(root, S3Client.of(options), follow_links=options.follow_links)
    names = options.class_names()
    own = isinstance(output, (str, os.PathLike)) and _same_file(path, Path(output))
    with (
        open_list(path) as file,
        connect(options),
        open_sink(output, options, spare=(LIST,) if own else ()) as sink,
    ):
        prove_reach(tree, [sink], options)
        with Measuring(file, tree, options) as measuring:
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
        describe(kept, names, [], {}, {"name": None, "bytes": None, "checksum": None})
        as_it_is = PlainText(file.again(), file.crc32)
        # the sink does not write its own list, but the manifest needs its checksum
        lines = as_it_is if own or not settled else CheckedLines(format_rows(kept))
        source = PackInput(kept, names, problems, lines, options.shaping())
        if len(kept) < len(samples):
            source = source.without([], options)
        return publish(pack_samples(source, options, sink, options.progress))


def _same_file(rows: Path, output: Path) -> bool:
    beside = output.with_suffix(LIST)
    return beside.exists() and rows.samefile(beside)
