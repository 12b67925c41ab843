"""The same bytes as the AWS pipeline: its list step and im2rec.py, the real one."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import recpack
from benchmarks.aws import aws_list
from recpack.formats.image_codec import decode
from tests.conftest import Oracle

SAME_OPENCV = cv2.__version__.startswith("4.11")
"""Whether this leg has the build that im2rec runs with; then the pixels are equal too."""

AWS = {"shuffle": None, "precision": 4, "year": "2007,2012"}


@pytest.fixture(scope="session")
def aws(oracle: Oracle, devkit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the AWS pipeline's train.lst, train.rec and train.idx."""
    folder = tmp_path_factory.mktemp("aws")
    (folder / "train.lst").write_text(aws_list(devkit, ["2007", "2012"]))
    oracle("im2rec", [str(folder / "train"), str(devkit), "--pack-label", "--pass-through"])
    assert (folder / "train.rec").stat().st_size > 3 << 20
    return folder


def assert_equal_files(one: Path, other: Path) -> None:
    for suffix in (".lst", ".idx", ".rec"):
        left = one.with_suffix(suffix).read_bytes()
        assert left == other.with_suffix(suffix).read_bytes(), suffix


@pytest.mark.parametrize("jobs", [1, 2, 3, 8])
@pytest.mark.parametrize("segment_size", ["1MiB", "16MiB", "100KiB"])
def test_convert_equals_the_aws_pipeline(
    devkit: Path, aws: Path, tmp_path: Path, jobs: int, segment_size: str
) -> None:
    output = tmp_path / "train.rec"
    recpack.convert(devkit, output, jobs=jobs, segment_size=segment_size, **AWS)
    assert_equal_files(output, aws / "train.rec")


@pytest.mark.parametrize("backend", ["threading", "multiprocessing", "sequential"])
def test_any_backend_gives_the_same_bytes(
    devkit: Path, aws: Path, tmp_path: Path, backend: str
) -> None:
    output = tmp_path / "train.rec"
    recpack.convert(devkit, output, jobs=2, segment_size="1MiB", backend=backend, **AWS)
    assert_equal_files(output, aws / "train.rec")


@pytest.mark.parametrize("jobs", [1, 3])
def test_pack_equals_im2rec(devkit: Path, aws: Path, tmp_path: Path, jobs: int) -> None:
    output = tmp_path / "train.rec"
    recpack.pack(aws / "train.lst", devkit, output, jobs=jobs, segment_size="1MiB")
    assert_equal_files(tmp_path / "train.rec", aws / "train.rec")


def test_pack_keeps_a_shuffled_order_and_its_indices(
    oracle: Oracle, devkit: Path, aws: Path, tmp_path: Path
) -> None:
    lines = (aws / "train.lst").read_text().splitlines(keepends=True)
    (tmp_path / "im2rec").mkdir()
    (tmp_path / "im2rec" / "train.lst").write_text("".join(lines[60:] + lines[:60]))
    arguments = [str(tmp_path / "im2rec" / "train"), str(devkit), "--pack-label", "--pass-through"]
    oracle("im2rec", arguments)
    recpack.pack(
        tmp_path / "im2rec" / "train.lst",
        devkit,
        tmp_path / "train.rec",
    )
    assert_equal_files(tmp_path / "train.rec", tmp_path / "im2rec" / "train.rec")


