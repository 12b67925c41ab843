"""Kind, size and completeness of image files, from their first and last bytes.

The parser follows the formats themselves: JPEG (ITU-T T.81 annex B, Exif 2.3 for the orientation),
PNG (ISO/IEC 15948), GIF89a, BMP (BITMAPINFOHEADER and BITMAPCOREHEADER), WebP (RIFF container) and
TIFF 6.0. It reads a few hundred bytes and never decodes a pixel.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from isal import isal_zlib

from recpack.errors import ImageError
from recpack.storage.limits import MAX_IMAGE, MAX_PIXELS

ReadAt = Callable[[int, int], bytes]
"""``read(offset, length)``: ``length`` bytes, fewer only at the end of the file."""


class ImageHeader(NamedTuple):
    """The header of an image file: ``width`` and ``height`` in pixels as stored, ``channels`` of
    ``bits`` each, the EXIF ``orientation`` (1 to 8), and the offset in bytes of a JPEG's
    ``frame``."""

    kind: str
    width: int
    height: int
    channels: int
    bits: int
    orientation: int = 1
    frame: int = 0

    @property
    def passes(self) -> bool:
        """Whether every reader of a ``.rec`` can read the file unchanged."""
        return (
            self.kind in ("jpeg", "png")
            and self.channels == 3
            and self.bits == 8
            and self.orientation == 1
        )

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) after the EXIF orientation is applied."""
        if self.orientation >= 5:
            return self.height, self.width
        return self.width, self.height


def parse_header(data: bytes | memoryview) -> ImageHeader:
    """``read_header`` of a whole file."""
    return read_header(lambda offset, length: bytes(data[offset : offset + length]), len(data))


def read_header(read: ReadAt, size: int, head: bytes | None = None) -> ImageHeader:
    """Parse the header of a file of ``size`` bytes. Its first bytes decide the kind, not its name;
    ``head``: those that were read already, 64 at least or all.

    Raises ImageError (codes ``image-unknown``, ``image-truncated``, ``image-corrupt``,
    ``image-too-large``).
    """
    if size > MAX_IMAGE:
        raise ImageError("image-too-large", f"{size:,} bytes, more than {MAX_IMAGE:,}")
    if head is None:
        head = read(0, 4096)
    try:
        header = _parse(head, read, size)
    except (struct.error, IndexError):
        raise ImageError("image-truncated", f"{size:,} bytes") from None
    if header is None:
        raise ImageError("image-unknown", f"first bytes {head[:8]!r}")
    width, height = header.width, header.height
    if width <= 0 or height <= 0:
        raise ImageError("image-corrupt", f"{width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise ImageError("image-too-large", f"{width:,} x {height:,} pixels")
    return header


def _parse(head: bytes, read: ReadAt, size: int) -> ImageHeader | None:
    if head[:3] == b"\xff\xd8\xff":
        return _jpeg(head, read, size)
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(head, read)
    if head[:6] in (b"GIF87a", b"GIF89a"):
        width, height = struct.unpack_from("<HH", head, 6)
        return ImageHeader("gif", width, height, 3, 8)
    if head[:2] == b"BM":
        if struct.unpack_from("<I", head, 14)[0] == 12:
            width, height, _, bits = struct.unpack_from("<HHHH", head, 18)
        else:
            width, height, _, bits = struct.unpack_from("<iiHH", head, 18)
        return ImageHeader("bmp", width, abs(height), 4 if bits == 32 else 3, 8)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp(head, read)
    if head[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(read)
    return None


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD8)))
_SKIPPED = frozenset(
    0xFF00 + marker
    for marker in frozenset(range(0x02, 0xFF)) - _FRAMES - _BARE_MARKERS - {0xD9, 0xDA, 0xE1}
)
_MAX_MARKERS = 4096
_MARKER = struct.Struct(">HH").unpack_from
_FRAME = struct.Struct(">BHHB").unpack_from

