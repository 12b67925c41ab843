"""How images change: the settings, without OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from recpack.settings import Settings, option


class Crop(Settings):
    """The one change of an image that its boxes follow."""

    title = "images"

    center_crop: bool = option(default=False, help="crop to the centred square", shapes=True)


class Encoding(Crop):
    """How images are written: im2rec's options of the same names.

    ``quality`` None is 95 for JPEG, and compression 3 for PNG. See ``image_codec.reencode`` for
    ``im2rec_pixels``.
    """

    title = "images"

    resize: int = option(
        default=0,
        help="pixels of the shorter side (default: the size stays)",
        metavar="N",
        shapes=True,
    )
    quality: int | None = option(
        default=None,
        help="quality of images that change: JPEG 1 to 100 (default: 95), PNG compression 0 to 9 "
        "(default: 3)",
        metavar="Q",
        shapes=True,
    )
    encoding: Literal["jpg", "png"] = option(
        default="jpg", help="format of images that change", shapes=True
    )
    reencode: bool = option(
        default=False,
        help="decode and encode every image (default: JPEG and PNG pass through unchanged)",
        shapes=True,
    )
    im2rec_pixels: bool = option(
        default=False,
        help="resize large photographs from full size, to the very pixels of im2rec; slower",
        shapes=True,
    )

    def faults(self) -> Iterator[str]:
        if self.resize < 0:
            yield f"resize: {self.resize} pixels; 0 keeps the size"
        if self.quality is not None:
            low, high = (1, 100) if self.encoding == "jpg" else (0, 9)
            if not low <= self.quality <= high:
                yield f"quality: {self.quality}; {self.encoding} takes {low} to {high}"

    @property
    def changes_images(self) -> bool:
        """Whether every image is decoded and encoded again."""
        return bool(self.reencode or self.resize or self.center_crop)
