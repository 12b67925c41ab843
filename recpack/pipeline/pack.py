"""``recpack pack``: an existing list and its image root → ``.rec``."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from recpack.data.labels import detection_widths, doubtful_rows
from recpack.errors import ConfigError
from recpack.formats.lst import CheckedLines, format_rows
from recpack.formats.manifest import describe
from recpack.options import PackOptions
from recpack.packing.input import PackInput
from recpack.packing.publish import Result, publish
from recpack.packing.run import pack_samples
from recpack.pipeline.prepare import refuse
from recpack.pipeline.reach import prove_reach
from recpack.problems import Problem
from recpack.scanning.measure import measure
from recpack.scanning.run import acted
from recpack.settings import takes
from recpack.sinks.base import Sink
from recpack.sinks.open import open_sink
from recpack.sources.lst import read_list
from recpack.storage.files import text_lines
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import LIST
from recpack.storage.trees.open import Root
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
    s3 = S3Client.of(options)
    samples, settled, found = read_list(path, root, s3, follow_links=options.follow_links)
    if options.center_crop and any(detection_widths(sample.label) for sample in samples):
        raise ConfigError("center_crop: recpack pack can't crop boxes; use recpack convert")
    names = options.class_names()
    own = isinstance(output, (str, os.PathLike)) and _same_file(path, Path(output))
    with connect(options), open_sink(output, options, spare=(LIST,) if own else ()) as sink:
        prove_reach(samples.root, [sink], options)
        kept, problems = measure(samples, options)
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
        moved = settled and not own
        lines = CheckedLines(format_rows(kept) if moved else text_lines(path, "utf-8"))
        if own:  # the sink does not write the list, but the manifest needs its checksum
            deque(lines, maxlen=0)
        source = PackInput(kept, names, problems, options.shaping(), lines)
        if len(kept) < len(samples):
            source = source.without([], options)
        return publish(pack_samples(source, options, sink, options.progress))


def _same_file(rows: Path, output: Path) -> bool:
    beside = output.with_suffix(LIST)
    return beside.exists() and rows.samefile(beside)
