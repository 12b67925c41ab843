from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from recpack.data.samples import Treatment
from recpack.errors import ConfigError, ImageError
from recpack.formats.encoding import Encoding
from recpack.formats.image_codec import centred_square, decode, encode, new_size, reencode, shrink
from recpack.formats.image_header import check_whole, parse_header, read_header
from recpack.storage.limits import MAX_PIXELS
from tests.sources.test_wild import encoded, exif, pillow, pixels, upside_down
from tests.support.devkits import jpeg, with_comment


@pytest.mark.parametrize(
    ("data", "kind", "channels", "bits", "passes"),
    [
        (jpeg(), "jpeg", 3, 8, True),
        (encoded(".jpg", pixels(1)), "jpeg", 1, 8, False),
        (pillow("CMYK", "JPEG"), "jpeg", 4, 8, False),
        (pillow("RGB", "JPEG", progressive=True), "jpeg", 3, 8, True),
        (encoded(".png", pixels()), "png", 3, 8, True),
        (encoded(".png", pixels(4)), "png", 4, 8, False),
        (pillow("LA", "PNG"), "png", 2, 8, False),
        (encoded(".png", pixels(3, np.uint16)), "png", 3, 16, False),
        (encoded(".bmp", pixels()), "bmp", 3, 8, False),
        (pillow("RGB", "WEBP"), "webp", 3, 8, False),
        (pillow("RGB", "WEBP", lossless=True), "webp", 4, 8, False),
        (pillow("RGB", "WEBP", exif=upside_down()), "webp", 3, 8, False),
        (pillow("P", "GIF"), "gif", 3, 8, False),
        (pillow("RGB", "TIFF"), "tiff", 3, 8, False),
        (encoded(".tiff", pixels(3, np.uint16)), "tiff", 3, 16, False),
    ],
)
def test_headers(data: bytes, kind: str, channels: int, bits: int, passes: bool) -> None:
    found = parse_header(data)
    assert (found.kind, found.width, found.height) == (kind, 60, 40)
    assert (found.channels, found.bits, found.passes) == (channels, bits, passes)


def test_the_frame_is_found_behind_large_blocks() -> None:
    data = jpeg()
    for _ in range(5):
        data = with_comment(data, b"\xff\xc0" * 30_000)
    reads: list[int] = []

    def read(at: int, length: int) -> bytes:
        reads.append(length)
        return data[at : at + length]

    found = read_header(read, len(data))
    assert (found.width, found.height) == (60, 40)
    assert sum(reads) < 30_000


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        with_comment(jpeg(), bytes(50)),
        with_comment(jpeg(), bytes(5000)),
        exif(6),
        exif(8),
        encoded(".png", pixels()),
        pillow("RGB", "WEBP", exif=upside_down()),
        pillow("RGB", "TIFF"),
        encoded(".bmp", pixels()),
        pillow("P", "GIF"),
    ],
)
def test_the_bytes_that_were_read_already_are_enough(data: bytes) -> None:
    def read(at: int, length: int) -> bytes:
        reads.append(at)
        return data[at : at + length]

    for length in (64, 170, 512, len(data)):
        reads: list[int] = []
        assert read_header(read, len(data), data[:length]) == parse_header(data)
        if data[:3] == jpeg()[:3] == b"\xff\xd8\xff":
            assert 0 not in reads


