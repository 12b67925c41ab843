"""Decodes, resizes and encodes images (OpenCV)."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache

from recpack.columns import Pixels
from recpack.data.samples import Treatment
from recpack.errors import ConfigError, ImageError
from recpack.formats.encoding import Color, Encoding
from recpack.formats.image_header import parse_header


def centred_square(width: int, height: int) -> tuple[int, int, int]:
    """im2rec's centred square: (left, top, side) in pixels."""
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side


def new_size(width: int, height: int, shorter: int) -> tuple[int, int]:
    """im2rec's size after a resize: the shorter side becomes ``shorter``, the other is rounded
    down. (width, height) in pixels."""
    if height > width:
        return shorter, height * shorter // width
    return width * shorter // height, shorter


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@cache
def tune_process() -> None:
    """Tune a process that does nothing but change images; this nearly halves the time. OpenCV then
    starts no threads that compete with the other workers, and the memory of one image is kept for
    the next (fresh pages from the system are slow)."""
    # a forked process must not touch an inherited OpenCV: it would wait forever for lost threads
    if "cv2" not in sys.modules:
        import cv2

        cv2.setNumThreads(1)
    with suppress(OSError, AttributeError):  # only the GNU C library has it
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 1 << 28)
        mallopt(_M_TRIM_THRESHOLD, 1 << 29)


def decode(
    data: bytes | memoryview,
    treatment: Treatment = Treatment.UPRIGHT,
    reduction: int = 1,
    color: Color = "rgb",
    *,
    red_first: bool = False,
) -> Pixels:
    """Encoded image → pixels, uint8, shape (height, width, 3), blue first unless ``red_first``;
    with ``gray`` (height, width), with ``unchanged`` what the file has: gray, alpha, 16 bits.

    ``reduction`` 2, 4 or 8 divides each side by it (rounded up), in a fraction of the time; not
    with ``unchanged``.
    Raises the errors of ``read_header``, ImageError (``image-corrupt``) when OpenCV can't decode
    it, MemoryError when there is no memory for the pixels.
    """
    import cv2
    import numpy as np

    parse_header(data)  # OpenCV itself decodes up to 3 GiB
    flags = {
        "rgb": cv2.IMREAD_COLOR, "gray": cv2.IMREAD_GRAYSCALE, "unchanged": cv2.IMREAD_UNCHANGED
    }[color]  # fmt: skip
    if reduction > 1:
        flags |= cv2.IMREAD_REDUCED_GRAYSCALE_2 * reduction // 2
    # in the decoder it costs nothing; OpenCV has it since 4.11, and not for reduced images
    decodes_red_first = red_first and reduction == 1 and hasattr(cv2, "IMREAD_COLOR_RGB")
    if decodes_red_first:
        flags = cv2.IMREAD_COLOR_RGB
    # versions of OpenCV differ in the Exif blocks and the kinds that they turn by
    flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error).strip()) from None
        raise ImageError("image-corrupt", str(error).strip()[:200]) from None
    if decoded is None:
        raise ImageError("image-corrupt", "OpenCV can't decode it")
    pixels: Pixels = decoded  # type: ignore[assignment]  # IMREAD_COLOR always gives uint8
    if data[:4] in (b"II*\0", b"MM\0*"):  # OpenCV turns a TIFF whatever it is told
        if treatment is Treatment.AS_STORED:
            orientation = parse_header(data).orientation
            pixels = _turn(pixels, {6: 8, 8: 6}.get(orientation, orientation))
    elif treatment is Treatment.UPRIGHT:
        with suppress(ImageError):  # another kind of image, which OpenCV knows
            pixels = _turn(pixels, parse_header(data).orientation)
    if red_first and not decodes_red_first:
        pixels = np.ascontiguousarray(pixels[:, :, ::-1])
    return pixels


def _turn(pixels: Pixels, orientation: int) -> Pixels:
    """The pixels as an EXIF orientation says that they are shown."""
    import numpy as np

    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


_TINY_GIF = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"


