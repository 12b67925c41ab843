"""A contact sheet of records: their images with boxes, and the names of their classes."""

from __future__ import annotations

import colorsys
import math
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from recpack.columns import Pixels
from recpack.data.labels import detection_widths, is_multi_hot
from recpack.errors import ConfigError, DataError, ImageError, SinkError
from recpack.formats.image_codec import decode
from recpack.formats.insightface import identity_keys
from recpack.formats.manifest import Manifest
from recpack.formats.record import Record
from recpack.records.inspect import class_name, label_text
from recpack.records.reader import RecordReader
from recpack.records.settings import PreviewSettings, positions
from recpack.settings import takes
from recpack.storage.files import replace_file
from recpack.storage.paths import PathOrUrl
from recpack.storage.s3.access import Access

_GAP = 8
_PAPER = 32
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MANY = 12
"""Objects of an image from which cells have twice the side."""
_MOST = 1000
"""Objects that are drawn of an image; each name is compared with those before it."""
_LARGEST = 16_000
"""Pixels of a sheet's side, at most."""


class _Plate(NamedTuple):
    """The background of a name: edges in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def meets(self, other: _Plate) -> bool:
        return (
            self.left < other.right and other.left < self.right
            and self.top < other.bottom and other.top < self.bottom
        )  # fmt: skip


@takes(PreviewSettings)
def preview(
    path: PathOrUrl, output: str | os.PathLike[str], settings: PreviewSettings
) -> list[int]:
    """Draw records and write the sheet as ``.png`` or ``.jpg``, by the name of ``output``. The
    records are those at the positions ``records``, or ``count`` images that ``seed`` chooses.
    ``cell``: pixels of a cell's side, twice as many if an image has many objects. Returns the
    positions. Raises DataError for positions that do not exist, SinkError for an output that can't
    be written. Of an image, the first 1,000 objects are drawn, without those of infinite edges."""
    if Path(output).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ConfigError(f"output: must end in .png or .jpg (got {output})")
    with RecordReader(path, mapped=False, **vars(settings.part(Access))) as reader:
        total = len(reader)
        if settings.records is None:
            order = np.random.RandomState(settings.seed).permutation(total)
            images = (position for position in order.tolist() if reader[position].is_image)
            chosen = sorted(islice(images, settings.count))
        else:
            chosen = list(positions(settings.records))
        missing = [position for position in chosen if not -total <= position < total]
        if missing or not chosen:
            wanted = f"record {missing[0]}" if missing else "record with an image"
            raise DataError(f"{path}: no {wanted}; there are {total:,}")
        manifest = reader.manifest()
        faces = identity_keys(next(iter(reader))) is not None
        crowded = any(
            record.kind == "boxes" and len(record.label) > 2 + 5 * _MANY
            for record in map(reader.__getitem__, chosen)
        )
        # read again, because all together could fill the memory
        batch = (reader[position] for position in chosen)
        cell = settings.cell * (2 if crowded else 1)
        sheet = contact_sheet(batch, len(chosen), manifest, cell, faces=faces)
    _, data = cv2.imencode(Path(output).suffix.lower(), sheet)
    try:
        with replace_file(Path(output)) as file:
            file.write(data.data)
    except OSError as error:
        raise SinkError(f"{output}: can't be written: {error.strerror}") from error
    return chosen


def contact_sheet(
    records: Iterable[Record],
    count: int,
    manifest: Manifest | None,
    cell: int,
    *,
    faces: bool = False,
) -> Pixels:
    """The images of ``count`` records in rows and columns, as square as possible; uint8 (height,
    width, 3), blue first. Holds one record at a time."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cell = min(cell, _LARGEST // columns - _GAP)
    step = cell + _GAP
    sheet = np.full((rows * step + _GAP, columns * step + _GAP, 3), _PAPER, np.uint8)
    for number, record in enumerate(records):
        picture = _draw(record, manifest, cell, faces=faces)
        height, width = picture.shape[:2]
        top = _GAP + number // columns * step + (cell - height) // 2
        left = _GAP + number % columns * step + (cell - width) // 2
        sheet[top : top + height, left : left + width] = picture
    return sheet


