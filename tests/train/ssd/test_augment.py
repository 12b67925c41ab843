"""Pictures and boxes that are changed together."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recpack
from tests.conftest import Oracle
from tests.support.devkits import jpeg
from train.errors import TrainError
from train.ssd.augment import Boxes, Pixels, View, augment, choose, decode, resize, show

WIDTH, HEIGHT, SIDE = 120, 90, 100
EDGES = ((10, 12, 40, 50), (60, 30, 110, 80), (70, 5, 90, 20))
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def rows(*edges: tuple[float, ...]) -> Boxes:
    found = np.zeros((len(edges), 6), np.float32)
    found[:, 0] = range(len(edges))
    found[:, 1:5] = np.reshape(edges, (-1, 4))
    return found


def picture() -> tuple[Pixels, Boxes]:
    """A rectangle of each colour on black, and their boxes; every second one is difficult."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for (left, top, right, bottom), colour in zip(EDGES, COLOURS, strict=True):
        pixels[top:bottom, left:right] = colour
    boxes = rows(*EDGES)
    boxes[:, 1:5] /= WIDTH, HEIGHT, WIDTH, HEIGHT
    boxes[:, 5] = boxes[:, 0] % 2
    return pixels, boxes


def found_in(square: Pixels, colour: int) -> npt.NDArray[np.bool_]:
    """Where a rectangle's colour is the strongest; hues change by less than a fifth."""
    values = square.astype(int)
    others = np.delete(values, colour, 2)
    return np.asarray((values[..., colour] > others.max(2)) & (np.ptp(values, axis=2) > 45))


def test_boxes_follow_their_pixels() -> None:
    pixels, boxes = picture()
    before = pixels.copy(), boxes.copy()
    seen = np.zeros(3, int)
    for seed in range(300):
        square, kept = augment(pixels, boxes, SIDE, np.random.default_rng(seed))
        view, again = choose(WIDTH, HEIGHT, boxes, SIDE, np.random.default_rng(seed))
        np.testing.assert_array_equal(kept, again)
        assert square.shape == (SIDE, SIDE, 3)
        assert len(kept) > 0, "a crop holds the centre of an object"
        # a source pixel can be this wide in the square
        most = 1.5 + max((a.end - a.begin) / (a.stop - a.start) for a in view[:2])
        for id_, left, top, right, bottom, difficult in kept.tolist():
            assert difficult == id_ % 2
            mask = found_in(square, int(id_))
            seen[int(id_)] += 1
            across, down = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            if len(across) == 0:  # it can be smaller than a pixel
                assert min(right - left, bottom - top) * SIDE < 3
                continue
            edges = [across[0], down[0], across[-1] + 1, down[-1] + 1]
            np.testing.assert_allclose(edges, np.multiply(kept[kept[:, 0] == id_, 1:5][0], SIDE),
                                       atol=most)  # fmt: skip
    assert seen.min() > 100
    np.testing.assert_array_equal(before[0], pixels)
    np.testing.assert_array_equal(before[1], boxes)


