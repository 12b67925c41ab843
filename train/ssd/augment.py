"""Pictures for training: decoded, cut, turned and coloured at random, with their boxes.

The chain and its numbers are those of the algorithm's ancestor, zhreshold/mxnet-ssd
``config/config.py``, as MXNet's ``image_det_aug_default.cc`` carries them out: colours · mirror ·
zoom out on grey · a crop that must hold the centre of an object · a square of the network's size.
Here the geometry is chosen first, from the size of the picture alone. Then one resize makes the
square, and colours are changed there, where there are fewer pixels; the grey keeps its colour.
Boxes are computed from the very pixels that the resize takes and fills.

JPEGs are decoded whole. A quarter of the views of VOC's photographs could use half the size, which
saves 5 % of the time, but they would be smoother than the ancestor's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import TrainError

Pixels = npt.NDArray[np.uint8]
"""uint8, shape (height, width, 3), red first."""
Boxes = npt.NDArray[np.float32]
"""float32, shape (n, 6): class id, xmin, ymin, xmax, ymax as ratios of the sides, difficult."""

Edges = npt.NDArray[np.floating]
"""Left, top, right, bottom in columns, or some of them."""

FILL = 127
_MOST_ZOOM, _LEAST_ZOOM = 4.0, 1.05
_CROPS = 5 / 6
_OVERLAPS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
_TRIALS = 25
_LEAST_SCALE = 0.3
_ASPECTS = 0.5, 2.0
_HUE, _LIGHT, _SATURATION, _CONTRAST = 18, 32, 32, 0.5
_MOST_HLS: Any = (180, 255, 255, 0)
_INTERPOLATIONS = (
    cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_CUBIC,
)  # fmt: skip
"""The ancestor's last is Lanczos: on average 0.8 of 255 from cubic, in 15 times its time."""


def decode(data: bytes, name: str) -> Pixels:
    """Encoded image → pixels. Raises TrainError, with ``name``, for what OpenCV can't decode."""
    flags = cv2.IMREAD_COLOR
    if data[:2] != b"\xff\xd8":  # the OpenCV in MXNet turns only JPEGs by their Exif block
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise TrainError(f"{name}: it can't be decoded: {str(error).strip()[:200]}") from None
    if pixels is None:
        raise TrainError(f"{name}: no image that can be decoded; it begins with {data[:8]!r}")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)  # type: ignore[return-value]


def resize(pixels: Pixels, side: int) -> Pixels:
    """The whole picture as a square, as validation and serving see it; bilinear, as MXNet's."""
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def augment(
    pixels: Pixels, boxes: Boxes, side: int, random: np.random.Generator
) -> tuple[Pixels, Boxes]:
    """A square of ``side`` pixels from the picture, and the boxes in it as ratios of its side."""
    view, boxes = choose(pixels.shape[1], pixels.shape[0], boxes, side, random)
    return show(pixels, view, side, random), boxes


class Span(NamedTuple):
    """Pixels ``[start, stop)`` of the picture on one axis, shown at ``[begin, end)``."""

    start: int
    stop: int
    begin: int
    end: int

    @classmethod
    def of(cls, first: int, last: int, length: int, side: int) -> Span:
        """What is seen through the window ``[first, last)`` of an axis of ``length`` pixels."""
        start, stop = max(first, 0), min(last, length)
        if start >= stop:
            return cls(0, length, 0, 0)
        scale = side / (last - first)
        begin = min(round((start - first) * scale), side - 1)
        return cls(start, stop, begin, max(round((stop - first) * scale), begin + 1))

    def place(self, edges: Edges, side: int) -> Edges:
        """Where edges, in pixels of the picture, are in the square, as ratios of its side."""
        scale = (self.end - self.begin) / (self.stop - self.start)
        return (self.begin + (edges - self.start) * scale) / side


class View(NamedTuple):
    """What is seen of a picture, and where in the square; ``mirrored`` left to right."""

    across: Span
    down: Span
    mirrored: bool


