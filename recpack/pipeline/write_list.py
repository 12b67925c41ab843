"""``recpack list``: write only the rows of a data set."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from recpack.data.samples import Samples
from recpack.formats.lst import CheckedLines, format_rows
from recpack.options import ListOptions
from recpack.packing.table import Span, Table, samples_of
from recpack.pipeline.prepare import begin_scan, demand_samples
from recpack.settings import takes
from recpack.storage.paths import PathOrUrl, demand_free, write_text
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.open import Root
from recpack.workers.backends import worker_count
from recpack.workers.run import run

if TYPE_CHECKING:
    from recpack.packing.result import Result

_ROWS = 2048
"""Rows per task."""


@takes(ListOptions)
def write_list(devkit: Root, output: PathOrUrl, options: ListOptions) -> Result:
    """Write only a devkit's ``.lst``, as ``convert`` would, to a path or ``s3://…``.

    The keywords are the command line's options. The result's manifest names no ``.rec``. Raises as
    ``convert`` does.
    """
    s3 = S3Client.of(options)
    if not (options.dry_run and is_s3(output)):  # a dry run asks no store
        demand_free(output, s3, overwrite=options.overwrite)
    with begin_scan(devkit, options) as scanning:
        # imported while the workers read
        from recpack.formats.manifest import NOT_PACKED
        from recpack.pipeline.describe import result_of
        from recpack.scanning.order import random_order

        scan = demand_samples(scanning.finish(options.watch), options)
        samples = scan.samples.reorder(random_order(len(scan.samples), options.shuffle))
        with closing(_format(samples, options)) as blocks:
            rows = CheckedLines(blocks)
            if options.dry_run:
                deque(rows, maxlen=0)
            else:
                write_text(output, rows, s3)
    return result_of(scan, options.shaping(), NOT_PACKED, rows.crc32)


def _format(samples: Samples, options: ListOptions) -> Generator[str, None, None]:
    """The rows, formatted by the workers."""
    starts = range(0, len(samples), _ROWS)
    workers = worker_count(options.jobs, len(starts), options.backend)
    table = Table(samples, options.backend, workers)
    tasks = (table.part(start, min(start + _ROWS, len(samples))) for start in starts)
    work = partial(_format_part, precision=options.precision)
    return run(work, tasks, len(starts), jobs=options.jobs, backend=options.backend)


def _format_part(part: Samples | Span, precision: int | None) -> str:
    return "".join(format_rows(samples_of(part), precision))