def centre_in(view: View, box: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Where a box's centre is, as ratios of the square's side, not mirrored."""
    x, y = (box[1] + box[3]) / 2 * WIDTH, (box[2] + box[4]) / 2 * HEIGHT
    return (float(view.across.place(np.array([x]), SIDE)[0]),
            float(view.down.place(np.array([y]), SIDE)[0]))  # fmt: skip


def test_an_object_is_kept_if_its_centre_is() -> None:
    _, boxes = picture()
    lost = 0
    for seed in range(500):
        view, kept = choose(WIDTH, HEIGHT, boxes, SIDE, np.random.default_rng(seed))
        for box in boxes:
            centre = centre_in(view, box)
            if all(0.03 < one < 0.97 for one in centre):
                assert box[0] in kept[:, 0]
            elif not all(-0.03 < one < 1.03 for one in centre):
                assert box[0] not in kept[:, 0]
                lost += 1
    assert lost > 50


def test_the_chances() -> None:
    """Of a picture without objects the first crop is taken."""
    views = [choose(600, 600, rows(), 300, np.random.default_rng(seed))[0] for seed in range(4000)]
    whole = [view for view in views if view[:2] == ((0, 600, 0, 300),) * 2]
    assert np.mean([view.mirrored for view in views]) == pytest.approx(0.5, abs=0.03)
    assert len(whole) / len(views) == pytest.approx(1 / 6 * (1 - 0.5 * 2.95 / 3), abs=0.015)
    grey = np.mean([
        (view.across.end - view.across.begin) * (view.down.end - view.down.begin) < 300 * 300
        for view in views
    ])  # fmt: skip
    assert 0.35 < grey < 0.5, "half are zoomed out, and few crops of those are inside the picture"


def test_colours_are_changed_and_grey_is_not() -> None:
    pixels = np.full((30, 30, 3), (140, 100, 60), np.uint8)
    whole = choose(30, 30, rows(), 30, np.random.default_rng(0))[0]
    whole = View(whole.across._replace(start=0, stop=30, begin=0, end=15),
                 whole.down._replace(start=0, stop=30, begin=0, end=30), False)  # fmt: skip
    hues, kept = [], 0
    for seed in range(1500):
        square = show(pixels, whole, 30, np.random.default_rng(seed))
        assert (square[:, 15:] == 127).all()
        assert (square[:, :15] == square[0, 0]).all()
        kept += square[0, 0].tolist() == [140, 100, 60]
        hues.append(int(cv2.cvtColor(square[:1, :1], cv2.COLOR_RGB2HLS)[0, 0, 0]) - 15)
    assert np.percentile(np.abs(hues), 99) <= 19
    assert np.mean(np.abs(hues) >= 2) == pytest.approx(0.5 * 16.5 / 18, abs=0.05)
    assert kept / 1500 == pytest.approx(0.5**4, abs=0.03)


@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    edges=st.lists(st.tuples(*[st.floats(-0.5, 1.5, width=32)] * 4), max_size=6),
    side=st.integers(1, 40),
    seed=st.integers(0, 1 << 32),
)
def test_any_picture_and_any_boxes(
    size: tuple[int, int], edges: list[tuple[float, ...]], side: int, seed: int
) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    boxes = rows(*edges)
    boxes[1::3, 0] = -1
    square, kept = augment(pixels, boxes, side, np.random.default_rng(seed))
    assert square.shape == (side, side, 3)
    assert square.dtype == np.uint8
    assert square.flags["C_CONTIGUOUS"]
    assert kept.dtype == np.float32
    assert set(kept[:, 0]) <= {one for one in boxes[:, 0] if one >= 0}
    assert ((kept[:, 1:5] >= 0) & (kept[:, 1:5] <= 1)).all()
    assert (kept[:, 3:5] > kept[:, 1:3]).all()


def distance(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> float:
    """Between two distributions, as Kolmogorov and Smirnov have it. A little noise, so that the
    share of pictures that were not changed counts, not their last digits."""
    random = np.random.default_rng(0)
    one, two = (np.sort(a + random.normal(0, 0.004, len(a))) for a in (ours, theirs))
    both = np.concatenate([one, two])
    shares = [np.searchsorted(a, both, "right") / len(a) for a in (one, two)]
    return float(np.abs(shares[0] - shares[1]).max())


def test_boxes_are_where_mxnet_puts_them(tmp_path: Path, oracle: Oracle) -> None:
    """The same numbers give the same distributions: sizes, places, how many are left."""
    count, samplers = 1500, 5
    boxes = rows((0.3, 0.35, 0.6, 0.75), (0.55, 0.1, 0.95, 0.5))
    image = jpeg(80, 60)
    with recpack.RecordWriter(tmp_path / "a.rec") as writer:
        for _ in range(count):
            writer.write(image, boxes[:, :5])
    theirs = oracle("record_iter", tmp_path / "a.rec", 20, {
        "rand_crop_prob": samplers / (samplers + 1), "num_crop_sampler": samplers,
        "min_crop_scales": [0.3] * samplers, "max_crop_scales": [1.0] * samplers,
        "min_crop_aspect_ratios": [0.5] * samplers, "max_crop_aspect_ratios": [2.0] * samplers,
        "min_crop_overlaps": [0.1, 0.3, 0.5, 0.7, 0.9], "max_crop_overlaps": [1.0] * samplers,
        "min_crop_sample_coverages": [0.0] * samplers,
        "max_crop_sample_coverages": [1.0] * samplers,
        "min_crop_object_coverages": [0.0] * samplers,
        "max_crop_object_coverages": [1.0] * samplers,
        "max_crop_trials": [25] * samplers, "crop_emit_mode": "center", "rand_mirror_prob": 0.5,
        "rand_pad_prob": 0.5, "max_pad_scale": 4.0,
        "inter_method": 10, "seed": 3, "batch_size": 100,
    })  # fmt: skip
    labels = [np.array(label[4:]) for _, label in theirs]
    found = [label[2:].reshape(-1, 5)[:, :6] for label in (one[:12] for one in labels)]
    theirs_kept = [one[one[:, 0] >= 0] for one in found]
    ours_kept = [
        choose(80, 60, boxes, 64, np.random.default_rng(seed))[1][:, :5] for seed in range(count)
    ]
    for id_ in (0, 1):
        pair = [
            np.concatenate([one[one[:, 0] == id_, 1:5] for one in kept]).astype(np.float64)
            for kept in (ours_kept, theirs_kept)
        ]
        assert abs(len(pair[0]) - len(pair[1])) < 0.05 * count
        ours, other = (
            np.stack([one[:, 2] - one[:, 0], one[:, 3] - one[:, 1], one[:, 0], one[:, 1]])
            for one in pair
        )
        assert max(map(distance, ours, other)) < 0.06


def encode(extension: str, pixels: npt.NDArray[np.generic]) -> bytes:
    return cv2.imencode(extension, pixels)[1].tobytes()


def turned(image: bytes, orientation: int) -> bytes:
    tag = struct.pack("<HHII", 0x112, 3, 1, orientation)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + tag + bytes(4)
    return image[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + image[2:]


def kinds() -> dict[str, bytes]:
    ramp = np.linspace(0, 255, 96 * 64 * 3).reshape(64, 96, 3).astype(np.uint8)
    ramp[:32, :48] = (20, 60, 200)
    alpha = np.dstack([ramp, np.full((64, 96), 128, np.uint8)])
    return {
        "jpeg": encode(".jpg", ramp), "png": encode(".png", ramp),
        "grey jpeg": encode(".jpg", ramp[..., 0]), "grey png": encode(".png", ramp[..., 0]),
        "16 bits": encode(".png", ramp.astype(np.uint16) * 257), "alpha": encode(".png", alpha),
        **{f"turned {one}": turned(encode(".jpg", ramp), one) for one in (3, 6, 8)},
    }  # fmt: skip


def test_pictures_are_read_as_mxnet_reads_them(tmp_path: Path, oracle: Oracle) -> None:
    with recpack.RecordWriter(tmp_path / "a.rec") as writer:
        for image in kinds().values():
            writer.write(image, rows((0, 0, 1, 1))[:, :5])
    theirs = oracle("record_pixels", tmp_path / "a.rec")
    for (kind, image), pixels in zip(kinds().items(), theirs, strict=True):
        ours = resize(decode(image, kind), 64).astype(float)
        assert np.abs(ours - pixels).mean() < 1.5, kind


@pytest.mark.parametrize("kind", kinds())
def test_kinds_of_images(kind: str) -> None:
    pixels = decode(kinds()[kind], kind)
    assert pixels.shape == ((96, 64, 3) if kind in ("turned 6", "turned 8") else (64, 96, 3))
    if kind in ("jpeg", "png", "alpha", "16 bits"):
        np.testing.assert_allclose(pixels[5, 5], (200, 60, 20), atol=6)


def test_cmyk() -> None:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("CMYK", (40, 30), (0, 255, 255, 0)).save(file, "JPEG")
    pixels = decode(file.getvalue(), "x")
    assert pixels.shape == (30, 40, 3)
    assert pixels[5, 5, 0] > 200 > 60 > pixels[5, 5, 1:].max()


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(40)]
)
def test_what_is_no_image_is_named(data: bytes) -> None:
    with pytest.raises(TrainError, match=r"a\.rec: record 3: "):
        decode(data, "a.rec: record 3")
