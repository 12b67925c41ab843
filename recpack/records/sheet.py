"""A contact sheet: the images of records with their boxes, and the names of their classes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from recpack.colours import Colour, class_colour
from recpack.columns import Float32, Pixels
from recpack.data.labels import detection_widths, is_multi_hot
from recpack.drawing import Tagged, draw_boxes, fitted, text_width, write
from recpack.errors import ImageError
from recpack.formats.image_codec import decode
from recpack.formats.manifest import Manifest
from recpack.formats.record import Record
from recpack.problems import count_text
from recpack.records.inspect import class_name, image_header, label_text

_WIDE = 1920
"""Pixels of a sheet's width, a slide's; twice as many if an image has many objects."""
_SHAPE = 16 / 9
_MANY = 12
"""Objects of an image that are many."""
_MOST = 1000
"""Objects that are drawn of an image; each name is compared with those before it."""
_LARGEST = 16_000
"""Pixels of a sheet's side, at most."""
_SMALL = 120
"""Pixels of a cell's side, below which it has no caption."""
_LEGEND = 40
"""Classes of the legend, at most."""
_PAPER: Colour = (255, 255, 255)
_PANEL: Colour = (240, 242, 245)
_INK: Colour = (31, 35, 40)
_FAINT: Colour = (101, 109, 118)


