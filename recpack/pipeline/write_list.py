"""``recpack list``: only the rows of a data set."""

from __future__ import annotations

from collections import deque

import numpy as np

from recpack.formats.lst import CheckedLines, format_rows
from recpack.formats.manifest import RecFile
from recpack.options import ListOptions
from recpack.packing.publish import Result
from recpack.pipeline.prepare import result_of, scan_source
from recpack.scanning.order import shuffled
from recpack.settings import takes
from recpack.storage.paths import PathOrUrl, demand_free, write_text
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.open import Root


@takes(ListOptions)
def write_list(devkit: Root, output: PathOrUrl, options: ListOptions) -> Result:
    """Only the rows: a devkit's ``.lst``, the one that ``convert`` would write, to a path or
    ``s3://…``.

    The keywords are the command line's options. Nothing is packed, so the result's manifest names
    no ``.rec``. Raises as ``convert`` does.
    """
    s3 = S3Client.of(options)
    if not options.dry_run:
        demand_free(output, s3, overwrite=options.overwrite)
    found = scan_source(devkit, options)
    samples = found.samples.shuffled(shuffled(np.arange(len(found.samples)), options.shuffle))
    rows = CheckedLines(format_rows(samples, options.precision))
    if options.dry_run:
        deque(rows, maxlen=0)
    else:
        write_text(output, rows, s3)
    rec: RecFile = {"name": None, "bytes": None, "checksum": None}
    return result_of(found, options.shaping(), rec, rows.crc32)
