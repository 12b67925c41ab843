"""``recpack list``: write only the rows of a data set."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from recpack.options import ListOptions
from recpack.pipeline.prepare import begin_scan, demand_samples
from recpack.settings import takes
from recpack.storage.paths import PathOrUrl, demand_free, write_text
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.open import Root

if TYPE_CHECKING:
    from recpack.packing.publish import Result


@takes(ListOptions)
def write_list(devkit: Root, output: PathOrUrl, options: ListOptions) -> Result:
    """Write only a devkit's ``.lst``, as ``convert`` would, to a path or ``s3://…``.

    The keywords are the command line's options. The result's manifest names no ``.rec``. Raises as
    ``convert`` does.
    """
    s3 = S3Client.of(options)
    if not options.dry_run:
        demand_free(output, s3, overwrite=options.overwrite)
    with begin_scan(devkit, options) as scanning:
        # imported while the workers read
        from recpack.formats.lst import CheckedLines, format_rows
        from recpack.pipeline.second_pass import NOT_PACKED, result_of
        from recpack.scanning.order import random_order

        scan = demand_samples(scanning.finish(options.progress), options)
    samples = scan.samples.reorder(random_order(len(scan.samples), options.shuffle))
    rows = CheckedLines(format_rows(samples, options.precision))
    if options.dry_run:
        deque(rows, maxlen=0)
    else:
        write_text(output, rows, s3)
    return result_of(scan, options.shaping(), NOT_PACKED, rows.crc32)
