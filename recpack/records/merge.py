"""Several ``.rec`` files → one; images stay unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import numpy as np

from recpack.columns import Float32, Int64
from recpack.data.labels import detection_widths, is_multi_hot
from recpack.errors import ConfigError, DataError, RecordError
from recpack.formats.insightface import identity_keys
from recpack.formats.manifest import Manifest
from recpack.formats.record import Record
from recpack.progress import Progress
from recpack.records.merge_faces import MergedFaces
from recpack.records.reader import RecordReader
from recpack.records.settings import MergeSettings
from recpack.records.writer import RecordWriter
from recpack.settings import takes
from recpack.sinks.open import open_sink
from recpack.storage.paths import PathOrUrl, demand_other
from recpack.storage.s3.access import Access
from recpack.storage.s3.client import S3Client

_FACES = "InsightFace's tables"


@takes(MergeSettings)
def merge(output: PathOrUrl, inputs: Sequence[PathOrUrl], settings: MergeSettings) -> Manifest:
    """Write the records of all ``inputs``, in this order, into one ``.rec`` with its ``.idx`` and
    manifest; each can be a path or ``s3://…``, and one can be a set of shards.

    Records get new ids from 0. The classes are those of the first manifest, then the additional
    ones of the others; labels get the new class ids, and vectors of 0 and 1 a column for each
    class. Images stay unchanged. The identities of InsightFace's files are numbered one file after
    the other, with one set of tables, and one ``property`` if each file has one. Raises DataError
    when some inputs have a manifest and others have none, because the meaning of their class ids is
    then unknown, and for inputs of different kinds of labels.
    """
    demand_other(output, inputs)
    with ExitStack() as stack:
        readers = [
            stack.enter_context(RecordReader(path, mapped=False, **vars(settings.part(Access))))
            for path in inputs
        ]
        if not readers or (len(readers) == 1 and readers[0].paths == (readers[0].path,)):
            raise ConfigError(f"inputs: must be at least 2 (got {len(inputs)}), or a set of shards")
        manifests = [reader.manifest() for reader in readers]
        present = [manifest for manifest in manifests if manifest is not None]
        if present and len(present) < len(inputs):
            without = inputs[manifests.index(None)]
            raise DataError(
                f"{without}: it has no manifest, but other inputs have one; the meaning of its "
                "class ids is unknown"
            )
        kind = _one_kind(readers)
        sink = open_sink(output, settings)
        if kind == _FACES:
            faces = MergedFaces.of(readers, present, S3Client.of(settings))
            sink.extra = tuple(faces.companions)
            writer = stack.enter_context(RecordWriter(sink, classes=faces.names))
            writer.companions |= faces.companions
            records = faces.records(readers)
        else:
            classes = tuple(dict.fromkeys(name for one in present for name in one.classes))
            writer = stack.enter_context(RecordWriter(sink, classes=classes))
            records = _records(readers, manifests, classes)
        total = sum(manifest.num_samples for manifest in present)
        for path, record, label in records:
            try:
                done = writer.write(record.image_bytes, label=label) + 1
            except RecordError as error:
                where = f"{path}: record at byte {record.offset}"
                raise RecordError(f"{where}: {error}", record.offset) from None
            if kind == _FACES and not record.is_image:
                writer.tables.append(done - 1)
            if settings.progress is not None and done % 256 == 0:
                settings.progress(Progress("merge", done, max(total, done)))
    assert writer.manifest is not None
    return writer.manifest


def _one_kind(readers: Sequence[RecordReader]) -> str:
    """The kind of all inputs, by the first label of each."""
    kinds = []
    for reader in readers:
        first = next(iter(reader), None)
        kind = "nothing"
        if first is not None:
            several = "a class" if len(first.label) == 1 else "several numbers and no boxes"
            kind = "boxes" if first.kind == "boxes" else several
            kind = _FACES if identity_keys(first) is not None else kind
        kinds.append(kind)
    known = [kind for kind in kinds if kind != "nothing"]
    for reader, kind in zip(readers, kinds, strict=True):
        if kind not in ("nothing", known[0]):
            other = readers[kinds.index(known[0])].path
            raise DataError(
                f"{reader.path}: its first record has {kind}, that of {other} {known[0]}; readers "
                "take one kind of label, so merge files of one kind"
            )
    return known[0] if known else "nothing"


def _records(
    readers: Sequence[RecordReader], manifests: Sequence[Manifest | None], classes: Sequence[str]
) -> Iterator[tuple[str, Record, Float32]]:
    """The records of all inputs, with their labels for these classes."""
    numbers = {name: number for number, name in enumerate(classes)}
    width = 0
    for reader, manifest in zip(readers, manifests, strict=True):
        ids = np.array([numbers[name] for name in manifest.classes] if manifest else [], np.int64)
        same = np.array_equal(ids, np.arange(len(ids)))
        for record in reader:
            label = record.label
            vector = len(label) > 1 and record.kind in ("classes", "numbers")
            if vector and manifest is not None and len(ids) < len(classes):
                label = _widen(label, ids, len(classes), reader.path)
            elif record.is_image and not same:
                label = _replace_ids(label, ids, reader.path, vector=vector)
            if vector and len(label) != (width := width or len(label)):
                raise DataError(
                    f"{reader.path}: record at byte {record.offset}: its label has {len(label)} "
                    f"numbers, that of the first record {width}; readers take one number for all"
                )
            yield reader.path, record, label


def _widen(label: Float32, ids: Int64, count: int, path: str) -> Float32:
    """A vector of 0 and 1 with a column for each of ``count`` classes."""
    if len(label) != len(ids) or not is_multi_hot(label):
        raise DataError(
            f"{path}: its labels are not a 0 or 1 for each of its {len(ids)} classes, so names "
            "can't say where they belong; give all inputs the same classes"
        )
    wide = np.zeros(count, np.float32)
    wide[ids] = label
    return wide


def _replace_ids(label: Float32, ids: Int64, path: str, *, vector: bool) -> Float32:
    """The label with ``ids[class id]`` instead of each class id."""
    if vector:
        return _widen(label, ids, len(ids), path)
    widths = detection_widths(label)
    positions = slice(0, 1) if widths is None else slice(widths[0], None, widths[1])
    label = label.copy()
    old = label[positions]
    real = old >= 0
    if (old != np.floor(old)).any() or (old[real] >= len(ids)).any():
        raise DataError(f"{path}: class id {old.max():g} is not in its manifest of {len(ids)}")
    old[real] = ids[old[real].astype(np.int64)]
    return label
