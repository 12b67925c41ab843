"""``recpack pack``: an existing list and its image root → ``.rec``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from recpack.options import PackOptions
from recpack.scanning.measure import Measuring
from recpack.settings import takes
from recpack.sources.lst import open_list
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.open import Root, open_tree
from recpack.workers.cluster import connect
from recpack.workers.settings import FORK

if TYPE_CHECKING:
    from recpack.packing.result import Result
    from recpack.sinks.base import Sink


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
    tree = open_tree(root, S3Client.of(options), follow_links=options.follow_links)
    with open_list(rows) as file, connect(options):
        if options.backend == FORK:  # see ``convert``
            with Measuring(file, tree, options) as measuring:
                from recpack.pipeline.list_pass import pack_list, sink_beside

                with sink_beside(file, output, options) as (sink, own):
                    return pack_list(measuring, sink, options, own=own)
        from recpack.pipeline.list_pass import pack_list, sink_beside
        from recpack.pipeline.reach import prove_reach

        with sink_beside(file, output, options) as (sink, own):
            prove_reach(tree, [sink], options)
            with Measuring(file, tree, options) as measuring:
                return pack_list(measuring, sink, options, own=own)