def contact_sheet(
    records: Sequence[Record],
    manifest: Manifest | None,
    cell: int | None = None,
    title: tuple[str, str] | None = None,
    numbers: Sequence[int] = (),
    *,
    faces: bool = False,
) -> Pixels:
    """The images of records in rows and columns, in the shape of a slide; uint8 (height, width, 3),
    blue first. ``title``: the line above, left and right. ``numbers``: the records' positions, to
    be written below them. Each record is read twice, one at a time."""
    survey = _Survey(records, manifest, faces=faces)
    layout = _Layout.of(len(records), survey, cell)
    legend = [] if faces else _legend(survey, layout)
    top = layout.margin + (2 * layout.large if title else 0)
    under = sum(map(len, legend)) and layout.gap + len(legend) * _line(layout.small)
    height = top + layout.rows * layout.step - layout.gap + under + layout.margin
    sheet = np.full((height, layout.width, 3), 255, np.uint8)
    if title is not None:
        right = fitted(title[1], layout.small, layout.inner // 2)
        space = layout.inner - text_width(right, layout.small) - layout.large
        name = fitted(title[0], layout.large, space, 600)
        base = layout.margin + layout.large * 9 // 10
        write(sheet, name, layout.margin, base, layout.large, _INK, 600)
        start = layout.width - layout.margin - text_width(right, layout.small)
        write(sheet, right, start, base, layout.small, _FAINT)
    for number, record in enumerate(records):
        row, column = divmod(number, layout.columns)
        left, upper = layout.margin + column * (layout.wide + layout.gap), top + row * layout.step
        part = sheet[upper : upper + layout.high, left : left + layout.wide]
        _draw(part, record, survey, layout)
        if layout.caption:
            base = upper + layout.high + layout.caption * 3 // 4
            position = f"record {numbers[number]:,}" if numbers else ""
            _write_caption(sheet, (left, base), survey.caption(record), position, layout)
    base = height - layout.margin - len(legend) * _line(layout.small)
    for number, line in enumerate(legend):
        start = layout.margin
        for text, count, colour in line:
            spot = base + number * _line(layout.small) + layout.small * 3 // 2
            start = _write_entry(sheet, (start, spot), text, count, colour, layout.small)
            start += 2 * layout.small
    return sheet


class _Survey:
    """What is in the records: objects (or images) by class, and how large the images are."""

    def __init__(
        self, records: Sequence[Record], manifest: Manifest | None, *, faces: bool
    ) -> None:
        self._manifest, self._faces = manifest, faces
        self.counts: Counter[float] = Counter()
        self.many = False
        sizes = []
        for record in records:
            if (header := image_header(record)) is not None:
                sizes.append((header.width, header.height))
            ids = [float(id_) for id_ in self.ids(record)]
            self.counts.update(ids)
            self.many |= len(ids) > _MANY
        widths, heights = np.array(sizes or [(4, 3)], float).T
        self.ratio = float(np.clip(np.median(heights / widths), 0.5, 1.6))
        self.longer = int(max(np.median(widths), np.median(heights))) if sizes else 400

    def ids(self, record: Record) -> Sequence[float]:
        """The classes of its objects, or its own."""
        if not record.is_image:
            return ()
        if detection_widths(record.label) is not None:
            return [id_ for id_, *_ in self.boxes(record).tolist()]
        if len(record.label) == 1 or self._faces:
            return record.label[:1].tolist() if np.isfinite(record.label[:1]).all() else ()
        return np.flatnonzero(record.label).tolist() if is_multi_hot(record.label) else ()

    @staticmethod
    def boxes(record: Record) -> Float32:
        """Class and edges of the objects that can be drawn (n, 5)."""
        boxes = record.boxes[:, :5]
        return boxes[np.isfinite(boxes).all(1) & (boxes[:, 0] >= 0)][:_MOST]

    def name(self, id_: float) -> str:
        return f"identity {id_:g}" if self._faces else class_name(id_, self._manifest)

    def caption(self, record: Record) -> tuple[str, Colour | None]:
        """What a label says, and the colour of its class."""
        if not record.is_image:
            return "a table, no image", None
        ids = self.ids(record)
        if detection_widths(record.label) is not None:
            return count_text(len(ids), "object"), None
        if len(ids) == 1:
            return self.name(ids[0]), class_colour(ids[0])
        return ", ".join(map(self.name, ids[:9])) or _numbers(record), None


def _numbers(record: Record) -> str:
    return "no class" if is_multi_hot(record.label) else label_text(record)


class _Layout(NamedTuple):
    """Lengths in pixels: ``wide``, ``high`` of a cell without its ``caption``; ``large``,
    ``small``: letters of the title and of the legend; ``tag``: those of names in pictures."""

    columns: int
    rows: int
    wide: int
    high: int
    caption: int
    gap: int
    margin: int
    large: int
    small: int
    tag: int
    thick: int

    @classmethod
    def of(cls, count: int, survey: _Survey, cell: int | None) -> _Layout:
        def fault(columns: int) -> float:
            """How far from a slide's shape, and how many cells are empty."""
            rows = -(-count // columns)
            shape = columns / (rows * (survey.ratio + 0.12))
            return abs(math.log(shape / _SHAPE)) + 2 * (columns * rows - count) / count

        columns = min(range(1, count + 1), key=fault)
        rows = -(-count // columns)
        if cell is None:
            width = _WIDE * (2 if survey.many else 1)
            largest = max(2 * survey.longer, 1400 if survey.many else 480)
            gap = min(max(width // (31 * columns + 3), 4), 20)
            wide = min((width - (columns + 3) * gap) // columns, largest)
        else:
            wide = round(cell / max(survey.ratio, 1))
        wide = max(min(wide, _LARGEST // columns - 24, int(_LARGEST / rows / survey.ratio) - 64), 8)
        gap = min(max(wide // 30, 4), 20)
        large = min(max(columns * wide // 72, 11), 40)
        small = max(large * 2 // 3, 10)
        return cls(
            columns=columns, rows=rows, wide=wide, high=max(round(wide * survey.ratio), 8),
            caption=0 if wide < _SMALL else 2 * min(max(wide // 22, 10), small + 2),
            gap=gap, margin=2 * gap, large=large, small=small, tag=min(max(wide // 28, 9), 22),
            thick=min(max(round(wide / 220), 1), 5),
        )  # fmt: skip

    @property
    def step(self) -> int:
        """From the top of one row to that of the next."""
        return self.high + self.caption + self.gap

    @property
    def inner(self) -> int:
        return self.columns * (self.wide + self.gap) - self.gap

    @property
    def width(self) -> int:
        return self.inner + 2 * self.margin


def _line(size: int) -> int:
    return size * 2


def _legend(survey: _Survey, layout: _Layout) -> list[list[tuple[str, str, Colour]]]:
    """Lines of names, counts and colours: the most frequent classes first."""
    lines: list[list[tuple[str, str, Colour]]] = [[]]
    space = layout.inner
    entries = sorted(survey.counts.items(), key=lambda one: (-one[1], one[0]))
    for id_, count in entries[:_LEGEND]:
        name = fitted(survey.name(id_), layout.small, layout.inner // 2)
        taken = text_width(f"{name} {count:,}", layout.small) + 4 * layout.small
        if space < taken and lines[-1]:
            lines.append([])
            space = layout.inner
        space -= taken
        lines[-1].append((name, f"{count:,}", class_colour(id_)))
    if len(entries) > _LEGEND:
        lines.append([("", f"and {len(entries) - _LEGEND:,} classes more", _PAPER)])
    return lines


def _write_entry(
    sheet: Pixels, at: tuple[int, int], text: str, count: str, colour: Colour, size: int
) -> int:
    """A class of the legend, from the left end of its line. Returns its right end."""
    left, base = at
    cv2.rectangle(sheet, (left, base - size + 2), (left + size - 2, base), colour[::-1], cv2.FILLED)
    left += size * 3 // 2
    write(sheet, text, left, base, size, _INK)
    left += text_width(text, size) + size // 2
    write(sheet, count, left, base, size, _FAINT)
    return left + text_width(count, size)


def _write_caption(
    sheet: Pixels, at: tuple[int, int], caption: tuple[str, Colour | None], position: str,
    layout: _Layout,
) -> None:  # fmt: skip
    """Below a picture: its class or its number of objects, and its position."""
    (left, base), (text, colour) = at, caption
    size = layout.caption // 2
    right = text_width(position, size)
    write(sheet, position, left + layout.wide - right, base, size, _FAINT)
    space = layout.wide - right - size
    if colour is not None:
        corners = (left, base - size + 2), (left + size - 2, base)
        cv2.rectangle(sheet, *corners, colour[::-1], cv2.FILLED)
        left, space = left + size * 4 // 3, space - size * 4 // 3
    weight = 600 if colour is not None else 400
    write(sheet, fitted(text, size, space, weight), left, base, size, _INK, weight)


def _draw(cell: Pixels, record: Record, survey: _Survey, layout: _Layout) -> None:
    """Draw a record's image into its cell."""
    cell[:] = _PANEL[::-1]
    high, wide = cell.shape[:2]
    try:
        image = decode(record.image_bytes) if record.is_image else None
    except ImageError as error:
        _write_message(cell, error.code)
        return
    if image is None:
        _write_message(cell, "no image")
        return
    height, width = image.shape[:2]
    scale = min(wide / width, high / height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    pixels: Pixels = np.ascontiguousarray(cv2.resize(image, size, interpolation=method), np.uint8)
    if detection_widths(record.label) is not None:
        boxes = survey.boxes(record)
        edges = (np.clip(boxes[:, 1:], -1, 2) * (size * 2)).round().astype(int).tolist()
        ids = boxes[:, 0].tolist()
        objects = [
            Tagged((left, top, right - 1, bottom - 1), survey.name(id_), class_colour(id_))
            for id_, (left, top, right, bottom) in zip(ids, edges, strict=True)
        ]
        draw_boxes(pixels, objects, layout.thick, layout.tag, all_texts=False)
    top, left = (high - size[1]) // 2, (wide - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = pixels


def _write_message(cell: Pixels, text: str) -> None:
    high, wide = cell.shape[:2]
    size = min(max(wide // 20, 8), 20)
    text = fitted(text, size, wide - 4)
    write(cell, text, (wide - text_width(text, size)) // 2, high // 2, size, _FAINT)
