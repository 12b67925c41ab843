"""``recpack detect`` of files that are no data set: a ``.rec`` and a list."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import numpy as np

from recpack.data.labels import class_ids, label_kind
from recpack.errors import DataError
from recpack.formats.lst import RowTable, read_rows
from recpack.formats.manifest import Manifest
from recpack.formats.record import Record
from recpack.options import DetectSettings
from recpack.pipeline.detected import Detected, Typist
from recpack.records.inspect import class_name
from recpack.records.reader import RecordReader
from recpack.sources.lst import naming, open_list
from recpack.sources.recognise import MOST_DOCUMENTS, holds
from recpack.storage.paths import base_name
from recpack.storage.s3.access import Access
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import INDEX, MANIFEST, is_s3
from recpack.storage.trees.base import is_hidden, join
from recpack.storage.trees.open import open_tree

_FEW = 64
"""Records of a file without a manifest that are read."""


def record_path(path: str) -> str | None:
    """The ``.rec`` that a path means: its own, or that of an index or manifest; None for other
    paths."""
    stem, ending = os.path.splitext(path)
    if ending == ".rec":
        return path
    if is_s3(path) or ending not in (INDEX, MANIFEST):
        return None
    rec = stem + ".rec"
    if ending == INDEX:
        return rec if os.path.isfile(rec) else None
    try:
        found = Manifest.read(path)
    except DataError:  # COCO's, or any other
        return None
    return rec if found.rec["name"] == base_name(rec) else None


def detect_records(path: str, settings: DetectSettings) -> Detected:
    """What a ``.rec`` or a set of shards is: by its manifest, else by its index and first
    records."""
    typist, name = Typist([path], settings), base_name(path)
    with RecordReader(path, **vars(settings.part(Access))) as reader:
        manifest = reader.manifest()
        first = [record for record in islice(reader, _FEW) if record.is_image]
        of_all = manifest is not None and manifest.shards != (manifest.rec,)
        index = None if of_all else reader.index()
        shards = len(reader.paths)
    kinds = Counter(record.kind for record in first if record.kind != "table")
    if manifest is not None and of_all:
        classes = Counter(manifest.objects)
        count = examined = manifest.num_samples
    else:
        classes = _classes(first, manifest)
        count, examined = len(index[1]) if index else -1, len(first)
    return Detected(
        path,
        "rec",
        "RecordIO" + (f", a set of {shards:,} shards" if shards > 1 else ""),
        kinds.most_common(1)[0][0] if kinds else None,
        {name: count} if count >= 0 else {},
        classes=dict(+classes),
        examined=examined,
        commands={
            "verify": typist.command("verify"),
            "inspect": typist.command("inspect"),
            "preview": typist.command("preview", typist.output(ending=".png")),
        },
    )


def _classes(records: Sequence[Record], manifest: Manifest | None) -> Counter[str]:
    """The objects of each class, by name."""
    counts = Counter[str]()
    for record in records:
        ids = record.boxes[:, 0] if record.kind == "boxes" else record.label[:1]
        if record.kind in ("boxes", "class"):
            counts.update(class_name(id_, manifest) for id_ in ids.tolist() if id_ >= 0)
    return counts


def detect_list(path: str, typist: Typist, s3: S3Client) -> Detected:
    """What a list is, and where its images are: in its folder, above it, or in a folder beside
    it."""
    table = RowTable()
    with open_list(path) as file, naming(path):
        for block in file.blocks():
            table.append(read_rows(block.lines(), block.number))
        folder = posixpath.dirname(path) or "."
        samples = table.samples(tree := open_tree(folder, s3))
    kind, first = label_kind(samples), samples.paths[0]
    ids = class_ids(samples)[0]
    counts = np.bincount(ids[ids < 1 << 16]).tolist()
    classes = {str(id_): count for id_, count in enumerate(counts) if count}
    inner = [name for name in tree.folders(".") if not is_hidden(name)][:MOST_DOCUMENTS]
    roots = list(dict.fromkeys([folder, *(join(folder, name) for name in inner), "."]))
    root = next((one for one in roots if holds(open_tree(one, s3), first)), None)
    advice = (
        f"{first} is in none of the folders {', '.join(roots)}; give recpack pack the folder that "
        "it is below as ROOT"
    )
    return Detected(
        path,
        "lst",
        "list of images and labels, as im2rec reads it",
        kind,
        {base_name(path): len(samples)},
        classes=classes,
        examined=len(samples),
        fault="" if root else advice,
        commands={"pack": typist.command("pack", root or "ROOT", typist.output())},
    )