EXTENSIONS = {
    ".jpg": "jpeg", ".jpeg": "jpeg", ".jpe": "jpeg", ".jfif": "jpeg", ".png": "png",
    ".bmp": "bmp", ".dib": "bmp", ".gif": "gif", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff",
}  # fmt: skip
"""The kind that a file of this extension should have."""
IMAGE_ENDINGS = tuple(EXTENSIONS)
"""For ``str.endswith``, of a name in lower case."""


def _jpeg(head: bytes, read: ReadAt, size: int) -> ImageHeader:
    orientation, at, base, most = 0, 2, 0, len(head) - 20
    for _ in range(_MAX_MARKERS):
        if at > most and base + len(head) < size:
            head, base = read(at, 4096), at  # behind a large Exif, ICC or thumbnail block
            most = base + len(head) - 20
        marker, length = _MARKER(head, at - base)
        if marker in _SKIPPED and length >= 2:  # the common case, checked first
            at += 2 + length
            continue
        prefix, marker = divmod(marker, 0x100)
        if prefix != 0xFF:
            raise ImageError("image-corrupt", f"no JPEG marker at byte {at}")
        if marker == 0xFF or marker in _BARE_MARKERS:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAMES:
            bits, height, width, channels = _FRAME(head, at - base + 4)
            return ImageHeader("jpeg", width, height, channels, bits, orientation or 1, at)
        # 0: a decoder skips no length, and takes the frame that may be in what seems skipped
        if marker in (0x00, 0xD9, 0xDA) or length < 2:
            raise ImageError("image-corrupt", f"JPEG marker {marker:#x} at byte {at}")
        if marker == 0xE1 and not orientation:  # the first Exif block counts
            start = at - base + 4
            if head[start : start + 6] == b"Exif\0\0" and length > 8:
                orientation = _exif_orientation(read(at + 10, min(length - 8, 4096)))
        at += 2 + length
    raise ImageError("image-corrupt", f"more than {_MAX_MARKERS} JPEG markers before the frame")


_INTEGERS = {1: "B", 3: "H", 4: "I"}
"""By the kinds of TIFF. An orientation has kind 3, but readers turn by the others too."""


