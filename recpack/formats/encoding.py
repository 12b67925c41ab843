"""Settings: how images are changed. Does not import OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from recpack.settings import Settings, option

Color = Literal["rgb", "gray", "unchanged"]


class Crop(Settings):
    """The only change of an image that moves its boxes."""

    title = "images"

    center_crop: bool = option(default=False, help="crop to the centred square", shapes=True)


class Encoding(Crop):
    """How images are written: im2rec's options of the same names.

    ``quality`` None means 95 for JPEG and compression 3 for PNG. For ``im2rec_pixels`` see
    ``image_codec.reencode``.
    """

    title = "images"

    resize: int = option(
        default=0,
        help="pixels of the shorter side (default: keep the size)",
        metavar="N",
        shapes=True,
    )
    quality: int | None = option(
        default=None,
        help="quality of changed images: JPEG 1 to 100 (default: 95), PNG compression 0 to 9 "
        "(default: 3)",
        metavar="Q",
        shapes=True,
    )
    encoding: Literal["jpg", "png"] = option(
        default="jpg", help="format of changed images", shapes=True
    )
    reencode: bool = option(
        default=False,
        help="decode and encode every image (default: copy JPEG and PNG unchanged)",
        shapes=True,
    )
    color: Color = option(
        default="rgb",
        help="channels of changed images: rgb, gray (changes all), or those that each file has",
        shapes=True,
    )
    im2rec_pixels: bool = option(
        default=False,
        help="resize large photographs from full size, for the same pixels as im2rec; slower",
        shapes=True,
    )

    def faults(self) -> Iterator[str]:
        if self.resize < 0:
            yield f"resize: must be at least 0 (got {self.resize}); 0 keeps the size"
        if self.quality is not None:
            low, high = (1, 100) if self.encoding == "jpg" else (0, 9)
            if not low <= self.quality <= high:
                yield f"quality: {self.quality}; {self.encoding} takes {low} to {high}"

    @property
    def changes_images(self) -> bool:
        """Whether every image is decoded and encoded again."""
        return bool(self.reencode or self.resize or self.center_crop or self.color == "gray")
