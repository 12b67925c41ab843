"""``recpack convert``: a data set → scan → plan → segments → sink → manifest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from recpack.errors import ConfigError
from recpack.options import ConvertOptions
from recpack.pipeline.output import output_format
from recpack.pipeline.prepare import begin_scan
from recpack.settings import takes
from recpack.storage.trees.open import Root
from recpack.workers.settings import FORK

if TYPE_CHECKING:
    from recpack.packing.result import Result
    from recpack.sinks.base import Sink


@takes(ConvertOptions)
def convert(devkit: Root, output: str | os.PathLike[str] | Sink, options: ConvertOptions) -> Result:
    """Convert a data set into a ``.rec`` with its ``.idx``, ``.lst`` and manifest.

    ``devkit`` is a Pascal VOC devkit: a folder, or one or several tar or zip archives (recpack
    reads them without unpacking), on a disk or on S3. It also reads COCO, YOLO, SageMaker's
    formats, a folder of images for each class, and tables; see ``recpack.sources.open``. A folder
    for each identity of faces, ``source_format`` ``identities``, becomes InsightFace's layout.

    ``output`` is a path that ends in ``.rec`` (the other files go beside it) or a sink; a name that
    ends in ``.manifest``, ``.jsonl`` or ``/`` selects SageMaker's other formats. The keywords are
    the command line's options; see ``recpack.Options``. ``progress`` is called with a ``Progress``
    during the work; True draws a bar. ``split`` (``0.8/0.2``) writes two or three outputs,
    ``x_train.rec``, ``x_val.rec`` (and ``x_test.rec``) for ``x.rec``, published one by one when all
    are packed. ``dry_run`` scans and returns the result, but writes nothing; it fails where a local
    output exists.

    The bytes depend on the input and the options alone, never on ``jobs``, ``backend`` or
    ``segment_size``. Peak memory is ``jobs × segment_size``, plus less than 300 bytes per image.

    Raises ConfigError for wrong options, DataError when the data is at fault (its ``problems``
    lists everything; nothing is written), SinkError when the output can't be written.
    """
    if isinstance(output, (str, os.PathLike)):
        kind = options.output_format or output_format(os.fspath(output))
        if kind != "rec":
            from recpack.pipeline.export import export  # slow to import

            return export(devkit, os.fspath(output), kind, options)
    if options.images_url is not None:
        raise ConfigError("images_url: only for an augmented manifest; name the output x.manifest")
    if options.dry_run:
        from recpack.pipeline.second_pass import demand_free, describe_output

        demand_free(output, options)
        with begin_scan(devkit, options) as scanning:
            return describe_output(scanning, output, options)
    # forked workers read while this process imports the second pass and checks the output; joblib's
    # workers print errors if they are stopped during their start, so check the output first
    if options.backend == FORK:
        with begin_scan(devkit, options) as scanning:
            from recpack.pipeline.second_pass import open_sinks, pack_parts

            with open_sinks(output, options) as sinks:
                return pack_parts(scanning, sinks, options)
    from recpack.pipeline.second_pass import open_sinks, pack_parts

    with (
        open_sinks(output, options) as sinks,
        begin_scan(devkit, options, sinks) as scanning,
    ):
        return pack_parts(scanning, sinks, options)