def _exif_orientation(tiff: bytes) -> int:
    """The orientation tag of the first directory; 1 when it is missing or invalid."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(min(entries, 256)):
            at = directory + 2 + 12 * entry
            tag, kind, _ = struct.unpack_from(order + "HHI", tiff, at)
            if tag == 0x0112 and kind in _INTEGERS:
                (value,) = struct.unpack_from(order + _INTEGERS[kind], tiff, at + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def _png(head: bytes, read: ReadAt) -> ImageHeader:
    length, name, width, height, bits, colour = struct.unpack_from(">I4sIIBB", head, 8)
    if name != b"IHDR" or length != 13 or colour not in _PNG_CHANNELS:
        raise ImageError("image-corrupt", "no PNG header chunk")
    orientation, at = 1, 33
    for _ in range(64):  # an eXIf chunk that readers use is before the pixels
        chunk = head[at : at + 8] if at + 8 <= len(head) else read(at, 8)
        if len(chunk) < 8:
            break
        length, name = struct.unpack(">I4s", chunk)
        if name == b"eXIf":
            orientation = _exif_orientation(read(at + 8, min(length, 4096)))
        if name in (b"eXIf", b"IDAT", b"IEND"):
            break
        at += 12 + length
    return ImageHeader("png", width, height, _PNG_CHANNELS[colour], bits, orientation)


def _webp(head: bytes, read: ReadAt) -> ImageHeader:
    kind = head[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return ImageHeader("webp", width & 0x3FFF, height & 0x3FFF, 3, 8)
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", head, 21)
        return ImageHeader("webp", (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1, 4, 8)
    if kind == b"VP8X":
        width = int.from_bytes(head[24:27], "little") + 1
        height = int.from_bytes(head[27:30], "little") + 1
        head[29]  # IndexError when the size is cut off
        orientation = _webp_orientation(read) if head[20] & 0x08 else 1
        return ImageHeader("webp", width, height, 4 if head[20] & 0x10 else 3, 8, orientation)
    raise ImageError("image-corrupt", f"WebP chunk {kind!r}")


def _webp_orientation(read: ReadAt) -> int:
    at = 12
    for _ in range(64):  # the Exif block is behind the pixels
        chunk = read(at, 8)
        if len(chunk) < 8:
            break
        name, length = struct.unpack("<4sI", chunk)
        if name == b"EXIF":
            return _exif_orientation(read(at + 8, min(length, 4096)).removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    return 1


def _tiff(read: ReadAt) -> ImageHeader:
    head = read(0, 8)
    order = "<" if head[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", head, 4)
    (entries,) = struct.unpack(order + "H", read(directory, 2))
    table = read(directory + 2, 12 * min(entries, 512))
    values = {256: 0, 257: 0, 258: 1, 274: 1, 277: 1}
    for at in range(0, len(table) - 11, 12):
        tag, kind, count, value = struct.unpack_from(order + "HHII", table, at)
        if tag in values and kind in (3, 4):
            if kind == 3:
                (value,) = struct.unpack_from(order + "H", table, at + 8)
            if tag == 258 and count > 2:  # bits per sample, one number per channel, are elsewhere
                (offset,) = struct.unpack_from(order + "I", table, at + 8)
                (value,) = struct.unpack(order + "H", read(offset, 2))
            values[tag] = value
    orientation = values[274] if 1 <= values[274] <= 8 else 1
    return ImageHeader("tiff", values[256], values[257], values[277], values[258], orientation)


_BLOCK = 64 << 10
_MAX_CHUNKS = 1 << 18


def check_whole(header: ImageHeader, read: ReadAt, size: int) -> None:
    """Check that a file is complete, without decoding it.

    A JPEG must have its end marker. A PNG must have all chunks up to the last, with correct
    checksums; this reads the whole file. Other kinds are decoded later anyway. Raises ImageError
    (``image-truncated``, ``image-corrupt``).
    """
    if header.kind == "jpeg":
        _check_jpeg(header, read, size)
    elif header.kind == "png":
        _check_png(read, size)


def _check_jpeg(header: ImageHeader, read: ReadAt, size: int) -> None:
    # A few bytes behind the end marker (padding, a maker's notes) do no harm, so the search covers
    # more than the last two bytes. It begins at the frame, because the thumbnail in an Exif block
    # has an end marker of its own.
    if read(max(size - 2, 0), 2) != b"\xff\xd9" and b"\xff\xd9" not in read(
        max(size - _BLOCK, header.frame), _BLOCK
    ):
        raise ImageError("image-truncated", f"{size:,} bytes without an end marker")


def _check_png(read: ReadAt, size: int) -> None:
    at = 8
    for _ in range(_MAX_CHUNKS):
        head = read(at, 8)
        if len(head) < 8:
            raise ImageError("image-truncated", f"{size:,} bytes without an end chunk")
        length, name = struct.unpack(">I4s", head)
        end = at + 8 + length
        crc = isal_zlib.crc32(name)
        for start in range(at + 8, min(end, size), _BLOCK):
            crc = isal_zlib.crc32(read(start, min(_BLOCK, end - start)), crc)
        stored = read(end, 4)
        if len(stored) < 4:
            raise ImageError("image-truncated", f"{size:,} bytes without an end chunk")
        if stored != struct.pack(">I", crc):
            raise ImageError("image-corrupt", f"PNG chunk {ascii(name)[2:-1]} at byte {at}")
        if name == b"IEND":
            return
        at = end + 4
    raise ImageError("image-corrupt", f"more than {_MAX_CHUNKS:,} PNG chunks")
