"""Draws boxes on images, as recpack's own pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from recpack.colours import class_colour
from recpack.drawing import Plate, Tagged, draw_boxes, fitted, plate_size, write_plate

from .errors import TrainError, UsageError
from .files import open_file, replace

Pixels = npt.NDArray[np.uint8]

_MAX_IMAGE = 1 << 30
_FARTHEST = 1e6
"""Pixels, beyond which a box is none of any image."""


@dataclass(frozen=True, eq=False)
class Picture:
    """``pixels``: uint8 (height, width, 3), blue first. Notebooks display it."""

    pixels: Pixels

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"Picture({width} x {height})"

    def save(self, path: str | Path) -> None:
        """Write a file of the kind that its extension says (``.png``, ``.jpg``)."""
        try:
            encoded = cv2.imencode(Path(path).suffix, self.pixels)[1]
        except cv2.error as error:
            raise TrainError(f"{path}: the name must end in .png or .jpg") from error
        replace(path, encoded.tobytes())

    def _repr_png_(self) -> bytes:
        return cv2.imencode(".png", self.pixels)[1].tobytes()


def demand_writable(path: Path) -> None:
    """Raise UsageError for a picture that can't be written: its kind, its folder."""
    if not path.suffix or not cv2.haveImageWriter(str(path)):
        raise UsageError(f"{path}: no picture has this extension; use .png or .jpg")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: can't be written; check the folder")


def load(image: str | Path | bytes | Pixels, name: str = "") -> Pixels:
    """A file, its bytes, or pixels (blue first; they are copied) → pixels. ``name`` is the bytes'
    file."""
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise TrainError(
                f"the image array has shape {image.shape} and dtype {image.dtype}; give "
                "(height, width, 3) and uint8, blue first"
            )
        return image.copy()
    data = image if isinstance(image, bytes) else read_file(image)
    # OpenCV raises its own error for empty bytes
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if pixels is None:
        name = name or ("" if isinstance(image, bytes) else str(image))
        what = f"{name} is" if name else "the bytes are"
        raise TrainError(f"{what} not an image that OpenCV can decode")
    return pixels  # type: ignore[return-value]  # IMREAD_COLOR always gives uint8


def read_file(path: str | Path) -> bytes:
    """An image file's bytes. Raises OSError, TrainError for what is no file (a pipe would never
    end) and for one of more than 1 GiB."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > _MAX_IMAGE:
            raise TrainError(f"{path} has more than {_MAX_IMAGE:,} bytes")
        return bytes(file.read(size))


def colour(class_id: int) -> tuple[int, int, int]:
    """A class's colour, blue first."""
    red, green, blue = class_colour(class_id)
    return blue, green, red


def draw(
    image: str | Path | bytes | Pixels,
    boxes: Sequence[tuple[float, float, float, float]],
    labels: Sequence[str],
    class_ids: Sequence[int],
) -> Picture:
    """Draw boxes (in pixels) with labels on an image; the first ones are on top. Boxes that are not
    numbers, or far too large for any image, are left out."""
    pixels = load(image)
    objects = []
    for box, label, class_id in zip(boxes, labels, class_ids, strict=True):
        if all(abs(edge) < _FARTHEST for edge in box):  # NaN is not
            left, top, right, bottom = (round(edge) for edge in box)
            objects.append(Tagged((left, top, right, bottom), label, class_colour(class_id)))
    draw_boxes(pixels, objects, *_pen(pixels), all_texts=True)
    return Picture(pixels)


def write(
    image: str | Path | bytes | Pixels, labels: Sequence[str], class_ids: Sequence[int]
) -> Picture:
    """Write labels on an image, one below the other from its upper left corner."""
    pixels = load(image)
    _, size = _pen(pixels)
    top = 0
    for label, class_id in zip(labels, class_ids, strict=True):
        text = fitted(label, size, pixels.shape[1] - size, 500)
        wide, high = plate_size(text, size)
        plate = Plate(0, top, wide, top + high)
        write_plate(pixels, text, plate, size, class_colour(class_id))
        top += high
    return Picture(pixels)


def _pen(pixels: Pixels) -> tuple[int, int]:
    """Width of lines and size of letters in pixels, for an image's size."""
    longest = max(pixels.shape[:2])
    return max(round(longest / 320), 1), max(round(longest / 45), 12)
