"""The contents of a ``.rec``: counts, labels, classes, image kinds, sizes; without MXNet."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from recpack.columns import Float32, Int64
from recpack.data.labels import is_multi_hot
from recpack.data.statistics import BOX_SIDES, OBJECTS, Spread, histogram
from recpack.errors import ImageError
from recpack.formats.image_header import ImageHeader, parse_header
from recpack.formats.insightface import Property, identity_keys, property_beside
from recpack.formats.manifest import Manifest
from recpack.formats.record import Record
from recpack.progress import Progress
from recpack.records.reader import RecordReader
from recpack.records.settings import InspectSettings
from recpack.settings import takes
from recpack.storage.paths import PathOrUrl, base_name
from recpack.storage.s3.access import Access
from recpack.storage.s3.client import S3Client


@dataclass(frozen=True)
class Faces:
    """The numbers of ``identities`` and ``images`` by the meta record, and the file ``property``;
    None when there is none."""

    identities: int
    images: int
    property: Property | None


@dataclass(frozen=True)
class Inspection:
    """The numbers of a ``.rec``, from its own bytes.

    Spreads: ``label_widths`` (floats per label vector), ``objects`` (per record), ``image_bytes``,
    ``image_widths`` and ``image_heights`` (pixels). ``label_kinds`` counts records by
    ``Record.kind``: ``boxes``, ``class``, ``classes``, ``numbers``, ``table`` (no image; only
    ``records``, ``label_widths`` and ``image_bytes`` count them too); ``scalar_labels``: those with
    an image and without boxes, ``tables``: without an image. ``classes`` counts objects by class
    name, or by id without a manifest; ``class_images`` likewise images by their class or, where
    all vectors have one width and hold 0 and 1 only, by column (a name where the manifest has one
    for each). ``faces``: what the tables of InsightFace say.
    ``objects_per_record`` and ``box_sides`` (the square root of the area, in pixels) are
    histograms. ``kinds`` counts images by kind (``jpeg``, ``png``, …, ``unreadable``).
    """

    name: str
    bytes: int
    records: int
    objects_total: int
    scalar_labels: int
    tables: int
    label_widths: Spread
    objects: Spread
    image_bytes: Spread
    image_widths: Spread
    image_heights: Spread
    kinds: dict[str, int]
    classes: dict[str, int]
    objects_per_record: dict[str, int]
    box_sides: dict[str, int]
    manifest: Manifest | None
    label_kinds: dict[str, int]
    class_images: dict[str, int]
    faces: Faces | None

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return asdict(self)


def image_header(record: Record) -> ImageHeader | None:
    """The header of a record's image; None for an unknown kind."""
    try:
        return parse_header(record.image_bytes)
    except ImageError:
        return None


def class_name(id_: float, manifest: Manifest | None) -> str:
    """The class's name in the manifest, else the number in the label."""
    if manifest is not None and 0 <= id_ < len(manifest.classes) and id_ == int(id_):
        return manifest.classes[int(id_)]
    return f"{id_:.9g}"


def label_text(record: Record) -> str:
    """The first numbers of its label."""
    return " ".join(f"{value:g}" for value in record.label[:9].tolist())


@takes(InspectSettings)
def inspect(path: PathOrUrl, settings: InspectSettings) -> Inspection:
    """Read a ``.rec`` once, by path or ``s3://…``. Raises RecordError, with the byte offset, for a
    broken file."""
    widths, objects, sizes, pixels = array("q"), array("q"), array("q"), array("q")
    sides = array("f")
    kinds: Counter[str] = Counter()
    ids: Counter[float] = Counter()
    labels: Counter[str] = Counter()
    images_of: Counter[float] = Counter()
    hot: dict[int, Int64 | None] = {}
    faces = None
    with RecordReader(path, mapped=False, **vars(settings.part(Access))) as records:
        manifest = records.manifest()
        for record in records:
            widths.append(len(record.label))
            sizes.append(len(record.image_bytes))
            if not record.is_image:
                keys = identity_keys(record) if len(widths) == 1 else None
                if keys is not None:
                    stated = property_beside(path, S3Client.of(settings))
                    faces = Faces(len(keys), keys.start - 1, stated)
                labels[record.kind] += 1
                continue
            header = image_header(record)
            kinds[header.kind if header else "unreadable"] += 1
            if header:
                pixels.extend((header.width, header.height))
            labels[record.kind] += 1
            if record.kind == "boxes":
                boxes = record.boxes[record.boxes[:, 0] >= 0]
                ids.update(boxes[:, 0].tolist())
                objects.append(len(boxes))
                if header:
                    with np.errstate(invalid="ignore", over="ignore"):
                        area = (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2])
                        area *= header.width * header.height
                    sides.frombytes(np.sqrt(np.maximum(np.nan_to_num(area), 0)).tobytes())
            elif len(record.label) == 1 or faces is not None:
                images_of[float(record.label[0])] += 1
            else:
                _add_vector(record.label, hot)
            if settings.progress is not None and len(widths) % 1024 == 0:
                guess = round(len(widths) * records.size / max(record.offset, 1))
                if manifest is not None and manifest.shards:  # offsets begin again in each
                    guess = max(manifest.num_samples, len(widths))
                settings.progress(Progress("read", len(widths), guess, record.offset))
        size = records.size
    table = np.array(pixels, np.int64).reshape(-1, 2)
    by_class = _named(images_of, manifest)
    if len(hot) == 1 and (columns := next(iter(hot.values()))) is not None:
        known = manifest if manifest and len(manifest.classes) == len(columns) else None
        by_class |= _named(dict(enumerate(columns.tolist())), known)
    return Inspection(
        name=base_name(path),
        bytes=size,
        records=len(widths),
        objects_total=sum(ids.values()),
        scalar_labels=labels["class"] + labels["classes"] + labels["numbers"],
        tables=labels["table"],
        label_widths=Spread.of(widths),
        objects=Spread.of(objects),
        image_bytes=Spread.of(sizes),
        image_widths=Spread.of(table[:, 0]),
        image_heights=Spread.of(table[:, 1]),
        kinds=dict(sorted(kinds.items())),
        classes=_named(ids, manifest),
        objects_per_record=histogram(objects, OBJECTS, whole=True),
        box_sides=histogram(sides, BOX_SIDES),
        manifest=manifest,
        label_kinds=dict(sorted(labels.items())),
        class_images=by_class,
        faces=faces,
    )


def _named(counts: Mapping[float, int], manifest: Manifest | None) -> dict[str, int]:
    return {class_name(id_, manifest): count for id_, count in sorted(counts.items())}


def _add_vector(label: Float32, hot: dict[int, Int64 | None]) -> None:
    """Count the ones in each column of the vectors of each width; None for other numbers."""
    counts = hot.setdefault(len(label), np.zeros(len(label), np.int64))
    if counts is not None and is_multi_hot(label):
        counts += label == 1
    else:
        hot[len(label)] = None
