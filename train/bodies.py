"""Images as the service takes them, and as the training saw them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .detections import Pixels

MAX_BODY = 5_000_000
"""Most bytes of an image that the service accepts."""


class Frame(NamedTuple):
    """What the header of a JPEG or PNG file says: width and height as stored, in pixels, and how
    many ``colours`` of ``bits`` each."""

    content_type: str
    width: int
    height: int
    colours: int
    bits: int


def frame(image: bytes) -> Frame | None:
    """The header of a JPEG or PNG file; None for anything else. No pixel is decoded."""
    if image.startswith(b"\x89PNG\r\n\x1a\n") and image[12:16] == b"IHDR" and len(image) > 26:
        width, height = (int.from_bytes(image[at : at + 4], "big") for at in (16, 20))
        colours = {2: 3, 6: 4}.get(image[25], 1)  # a palette is one channel, so is gray with alpha
        return Frame("image/png", width, height, colours, image[24])
    if not image.startswith(b"\xff\xd8\xff"):
        return None
    at = 2
    while len(image) > at + 9 and image[at] == 0xFF:
        marker = image[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(image[at + by : at + by + 2], "big") for by in (5, 7))
            return Frame("image/jpeg", width, height, image[at + 9], image[at + 4])
        if marker < 0xC0 or 0xD0 <= marker <= 0xDA:  # pixels, or what decoders find elsewhere
            return None
        length = int.from_bytes(image[at + 2 : at + 4], "big")
        at += 1 if marker == 0xFF else 2 + length
    return None


def size_of(image: bytes) -> tuple[int, int]:
    """Width and height of the upright image. Raises TrainError when it can't be decoded."""
    from .pictures import load

    height, width = load(image).shape[:2]
    return width, height


def payload(image: str | Path | bytes | Pixels) -> tuple[bytes, str, int, int]:
    """(body, content type, width, height) of a request; the size is that of the upright image."""
    import cv2

    from .pictures import load, read_file

    data, name = image if isinstance(image, bytes) else b"", ""
    if isinstance(image, (str, Path)):
        data, name = read_file(image), str(image)
    pixels = load(data if name else image, name)
    height, width = pixels.shape[:2]
    header = frame(data)
    if header is not None and len(data) <= MAX_BODY and _is_plain(header, data, pixels):
        return data, header.content_type, width, height
    if header is not None and header.content_type == "image/png":
        body = cv2.imencode(".png", pixels)[1].tobytes()
        if len(body) <= MAX_BODY:
            return body, "image/png", width, height
    scale = 1.0
    while True:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        smaller = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
        body = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        if len(body) <= MAX_BODY:
            break
        scale *= 0.8
    if len(data) > MAX_BODY or scale < 1:
        warnings.warn(
            f"the image was encoded again, with {len(body):,} bytes and {scale:.0%} of its size: "
            f"the service accepts at most {MAX_BODY:,} bytes",
            stacklevel=4,
        )
    return body, "image/jpeg", width, height


def _is_plain(header: Frame, data: bytes, pixels: Pixels) -> bool:
    """Whether every decoder gives these pixels: 8 bits, three colours, not rotated."""
    import cv2
    import numpy as np

    if header.colours != 3 or header.bits != 8:
        return False
    if header.content_type == "image/png":
        return True
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return stored is not None and np.array_equal(stored, pixels)