def test_scalar_labels_equal_im2rec(oracle: Oracle, devkit: Path, tmp_path: Path) -> None:
    (tmp_path / "im2rec").mkdir()
    rows = "".join(f"{i}\t{i % 3}.000000\tVOC2007/JPEGImages/2007_{i:06d}.jpg\n" for i in range(10))
    (tmp_path / "im2rec" / "train.lst").write_text(rows)
    arguments = [str(tmp_path / "im2rec" / "train"), str(devkit), "--pass-through"]
    oracle("im2rec", arguments)
    listed = tmp_path / "im2rec" / "train.lst"
    result = recpack.pack(listed, devkit, tmp_path / "train.rec")
    assert_equal_files(tmp_path / "train.rec", tmp_path / "im2rec" / "train.rec")
    assert (result.manifest.label_width, result.manifest.object_width) == (1, 0)
    assert dict(result.manifest.objects) == {"0": 4, "1": 3, "2": 3}


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {"reencode": True}),
        (["--quality", "80"], {"reencode": True, "quality": 80}),
        (["--resize", "50"], {"resize": 50, "im2rec_pixels": True}),
        (["--resize", "300"], {"resize": 300}),
        (["--encoding", ".png", "--quality", "3"], {"reencode": True, "encoding": "png"}),
        (["--color", "0"], {"color": "gray"}),
        (
            ["--color", "0", "--resize", "50"],
            {"color": "gray", "resize": 50, "im2rec_pixels": True},
        ),
        (["--color", "-1"], {"color": "unchanged", "reencode": True}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_changed_images_equal_im2rec(
    oracle: Oracle,
    devkit: Path,
    aws: Path,
    tmp_path: Path,
    arguments: list[str],
    options: dict[str, object],
) -> None:
    shutil.copytree(aws, tmp_path / "aws", ignore=shutil.ignore_patterns("*.rec", "*.idx"))
    oracle("im2rec", [str(tmp_path / "aws" / "train"), str(devkit), "--pack-label", *arguments])
    sequential, parallel = tmp_path / "one.rec", tmp_path / "many.rec"
    recpack.convert(devkit, sequential, jobs=1, **options, **AWS)
    recpack.convert(devkit, parallel, jobs=3, segment_size="256KiB", **options, **AWS)
    assert_equal_files(parallel, sequential)
    if SAME_OPENCV:
        assert_equal_files(sequential, tmp_path / "aws" / "train.rec")
    theirs = oracle("read", tmp_path / "aws" / "train.rec", tmp_path / "aws" / "train.idx")
    ours = oracle("read", sequential, sequential.with_suffix(".idx"))
    assert len(ours) == 120
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    our_pixels = oracle("pixels", sequential, sequential.with_suffix(".idx"))
    their_pixels = oracle("pixels", tmp_path / "aws" / "train.rec", tmp_path / "aws" / "train.idx")
    for (our_shape, our_mean), (their_shape, their_mean) in zip(
        our_pixels, their_pixels, strict=True
    ):
        assert our_shape == their_shape
        # builds of OpenCV differ in their codecs by less than half a grey level
        assert our_mean == pytest.approx(their_mean, abs=0.5)


def test_center_crop_equals_im2rec(oracle: Oracle, devkit: Path, tmp_path: Path) -> None:
    (tmp_path / "im2rec").mkdir()
    listed = tmp_path / "im2rec" / "train.lst"
    rows = (f"{i}\t{i}.0\tVOC2007/JPEGImages/2007_{i:06d}.jpg\n" for i in range(10))
    listed.write_text("".join(rows))
    prefix = str(tmp_path / "im2rec" / "train")
    oracle("im2rec", [prefix, str(devkit), "--center-crop", "--resize", "70"])
    recpack.pack(listed, devkit, tmp_path / "train.rec", center_crop=True, resize=70)
    if SAME_OPENCV:
        assert_equal_files(tmp_path / "train.rec", tmp_path / "im2rec" / "train.rec")
    shapes = [
        [shape for shape, _ in oracle("pixels", folder / "train.rec", folder / "train.idx")]
        for folder in (tmp_path, tmp_path / "im2rec")
    ]
    assert shapes[0] == shapes[1] == [[70, 70, 3]] * 10


@pytest.mark.parametrize("encoding", ["jpg", "png"])
@pytest.mark.parametrize("color", [0, -1])
def test_channels_equal_im2rec(oracle: Oracle, tmp_path: Path, color: int, encoding: str) -> None:
    """Of images that are gray, have alpha, 16 bits or an EXIF orientation."""
    (tmp_path / "im2rec").mkdir()
    pixels = np.random.RandomState(1).randint(0, 256, (40, 60, 4)).astype(np.uint8)
    deep = np.random.RandomState(1).randint(0, 1 << 16, (40, 60, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "gray.jpg"), pixels[:, :, 0])
    cv2.imwrite(str(tmp_path / "alpha.png"), pixels)
    cv2.imwrite(str(tmp_path / "color.jpg"), pixels[:, :, :3])
    tags = Image.Exif()
    tags[274] = 6
    Image.fromarray(pixels[:, :, :3]).save(tmp_path / "turned.jpg", exif=tags)
    found = ["gray.jpg", "alpha.png", "color.jpg", "turned.jpg"]
    if (color, encoding) != (-1, "jpg"):  # whose 16 bits im2rec cuts off at 255
        cv2.imwrite(str(tmp_path / "deep.png"), deep)
        found.append("deep.png")
    listed = tmp_path / "im2rec" / "train.lst"
    listed.write_text("".join(f"{i}\t{i}.0\t{name}\n" for i, name in enumerate(found)))
    arguments = [str(tmp_path / "im2rec" / "train"), str(tmp_path), "--color", str(color)]
    quality = "95" if encoding == "jpg" else "3"
    oracle("im2rec", [*arguments, "--encoding", f".{encoding}", "--quality", quality])
    recpack.pack(
        listed, tmp_path, tmp_path / "train.rec", encoding=encoding, reencode=True,
        color="gray" if color == 0 else "unchanged",
    )  # fmt: skip
    if SAME_OPENCV:
        assert_equal_files(tmp_path / "train.rec", tmp_path / "im2rec" / "train.rec")
    with recpack.RecordReader(tmp_path / "train.rec") as records:
        shapes = [decode(one.image_bytes, color="unchanged").shape for one in records]
    alpha = (40, 60, 4) if encoding == "png" else (40, 60, 3)
    assert shapes[:4] == (
        [(40, 60)] * 3 + [(60, 40)] if color == 0 else [(40, 60), alpha, (40, 60, 3), (40, 60, 3)]
    )
