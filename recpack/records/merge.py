"""Several ``.rec`` files → one, without touching an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from recpack.columns import Float32
from recpack.data.labels import detection_widths
from recpack.errors import ConfigError, DataError
from recpack.formats.manifest import Manifest, manifest_beside
from recpack.progress import Progress
from recpack.records.reader import RecordReader
from recpack.records.settings import MergeSettings
from recpack.records.writer import RecordWriter
from recpack.settings import takes
from recpack.sinks.open import open_sink
from recpack.storage.paths import PathOrUrl
from recpack.storage.s3.access import Access
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3


@takes(MergeSettings)
def merge(output: PathOrUrl, inputs: Sequence[PathOrUrl], settings: MergeSettings) -> Manifest:
    """Write the records of all ``inputs``, in this order, into one ``.rec`` with its ``.idx`` and
    manifest; each may be a path or ``s3://…``.

    Ids are numbered anew from 0. Classes are those of the first manifest, then what the others
    have besides; where a class has another id than before, the labels follow. Images stay as they
    are. Raises DataError when some inputs have a manifest and others none, because the class ids
    of those mean nothing to the others.
    """
    if len(inputs) < 2:
        raise ConfigError(f"{len(inputs)} input; two or more make one")
    paths = [os.path.realpath(path) for path in (output, *inputs) if not is_s3(path)]
    if paths.count(os.path.realpath(output)) > 1 or output in inputs:
        raise ConfigError(f"{output} is an input too; choose another name")
    s3 = S3Client.of(settings)
    manifests = [manifest_beside(path, s3) for path in inputs]
    known = [manifest for manifest in manifests if manifest is not None]
    if known and len(known) < len(inputs):
        without = inputs[manifests.index(None)]
        raise DataError(
            f"{without}: it has no manifest, and others have: what its class ids mean is not known"
        )
    classes = tuple(dict.fromkeys(name for manifest in known for name in manifest.classes))
    total = sum(manifest.num_samples for manifest in known)
    with ExitStack() as stack:
        readers = [
            stack.enter_context(RecordReader(path, **vars(settings.part(Access))))
            for path in inputs
        ]
        sink = open_sink(output, settings)
        writer = stack.enter_context(RecordWriter(sink, classes=classes))
        for reader, manifest in zip(readers, manifests, strict=True):
            ids = np.array([classes.index(name) for name in manifest.classes] if manifest else [])
            same = np.array_equal(ids, np.arange(len(ids)))
            for record in reader:
                label = record.label if same else _renamed(record.label, ids, reader.path)
                done = writer.write(record.image_bytes, label=label) + 1
                if settings.progress is not None and done % 256 == 0:
                    settings.progress(Progress("merge", done, max(total, done)))
    assert writer.manifest is not None
    return writer.manifest


def _renamed(label: Float32, ids: np.typing.NDArray[np.int64], path: str) -> Float32:
    """The label with ``ids[class id]`` in place of each class id."""
    widths = detection_widths(label)
    places = slice(0, 1) if widths is None else slice(widths[0], None, widths[1])
    label = label.copy()
    old = label[places]
    real = old >= 0
    if (old != np.floor(old)).any() or (old[real] >= len(ids)).any():
        raise DataError(f"{path}: class id {old.max():g} is none of the {len(ids)} in its manifest")
    old[real] = ids[old[real].astype(np.int64)]
    return label
