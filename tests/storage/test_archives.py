"""What holds for archives of each kind, alone and together."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import recpack
from recpack.cli.app import main
from tests.support.archives import made, make_tar, make_zip
from tests.support.datasets import Picture, write_coco, write_voc, write_yolo
from tests.support.devkits import box_xml, jpeg, xml

pytestmark = pytest.mark.usefixtures("cache")

Make = Callable[[Path, Path], Path]
KINDS = [make_tar, make_zip]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("backend", ["loky", "fork", "threading"])
def test_any_workers(
    devkit: Path, expected: dict[str, bytes], tmp_path: Path, make: Make, backend: str
) -> None:
    archive = make(devkit, tmp_path / "d")
    recpack.convert(archive, tmp_path / "x.rec", jobs=3, segment_size="1MiB", backend=backend)
    assert made(tmp_path) == expected


@pytest.mark.parametrize("kinds", list(itertools.product(KINDS, KINDS)))
def test_several_archives_are_one_devkit(
    devkit: Path, expected: dict[str, bytes], tmp_path: Path, kinds: tuple[Make, Make]
) -> None:
    parts = []
    for year, make in zip(("VOC2007", "VOC2012"), kinds, strict=True):
        shutil.copytree(devkit / year, tmp_path / year / "VOCdevkit" / year)
        ending = make.__name__.replace("make_", ".")
        parts.append(str(make(tmp_path / year / "VOCdevkit", tmp_path / f"{year}{ending}")))
    recpack.convert(parts, tmp_path / "x.rec", jobs=1)
    assert made(tmp_path) == expected
    assert main(["convert", *parts[::-1], str(tmp_path / "y.rec"), "--quiet"]) == 0
    assert (tmp_path / "y.rec").read_bytes() == expected[".rec"]
    assert main(["check", *parts, "--quiet"]) == 0
    assert main(["list", *parts, str(tmp_path / "z.lst"), "--quiet"]) == 0
    assert (tmp_path / "z.lst").read_bytes() == expected[".lst"]


@pytest.mark.parametrize("make", KINDS)
def test_later_archives_overlay_earlier_ones(tmp_path: Path, make: Make) -> None:
    both = []
    for name, seed in (("a", 1), ("b", 2)):
        folder = tmp_path / name / "V"
        for inner, content in (
            ("Annotations/1.xml", xml(60, 40, box_xml("cat", (1, 1, 9, 9))).encode()),
            ("JPEGImages/1.jpg", jpeg(seed=seed)),
        ):
            (folder / inner).parent.mkdir(parents=True)
            (folder / inner).write_bytes(content)
        both.append(make(folder, tmp_path / f"{name}.archive"))
    recpack.convert(both, tmp_path / "x.rec")
    with recpack.RecordReader(tmp_path / "x.rec") as records:
        assert [bytes(record.image_bytes) for record in records] == [jpeg(seed=2)]


@pytest.mark.parametrize("make", KINDS)
def test_pack(devkit: Path, expected: dict[str, bytes], tmp_path: Path, make: Make) -> None:
    (tmp_path / "rows.lst").write_bytes(expected[".lst"])
    recpack.pack(tmp_path / "rows.lst", make(devkit, tmp_path / "d"), tmp_path / "x.rec", jobs=2)
    assert made(tmp_path) == expected


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("write", [write_voc, write_coco, write_yolo])
def test_any_format(
    write: Callable[[Path, list[Picture]], Path], tmp_path: Path, kind: str
) -> None:
    """As exports are: the folder's content, without the folder."""
    pictures = [Picture(60 + number, 40, [(0, 1, 2, 30, 20)]) for number in range(5)]
    write(tmp_path / "data", pictures)
    archive = shutil.make_archive(str(tmp_path / "data"), kind, tmp_path / "data")
    recpack.convert(tmp_path / "data", tmp_path / "y.rec", classes="auto")
    result = recpack.convert(archive, tmp_path / "x.rec", classes="auto")
    assert result.manifest.num_samples == 5
    assert (tmp_path / "x.rec").read_bytes() == (tmp_path / "y.rec").read_bytes()
