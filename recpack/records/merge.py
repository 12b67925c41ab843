"""Several ``.rec`` files → one; images stay unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from recpack.columns import Float32
from recpack.data.labels import detection_widths
from recpack.errors import ConfigError, DataError, RecordError
from recpack.formats.manifest import Manifest
from recpack.progress import Progress
from recpack.records.reader import RecordReader
from recpack.records.settings import MergeSettings
from recpack.records.writer import RecordWriter
from recpack.settings import takes
from recpack.sinks.open import open_sink
from recpack.storage.paths import PathOrUrl, demand_other
from recpack.storage.s3.access import Access


@takes(MergeSettings)
def merge(output: PathOrUrl, inputs: Sequence[PathOrUrl], settings: MergeSettings) -> Manifest:
    """Write the records of all ``inputs``, in this order, into one ``.rec`` with its ``.idx`` and
    manifest; each can be a path or ``s3://…``.

    Records get new ids from 0. The classes are those of the first manifest, then the additional
    ones of the others; labels get the new class ids. Images stay unchanged. Raises DataError when
    some inputs have a manifest and others have none, because the meaning of their class ids is then
    unknown.
    """
    if len(inputs) < 2:
        raise ConfigError(f"inputs: must be at least 2 (got {len(inputs)})")
    demand_other(output, inputs)
    with ExitStack() as stack:
        readers = [
            stack.enter_context(RecordReader(path, mapped=False, **vars(settings.part(Access))))
            for path in inputs
        ]
        manifests = [reader.manifest() for reader in readers]
        present = [manifest for manifest in manifests if manifest is not None]
        if present and len(present) < len(inputs):
            without = inputs[manifests.index(None)]
            raise DataError(
                f"{without}: it has no manifest, but other inputs have one; the meaning of its "
                "class ids is unknown"
            )
        classes = tuple(dict.fromkeys(name for manifest in present for name in manifest.classes))
        numbers = {name: number for number, name in enumerate(classes)}
        total = sum(manifest.num_samples for manifest in present)
        sink = open_sink(output, settings)
        writer = stack.enter_context(RecordWriter(sink, classes=classes))
        for reader, manifest in zip(readers, manifests, strict=True):
            ids = np.array([numbers[name] for name in manifest.classes] if manifest else [])
            same = np.array_equal(ids, np.arange(len(ids)))
            for record in reader:
                label = record.label if same else _replace_ids(record.label, ids, reader.path)
                try:
                    done = writer.write(record.image_bytes, label=label) + 1
                except RecordError as error:
                    where = f"{reader.path}: record at byte {record.offset}"
                    raise RecordError(f"{where}: {error}", record.offset) from None
                if settings.progress is not None and done % 256 == 0:
                    settings.progress(Progress("merge", done, max(total, done)))
    assert writer.manifest is not None
    return writer.manifest


def _replace_ids(label: Float32, ids: np.typing.NDArray[np.int64], path: str) -> Float32:
    """The label with ``ids[class id]`` instead of each class id."""
    widths = detection_widths(label)
    positions = slice(0, 1) if widths is None else slice(widths[0], None, widths[1])
    label = label.copy()
    old = label[positions]
    real = old >= 0
    if (old != np.floor(old)).any() or (old[real] >= len(ids)).any():
        raise DataError(f"{path}: class id {old.max():g} is not in its manifest of {len(ids)}")
    old[real] = ids[old[real].astype(np.int64)]
    return label
