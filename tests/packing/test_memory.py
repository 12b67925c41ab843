"""Peak memory is jobs × segment size, less than 300 bytes an image, and the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.devkits import box_xml, jpeg, xml

pytestmark = pytest.mark.slow

MEASURE = """
import re, sys
import cv2, joblib, recpack
from recpack.pipeline.convert import convert
import recpack.pipeline.second_pass
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
before = peak()
convert(sys.argv[1], sys.argv[2], jobs=1, overwrite=True, segment_size=sys.argv[3])
print(peak() - before)
"""

SMALL, LARGE = 10_000, 100_000


@pytest.fixture(scope="module")
def devkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many images as the larger run takes, few of them different; image sets choose."""
    root = tmp_path_factory.mktemp("memory")
    folder = root / "VOC2012"
    for name in ("Annotations", "JPEGImages", "ImageSets/Main", "pool"):
        (folder / name).mkdir(parents=True)
    for kind in range(40):
        (folder / "pool" / f"{kind}.jpg").write_bytes(jpeg(60, 40, kind))
        boxes = [box_xml("cat", (1 + n, 2, 30, 20)) for n in range(1 + kind % 4)]
        (folder / "pool" / f"{kind}.xml").write_text(xml(60, 40, *boxes))
    ids = [f"2012_{number:06d}" for number in range(LARGE)]
    for number, id_ in enumerate(ids):
        pool = folder / "pool" / str(number % 40)
        os.link(f"{pool}.jpg", folder / "JPEGImages" / f"{id_}.jpg")
        os.link(f"{pool}.xml", folder / "Annotations" / f"{id_}.xml")
    for name, count in (("few", 100), ("small", SMALL), ("large", LARGE)):
        listed = folder / "ImageSets" / "Main" / f"{name}.txt"
        listed.write_text("".join(f"{id_}\n" for id_ in ids[:count]))
    return root


def peak(devkit: Path, image_set: str, segment_size: str, output: Path) -> int:
    script = MEASURE.replace("jobs=1", f"jobs=1, set={image_set!r}")
    run = subprocess.run(
        [sys.executable, "-c", script, devkit, output, segment_size],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(run.stdout)


def test_metadata_takes_less_than_300_bytes_an_image(devkit: Path, tmp_path: Path) -> None:
    small = peak(devkit, "small", "1MiB", tmp_path / "a.rec")
    large = peak(devkit, "large", "1MiB", tmp_path / "b.rec")
    assert (large - small) / (LARGE - SMALL) < 300


def test_a_worker_takes_one_segment(devkit: Path, tmp_path: Path) -> None:
    one = peak(devkit, "small", "1MiB", tmp_path / "a.rec")
    eight = peak(devkit, "small", "8MiB", tmp_path / "b.rec")
    assert eight - one < 8 << 20