def _draw(record: Record, manifest: Manifest | None, cell: int, *, faces: bool) -> Pixels:
    if not record.is_image:
        return _message(f"record {record.id}: no image, a table", cell)
    try:
        image = decode(record.image_bytes)
    except ImageError as error:
        return _message(f"record {record.id}: {error.code}", cell)
    height, width = image.shape[:2]
    scale = cell / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels: Pixels = np.ascontiguousarray(cv2.resize(image, size, interpolation=method), np.uint8)
    if detection_widths(record.label) is None:
        names = f"identity {record.label[0]:g}" if faces else _class_names(record, manifest)
        boxes = np.zeros((0, 5), np.float32)
        _write(pixels, names, _Plate(0, 0, *_size(names)), (255, 255, 255))
    else:
        boxes = record.boxes[:, :5]
        boxes = boxes[np.isfinite(boxes).all(1) & (boxes[:, 0] >= 0)][:_MOST]
    others: list[_Plate] = []
    edges = np.clip(boxes[:, 1:5], -1, 2) * (size * 2)
    corners = edges.round().astype(int).tolist()
    for box, (left, top, right, bottom) in zip(boxes, corners, strict=True):
        cv2.rectangle(pixels, (left, top), (right, bottom), _ink(box[0]), 1 if cell < 500 else 2)
    # small boxes first: they have the least space for their names
    order = np.argsort((edges[:, 2] - edges[:, 0]) * (edges[:, 3] - edges[:, 1]), kind="stable")
    for row in order.tolist():
        name = class_name(float(boxes[row, 0]), manifest)
        plate = _room(corners[row], name, size, others)
        others.append(plate)
        _write(pixels, name, plate, _ink(boxes[row, 0]))
    return pixels


def _class_names(record: Record, manifest: Manifest | None) -> str:
    """The class; of a vector of 0 and 1 the classes of the columns with 1; else its numbers."""
    label = record.label
    if len(label) == 1:
        return class_name(float(label[0]), manifest)
    if is_multi_hot(label):
        return ", ".join(class_name(id_, manifest) for id_ in np.flatnonzero(label)[:9]) or "none"
    return label_text(record)


def _size(name: str) -> tuple[int, int]:
    """Width and height of a name's plate, in pixels."""
    (width, height), below = cv2.getTextSize(_ascii(name), _FONT, 0.4, 1)
    return width + 2, height + below + 2


def _room(box: list[int], name: str, size: tuple[int, int], others: list[_Plate]) -> _Plate:
    """A plate that meets no other: above its box, in it, below it, or further down or up."""
    width, height = _size(name)
    left = min(max(box[0], 0), max(size[0] - width, 0))
    tops = [box[1] - height, box[1] + 1, box[3] + 1, box[3] - height]
    tops += [box[1] + turn * height for step in range(1, 12) for turn in (step, -step)]
    fits = [min(max(top, 0), max(size[1] - height, 0)) for top in tops]
    plates = [_Plate(left, top, left + width, top + height) for top in fits]
    return next((one for one in plates if not any(map(one.meets, others))), plates[0])


def _write(pixels: Pixels, name: str, plate: _Plate, ink: tuple[int, int, int]) -> None:
    cv2.rectangle(pixels, plate[:2], (plate.right, plate.bottom), ink, cv2.FILLED)
    start = plate.left + 1, plate.bottom - 4
    cv2.putText(pixels, _ascii(name), start, _FONT, 0.4, (0, 0, 0), 1, cv2.LINE_AA)


def _message(text: str, cell: int) -> Pixels:
    pixels = np.full((cell, cell, 3), 2 * _PAPER, np.uint8)
    cv2.putText(pixels, text, (8, cell // 2), _FONT, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return pixels


def _ink(class_id: float) -> tuple[int, int, int]:
    """A class's own colour: steps of the golden ratio keep the hues of many classes apart."""
    red, green, blue = colorsys.hsv_to_rgb(float(class_id) * 0.61803398875 % 1, 0.7, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def _ascii(name: str) -> str:
    return name.encode("ascii", "replace").decode()  # OpenCV's fonts have no other letters