def choose(
    width: int, height: int, boxes: Boxes, side: int, random: np.random.Generator
) -> tuple[View, Boxes]:
    """A view of a picture of this size, by chance, and the boxes in it. Rows that are no box, and
    boxes whose centre is outside, are left out; the others end where the view does."""
    boxes = boxes[(boxes[:, 0] >= 0) & (boxes[:, 3] > boxes[:, 1]) & (boxes[:, 4] > boxes[:, 2])]
    mirror, pad, zoom, x, y, crop = random.random(6).tolist()
    left, top, right, bottom = 0, 0, width, height
    scale = 1 + zoom * (_MOST_ZOOM - 1)
    if pad < 0.5 and scale >= _LEAST_ZOOM:
        left, top = -int(x * (scale - 1) * width), -int(y * (scale - 1) * height)
        right, bottom = left + int(scale * width), top + int(scale * height)
    edges = boxes[:, 1:5] * np.array([width, height, width, height], np.float64)
    if crop < _CROPS:
        across, down = right - left, bottom - top
        found = _crop((edges - (left, top, left, top)) / (across, down, across, down),
                      across / down, random)  # fmt: skip
        if found is not None:
            (x, y, wide, high), kept = found
            left, top = left + int(x * across), top + int(y * down)
            right = left + max(int(wide * across), 1)
            bottom = top + max(int(high * down), 1)
            boxes, edges = boxes[kept], edges[kept]
    view = View(Span.of(left, right, width, side), Span.of(top, bottom, height, side), mirror < 0.5)
    placed = boxes.copy()
    placed[:, 1:5:2] = view.across.place(edges[:, ::2], side)
    placed[:, 2:5:2] = view.down.place(edges[:, 1::2], side)
    if view.mirrored:
        placed[:, 1:5:2] = 1 - placed[:, 3:0:-2]
    np.clip(placed[:, 1:5], 0, 1, out=placed[:, 1:5])
    return view, placed[(placed[:, 3] > placed[:, 1]) & (placed[:, 4] > placed[:, 2])]


def _crop(
    edges: Edges, aspect: float, random: np.random.Generator
) -> tuple[list[float], npt.NDArray[np.bool_]] | None:
    """The first crop that a sampler takes: (x, y, width, height) as ratios, and which objects have
    their centre in it. None when all trials of all samplers fail."""
    overlaps = np.repeat(random.permutation(_OVERLAPS), _TRIALS)
    scale, shape, x, y = random.random((4, len(overlaps)))
    scale = _LEAST_SCALE + scale * (1 - _LEAST_SCALE)
    low = np.maximum(_ASPECTS[0] / aspect, scale * scale)
    high = np.minimum(_ASPECTS[1] / aspect, 1 / (scale * scale))
    ratio = np.sqrt(low + shape * (high - low))
    width, height = np.minimum(scale * ratio, 1), np.minimum(scale / ratio, 1)
    x, y = x * (1 - width), y * (1 - height)
    crops = np.stack([x, y, width, height], 1)
    if not len(edges):
        return crops[0].tolist(), np.zeros(0, np.bool_)
    right, bottom = x + width, y + height
    centres = (edges[:, :2] + edges[:, 2:]) / 2
    inside = (
        (x[:, None] <= centres[:, 0]) & (centres[:, 0] < right[:, None])
        & (y[:, None] <= centres[:, 1]) & (centres[:, 1] < bottom[:, None])
    )  # fmt: skip
    wide = np.minimum(right[:, None], edges[:, 2]) - np.maximum(x[:, None], edges[:, 0])
    high_ = np.minimum(bottom[:, None], edges[:, 3]) - np.maximum(y[:, None], edges[:, 1])
    shared = np.maximum(wide, 0) * np.maximum(high_, 0)
    areas = (edges[:, 2] - edges[:, 0]) * (edges[:, 3] - edges[:, 1])
    overlap = shared / ((width * height)[:, None] + areas - shared)
    taken = inside.any(1) & (overlap.max(1) >= overlaps)
    first = int(taken.argmax())
    if not taken[first]:
        return None
    return crops[first].tolist(), inside[first]


def show(pixels: Pixels, view: View, side: int, random: np.random.Generator) -> Pixels:
    """The square that a view shows, resized and coloured by chance."""
    across, down, mirrored = view
    method = _INTERPOLATIONS[int(random.integers(len(_INTERPOLATIONS)))]
    square = np.full((side, side, 3), FILL, np.uint8)
    size = across.end - across.begin, down.end - down.begin
    if min(size) > 0:
        part = pixels[down.start : down.stop, across.start : across.stop]
        seen: Pixels = cv2.resize(part, size, interpolation=method)  # type: ignore[assignment]
        if max(size) > 1:  # OpenCV takes a picture of one pixel for a number
            seen = _colour(seen, random)
        square[down.begin : down.end, across.begin : across.end] = seen
    return cv2.flip(square, 1) if mirrored else square  # type: ignore[return-value]


def _colour(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """With another hue, lightness, saturation and contrast, each changed in half of the cases."""
    chances = random.random(4) < 0.5
    amounts = random.uniform(-1, 1, 4) * (_HUE, _LIGHT, _SATURATION, _CONTRAST) * chances
    shift: Any = (*amounts[:3].astype(np.int64).tolist(), 0)  # towards zero
    if any(shift):
        hls = cv2.cvtColor(pixels, cv2.COLOR_RGB2HLS)
        hls = cv2.min(cv2.add(hls, shift), _MOST_HLS)  # add itself ends at 0 and 255
        pixels = cv2.cvtColor(hls, cv2.COLOR_HLS2RGB)  # type: ignore[assignment]
    if abs(amounts[3]) > 1e-3:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 + amounts[3])  # type: ignore[assignment]
    return pixels