@pytest.mark.parametrize("reduction", [1, 2])
def test_pixels_with_red_first(reduction: int) -> None:
    """By the decoder where OpenCV can, else afterwards."""
    for data in (exif(6), pillow("L", "PNG")):
        blue_first = decode(data, reduction=reduction)
        red_first = decode(data, reduction=reduction, red_first=True)
        assert red_first.flags.c_contiguous
        np.testing.assert_array_equal(red_first, blue_first[:, :, ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    found = parse_header(exif(orientation))
    assert found.orientation == orientation
    assert found.upright == ((40, 60) if orientation >= 5 else (60, 40))


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pixels_are_turned_as_the_header_says(kind: str, orientation: int) -> None:
    """By every version of OpenCV: some turn a WebP, and all turn a TIFF, whatever they are told."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    picture, file = Image.fromarray(smooth(60, 40)), io.BytesIO()
    picture.save(file, kind, exif=tags, **options)
    data = file.getvalue()
    assert (parse_header(data).orientation, parse_header(data).width) == (orientation, 60)
    picture.getexif()[0x0112] = orientation
    for treatment, expected in (
        (Treatment.UPRIGHT, ImageOps.exif_transpose(picture)),
        (Treatment.AS_STORED, picture),
    ):
        found = decode(data, treatment)[..., ::-1].astype(int)
        assert found.shape == np.asarray(expected).shape
        assert np.abs(found - np.asarray(expected)).mean() < 9


def exif_segment(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    value = struct.pack(order + {1: "B3x", 3: "H2x", 4: "I"}[kind], orientation)
    mark = b"II" if order == "<" else b"MM"
    tiff = struct.pack(order + "HIHHHI", 42, 8, 1, 0x0112, kind, 1) + value + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", 10 + len(tiff)) + b"Exif\0\0" + mark + tiff


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_an_orientation_of_another_kind_of_number(order: str, kind: int) -> None:
    """Some readers turn by it and some do not, so it must not stay in the record."""
    data = jpeg()[:2] + exif_segment(6, order, kind) + jpeg()[2:]
    assert (parse_header(data).orientation, parse_header(data).passes) == (6, False)
    made = bytes(reencode(data, Treatment.UPRIGHT, Encoding()))
    turned = parse_header(made)
    assert (turned.orientation, turned.width, turned.height) == (1, 40, 60)


def test_the_first_exif_block_counts() -> None:
    for first, second in ((1, 6), (6, 1)):
        data = jpeg()[:2] + exif_segment(first) + exif_segment(second) + jpeg()[2:]
        assert parse_header(data).orientation == first


def test_a_webp_whose_exif_block_is_missing() -> None:
    data = bytearray(pillow("RGB", "WEBP", exif=upside_down()))
    assert parse_header(bytes(data)).orientation == 3
    assert parse_header(bytes(data[: data.index(b"EXIF")])).orientation == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image-unknown"),
        (b"%PDF-1.4", "image-unknown"),
        (jpeg()[:100], "image-truncated"),
        (jpeg()[:2] + b"\xff\xd9" + bytes(100), "image-corrupt"),
        (jpeg()[:2] + b"\xff\0\x10\0" + jpeg()[2:].ljust(4094) + jpeg()[2:], "image-corrupt"),
        (b"\xff\xd8\xff" + b"\xff" * 5000, "image-corrupt"),
        (b"\xff\xd8" + b"\xff\xe0\0\2" * 5000, "image-corrupt"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "image-corrupt"),
        (encoded(".png", pixels())[:20], "image-truncated"),
        (b"GIF89a" + bytes(10), "image-corrupt"),
        (b"GIF89a", "image-truncated"),
        (b"RIFF\0\0\0\0WEBPVP8?" + bytes(20), "image-corrupt"),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(9), "image-truncated"),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, -5, 5) + bytes(20), "image-corrupt"),
        (b"II*\0" + struct.pack("<I", 1 << 31), "image-truncated"),
        (jpeg().replace(b"\0\x28\0\x3c", b"\xff\xff\xff\xff", 1), "image-too-large"),
        # found by fuzzing: an Exif segment too short for its own name
        (b"\xff\xd8\xff\xe1\0\4Exif\0\0" + bytes(30), "image-corrupt"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, code: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse_header(data)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (jpeg(), None),
        (jpeg() + bytes(60_000), None),
        (jpeg()[:-2], "image-truncated"),
        (encoded(".png", pixels()), None),
        (encoded(".png", pixels()) + b"more", None),
        (encoded(".png", pixels())[:-1], "image-truncated"),
        (encoded(".png", pixels())[:-13], "image-truncated"),
        (encoded(".png", np.zeros((400, 500, 3), np.uint8))[:200], "image-truncated"),
        (encoded(".png", pixels())[:-40] + b"?" + encoded(".png", pixels())[-39:], "image-corrupt"),
        (encoded(".bmp", pixels())[:60], None),
    ],
)
def test_whole_files(data: bytes, code: str | None) -> None:
    def read(at: int, length: int) -> bytes:
        return data[at : at + length]

    try:
        check_whole(parse_header(data), read, len(data))
        found = None
    except ImageError as error:
        found = error.code
    assert found == code


def test_endless_chunks_end() -> None:
    data = encoded(".png", pixels())
    chunk = b"\0\0\0\0tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))

    def read(at: int, length: int) -> bytes:
        if at < 33:
            return data[at : at + length]
        first = (at - 33) % 12
        return (chunk * 2)[first : first + length]

    with pytest.raises(ImageError, match="PNG chunks"):
        check_whole(parse_header(data), read, 1 << 40)


start_bytes = st.sampled_from(
    [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1\0\x10Exif\0\0II*\0", b"\x89PNG\r\n\x1a\n", b"GIF89a",
     b"BM", b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8L", b"RIFF\0\0\0\0WEBPVP8X", b"II*\0",
     b"MM\0*"]
)  # fmt: skip


@given(start_bytes, st.binary(max_size=120))
def test_any_bytes_have_a_header_or_an_error(start: bytes, rest: bytes) -> None:
    data = start + rest

    def read(at: int, length: int) -> bytes:
        assert at >= 0
        assert 0 <= length <= 1 << 16
        return data[at : at + length]

    try:
        found = read_header(read, len(data))
    except ImageError:
        return
    assert 0 < found.width * found.height <= MAX_PIXELS
    with contextlib.suppress(ImageError):
        check_whole(found, read, len(data))


@pytest.mark.parametrize(
    ("size", "shorter", "expected"),
    [
        ((500, 375), 300, (400, 300)),
        ((375, 500), 300, (300, 400)),
        ((333, 500), 100, (100, 150)),
        ((7, 7), 3, (3, 3)),
    ],
)
def test_geometry(size: tuple[int, int], shorter: int, expected: tuple[int, int]) -> None:
    assert new_size(*size, shorter) == expected
    data = jpeg(*size)
    found = decode(bytes(reencode(data, Treatment.UPRIGHT, Encoding(resize=shorter))))
    assert found.shape == (expected[1], expected[0], 3)


def smooth(width: int, height: int) -> npt.NDArray[np.uint8]:
    """A picture with soft and hard edges."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 120 * np.sin(x / (30 + 9 * i)) * np.cos(y / (25 + 5 * i)) for i in range(3)]
    picture = np.stack(waves, 2).astype(np.uint8)
    picture[height // 3 : height // 2, width // 3 : width // 2] = (255, 0, 90)
    return picture


@pytest.mark.parametrize(
    ("size", "shorter"),
    [((1201, 803), 100), ((803, 1201), 100), ((801, 400), 199), ((640, 480), 60)],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_reduced_decoding_keeps_im2recs_geometry(
    size: tuple[int, int], shorter: int, orientation: int
) -> None:
    tags = Image.Exif()
    tags[274] = orientation
    file = io.BytesIO()
    Image.fromarray(smooth(*size)).save(file, "JPEG", quality=95, exif=tags)
    for treatment in (Treatment.UPRIGHT, Treatment.AS_STORED):
        made = [
            decode(bytes(reencode(file.getvalue(), treatment, Encoding(resize=shorter, **exact))))
            for exact in ({}, {"im2rec_pixels": True})
        ]
        assert made[0].shape == made[1].shape
        assert not np.array_equal(*made)
        assert np.abs(made[0].astype(int) - made[1]).mean() < 12


def test_im2recs_pixels_are_those_of_the_full_size() -> None:
    data = encoded(".jpg", smooth(1200, 800))
    full = cv2.resize(decode(data), (150, 100), interpolation=cv2.INTER_LINEAR)
    asked = Encoding(resize=100, encoding="png", im2rec_pixels=True)
    np.testing.assert_array_equal(decode(bytes(reencode(data, Treatment.UPRIGHT, asked))), full)
    # the default is nearer to the average of all pixels, which im2rec mostly skips
    average = cv2.resize(decode(data), (150, 100), interpolation=cv2.INTER_AREA).astype(int)
    reduced = decode(bytes(reencode(data, Treatment.UPRIGHT, Encoding(resize=100, encoding="png"))))
    assert np.square(reduced - average).mean() < np.square(full - average).mean()


@pytest.mark.parametrize(
    ("kind", "size", "options"),
    [
        (".jpg", (199, 300), {}),  # less than twice the size
        (".png", (1200, 800), {}),
        (".jpg", (1200, 800), {"center_crop": True}),
    ],
)
def test_what_is_decoded_at_full_size(
    kind: str, size: tuple[int, int], options: dict[str, bool]
) -> None:
    data = encoded(kind, smooth(*size))
    made = [
        bytes(reencode(data, Treatment.UPRIGHT, Encoding(resize=100, **options, **exact)))
        for exact in ({}, {"im2rec_pixels": True})
    ]
    assert made[0] == made[1]


def test_a_process_of_its_own_is_settled() -> None:
    script = (
        "from recpack.formats.image_codec import tune_process; tune_process(); tune_process()\n"
        "import cv2; print(cv2.getNumThreads())"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1"]


def test_center_crop() -> None:
    assert centred_square(500, 375) == (62, 0, 375)
    assert centred_square(375, 501) == (0, 63, 375)
    data = encoded(".png", pixels())
    options = Encoding(center_crop=True, encoding="png")
    found = decode(bytes(reencode(data, Treatment.UPRIGHT, options)))
    np.testing.assert_array_equal(found, pixels()[:, 10:50])


def test_a_resize_that_leaves_nothing_is_an_error() -> None:
    data = encoded(".png", np.zeros((2, 900, 3), np.uint8))
    assert decode(bytes(reencode(data, Treatment.UPRIGHT, Encoding(resize=1)))).shape[0] == 1
    with pytest.raises(ImageError, match="can't decode"):
        decode(data[:33])


def test_png_and_jpeg_quality() -> None:
    def sizes(**options: Any) -> int:
        return len(encode(pixels(), Encoding(**options)))

    assert sizes(quality=30) < sizes(quality=90) < sizes(quality=100)
    assert sizes(encoding="png", quality=9) <= sizes(encoding="png", quality=0)
    with pytest.raises((ConfigError, cv2.error)):
        encode(pixels(), Encoding(encoding="nonsense"))


def test_shrink() -> None:
    assert shrink(pixels(), 30).shape == (20, 30, 3)
    assert shrink(pixels(), 300) is not None
    assert shrink(pixels(), 300).shape == (40, 60, 3)
    assert shrink(np.zeros((2, 900, 3), np.uint8), 30).shape == (1, 30, 3)


def test_channels() -> None:
    """The images of one channel, those with alpha and those of 16 bits, and what is left of them
    in each format."""
    four = np.random.RandomState(0).randint(0, 256, (64, 80, 4)).astype(np.uint8)
    gray, deep = four[:, :, 0], np.full((64, 80, 3), 100 * 257, np.uint16)

    def made(image: Any, color: Any, encoding: Any = "png", **options: Any) -> Any:
        chosen = Encoding(color=color, encoding=encoding, **options)
        data = bytes(reencode(encoded(".png", image), Treatment.KEEP, chosen))
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)

    for image in (four, gray, deep):
        assert made(image, "gray").shape == (64, 80)
        np.testing.assert_array_equal(made(image, "unchanged"), image)
        assert made(image, "rgb").shape == (64, 80, 3)
        assert made(image, "unchanged", "jpg").shape == (64, 80, 3)[: image.ndim]
    alike = cv2.cvtColor(four, cv2.COLOR_BGRA2GRAY)
    np.testing.assert_allclose(made(four, "gray").astype(int), alike, atol=1)
    # not cut off at 255, which would make it white
    assert made(deep, "unchanged", "jpg").mean() == pytest.approx(100, abs=2)
    assert made(four, "unchanged", resize=32).shape == (32, 40, 4)
    small = encoded(".jpg", smooth(800, 400))
    options = Encoding(color="gray", resize=100)
    assert decode(bytes(reencode(small, Treatment.KEEP, options)), color="gray").shape == (100, 200)


def test_gray_changes_every_image() -> None:
    assert Encoding(color="gray").changes_images
    assert not Encoding(color="unchanged").changes_images
    assert Encoding(color="gray").shaping()["color"] == "gray"