@cache
def can_decode_gif() -> bool:
    """Whether OpenCV has a GIF decoder (its wheels have one since 4.12)."""
    try:
        decode(_TINY_GIF)
    except ImageError:
        return False
    return True


def shrink(pixels: Pixels, longer: int) -> Pixels:
    """Shrink pixels until the longer side is at most ``longer``, averaging by area."""
    import cv2

    height, width = pixels.shape[:2]
    scale = longer / max(height, width)
    if scale >= 1:
        return pixels
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return _resize(pixels, size, cv2.INTER_AREA)


def _resize(pixels: Pixels, size: tuple[int, int], interpolation: int) -> Pixels:
    import cv2

    # OpenCV's stubs have no dtype: uint8 in, uint8 out
    return cv2.resize(pixels, size, interpolation=interpolation)  # type: ignore[return-value]


def encode(pixels: Pixels, options: Encoding) -> Pixels:
    """Pixels (as ``decode`` gives them) → encoded bytes, uint8 (n,)."""
    import cv2

    if options.encoding == "png":
        quality = 3 if options.quality is None else options.quality
        flags = [cv2.IMWRITE_PNG_COMPRESSION, quality]
    else:
        quality = 95 if options.quality is None else options.quality
        flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode("." + options.encoding, pixels, flags)
    if not done:
        raise ConfigError(f"OpenCV can't write {options.encoding} images")
    return data


def reencode(data: bytes | memoryview, treatment: Treatment, options: Encoding) -> Pixels:
    """Decode, crop, resize and encode with im2rec's geometry; encoded bytes, uint8 (n,).

    A JPEG of at least twice the target size is decoded at 1/2, 1/4 or 1/8 of its size, the smallest
    that is large enough, and resized from there. This averages pixels that im2rec skips, because
    im2rec interpolates between 2 x 2 pixels of the full size. So the result is closer to the
    photograph and several times as fast, but not im2rec's; ``options.im2rec_pixels`` gives that.
    """
    import cv2

    if treatment is Treatment.KEEP:  # OpenCV, and so im2rec, turns what is not left unchanged
        unturned = options.color == "unchanged"
        treatment = Treatment.AS_STORED if unturned else Treatment.UPRIGHT
    size, reduction = _reduction(data, treatment, options)
    pixels = _decode_for(data, treatment, reduction, options)
    if options.center_crop:
        left, top, side = centred_square(pixels.shape[1], pixels.shape[0])
        pixels = pixels[top : top + side, left : left + side]
    if options.resize:
        size = size or new_size(pixels.shape[1], pixels.shape[0], options.resize)
        if min(size) < 1:
            raise ImageError("image-corrupt", f"resize {options.resize} leaves {size} pixels")
        pixels = _resize(pixels, size, cv2.INTER_LINEAR)
    return encode(pixels, options)


def _decode_for(
    data: bytes | memoryview, treatment: Treatment, reduction: int, options: Encoding
) -> Pixels:
    """The pixels to change. Those that an encoder would cut off at 255 come with 8 bits."""
    pixels = decode(data, treatment, reduction, options.color)
    fits = ("uint8", "uint16") if options.encoding == "png" else ("uint8",)
    if pixels.dtype not in fits:
        gray = pixels.ndim == 2
        pixels = decode(data, treatment, reduction, "gray" if gray else "rgb")
    return pixels


def _reduction(
    data: bytes | memoryview, treatment: Treatment, options: Encoding
) -> tuple[tuple[int, int] | None, int]:
    """The size to resize an image to, from its full size, and the reduction to decode it with.
    The size is None when nothing is reduced."""
    # a crop is exact to the pixel, which a reduced image does not allow
    exact = options.center_crop or options.im2rec_pixels or options.color == "unchanged"
    if not options.resize or exact:
        return None, 1
    header = parse_header(data)
    if header.kind != "jpeg":
        return None, 1
    stored = header.width, header.height
    width, height = stored if treatment is Treatment.AS_STORED else header.upright
    for reduction in (8, 4, 2):
        if min(width, height) >= reduction * options.resize:
            return new_size(width, height, options.resize), reduction
    return None, 1
