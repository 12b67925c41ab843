"""Images of records as pictures of HTML, with their boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from recpack.colours import class_colour
from recpack.columns import Float32
from recpack.data.labels import detection_widths
from recpack.errors import ImageError
from recpack.formats.encoding import Encoding
from recpack.formats.image_codec import decode, encode, shrink
from recpack.markup import Box, svg_picture, text
from recpack.problems import count_text

_SMALLEST = 320
"""Pixels of a picture's longer side: a smaller image is enlarged, so that its names can be read."""

NameOf = Callable[[float], str]
"""The name of a class id."""


def picture(image: bytes, label: Float32, name_of: NameOf, longer: int = 640) -> str:
    """An image with the boxes of its label, its longer side of at most ``longer`` pixels (of 640 it
    takes about 60 kB); or a line that says why there is none."""
    if not image:
        return "<p>a table of ids, without an image</p>"
    try:
        pixels = decode(image)
    except (ImageError, MemoryError) as error:
        return f"<p>no picture: {text(error)}</p>"
    small = shrink(pixels, longer)
    data = encode(small, Encoding(quality=85)).tobytes()
    high, wide = small.shape[:2]
    scale = max(min(longer, _SMALLEST) / max(wide, high), 1)
    shown = svg_picture(data, (wide * scale, high * scale), _boxes(label, name_of))
    return f'<div style="max-width:{wide * scale:.0f}px">{shown}</div>'


def caption(image: bytes, label: Float32, name_of: NameOf) -> str:
    """What a label says."""
    objects = _objects(label)
    if image and objects is not None:
        ids = objects[:, 0].tolist()
        names = ", ".join(map(name_of, dict.fromkeys(ids)))
        return f"{count_text(len(ids), 'object')}: {names}" if ids else "no objects"
    if image and len(label) == 1:
        return name_of(float(label[0]))
    return "label " + " ".join(f"{value:g}" for value in label[:20].tolist())


def _boxes(label: Float32, name_of: NameOf) -> Iterator[Box]:
    objects = _objects(label)
    if objects is not None:
        for id_, left, top, right, bottom in objects[:, :5].tolist():
            yield Box(left, top, right, bottom, name_of(id_), class_colour(id_))


def _objects(label: Float32) -> Float32 | None:
    """The rows of a detection label, but for the one that means that there is none."""
    widths = detection_widths(label)
    if widths is None:
        return None
    rows = label[widths[0] :].reshape(-1, widths[1])
    return rows[np.isfinite(rows[:, 0]) & (rows[:, 0] >= 0)]
