"""Images as the service takes them, and as the training saw them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .detections import Pixels

MAX_BODY = 5_000_000
"""Most bytes of an image that the service accepts."""

_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PN": "image/png"}


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
    content_type = _TYPES.get(data[:3])
    if content_type is not None and len(data) <= MAX_BODY and _is_plain(data, pixels):
        return data, content_type, width, height
    if content_type == "image/png":
        body = cv2.imencode(".png", pixels)[1].tobytes()
        if len(body) <= MAX_BODY:
            return body, content_type, width, height
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


def _is_plain(data: bytes, pixels: Pixels) -> bool:
    """Whether every decoder gives these pixels: 8 bits, three colours, not rotated."""
    import cv2
    import numpy as np

    if data.startswith(b"\x89PNG"):
        return data[24:26] == b"\x08\x02"  # bits, and colours without a palette or alpha
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return _components(data) == 3 and stored is not None and np.array_equal(stored, pixels)


def _components(jpeg: bytes) -> int:
    """How many colours a JPEG has; 0 when it does not say."""
    at = 2
    while len(jpeg) > at + 9 and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return jpeg[at + 9]
        at += 1 if marker == 0xFF else 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return 0
