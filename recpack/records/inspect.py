"""The contents of a ``.rec``: counts, label shape, classes, image kinds, sizes; without MXNet."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import asdict, dataclass

import numpy as np

from recpack.data.labels import detection_widths
from recpack.data.statistics import BOX_SIDES, OBJECTS, Spread, histogram
from recpack.errors import ImageError
from recpack.formats.image_header import ImageHeader, read_header
from recpack.formats.manifest import Manifest
from recpack.formats.recordio import Record
from recpack.progress import Progress
from recpack.records.reader import RecordReader
from recpack.records.settings import InspectSettings
from recpack.settings import takes
from recpack.storage.paths import PathOrUrl, base_name
from recpack.storage.s3.access import Access


@dataclass(frozen=True)
class Inspection:
    """The numbers of a ``.rec``, from its own bytes.

    Spreads: ``label_widths`` (floats per label vector), ``objects`` (per record), ``image_bytes``,
    ``image_widths`` and ``image_heights`` (pixels). ``classes`` counts objects by class name, or
    by id without a manifest; ``scalar_labels`` counts images without a detection label, ``tables``
    records without an image (see ``Record.kind``), which nothing else but ``records``,
    ``label_widths`` and ``image_bytes`` counts.
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

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return asdict(self)


def image_header(record: Record) -> ImageHeader | None:
    """The header of a record's image; None for an unknown kind."""
    data = record.image_bytes
    try:
        return read_header(lambda offset, length: data[offset : offset + length], len(data))
    except ImageError:
        return None


def class_name(id_: float, manifest: Manifest | None) -> str:
    """The class's name in the manifest, else the number in the label."""
    if manifest is not None and 0 <= id_ < len(manifest.classes) and id_ == int(id_):
        return manifest.classes[int(id_)]
    return f"{id_:.9g}"


@takes(InspectSettings)
def inspect(path: PathOrUrl, settings: InspectSettings) -> Inspection:
    """Read a ``.rec`` once, by path or ``s3://…``. Raises RecordError, with the byte offset, for a
    broken file."""
    widths, objects, sizes, pixels = array("q"), array("q"), array("q"), array("q")
    sides = array("f")
    kinds: Counter[str] = Counter()
    ids: Counter[float] = Counter()
    scalar = tables = 0
    with RecordReader(path, mapped=False, **vars(settings.part(Access))) as records:
        manifest = records.manifest()
        for record in records:
            widths.append(len(record.label))
            sizes.append(len(record.image_bytes))
            if record.kind == "table":
                tables += 1
                continue
            header = image_header(record)
            kinds[header.kind if header else "unreadable"] += 1
            if header:
                pixels.extend((header.width, header.height))
            if detection_widths(record.label):
                boxes = record.boxes[record.boxes[:, 0] >= 0]
                ids.update(boxes[:, 0].tolist())
                objects.append(len(boxes))
                if header:
                    with np.errstate(invalid="ignore", over="ignore"):
                        area = (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2])
                        area *= header.width * header.height
                    sides.frombytes(np.sqrt(np.maximum(np.nan_to_num(area), 0)).tobytes())
            else:
                scalar += 1
            if settings.progress is not None and len(widths) % 1024 == 0:
                guess = round(len(widths) * records.size / max(record.offset, 1))
                if manifest is not None and manifest.shards:  # offsets begin again in each
                    guess = max(manifest.num_samples, len(widths))
                settings.progress(Progress("read", len(widths), guess, record.offset))
        size = records.size
    table = np.array(pixels, np.int64).reshape(-1, 2)
    return Inspection(
        name=base_name(path),
        bytes=size,
        records=len(widths),
        objects_total=sum(ids.values()),
        scalar_labels=scalar,
        tables=tables,
        label_widths=Spread.of(widths),
        objects=Spread.of(objects),
        image_bytes=Spread.of(sizes),
        image_widths=Spread.of(table[:, 0]),
        image_heights=Spread.of(table[:, 1]),
        kinds=dict(sorted(kinds.items())),
        classes={class_name(id_, manifest): count for id_, count in sorted(ids.items())},
        objects_per_record=histogram(objects, OBJECTS, whole=True),
        box_sides=histogram(sides, BOX_SIDES),
        manifest=manifest,
    )
