from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import recpack
from recpack.cli.app import main
from recpack.colours import Colour, class_colour
from recpack.columns import Pixels
from recpack.errors import ConfigError, DataError, SinkError
from recpack.formats.record import Record
from recpack.records.preview import preview
from recpack.records.sheet import contact_sheet
from tests.support.devkits import jpeg


def record(boxes: list[list[float]], image: bytes | None = None) -> Record:
    label = np.array([2, 5, *(value for box in boxes for value in box)], np.float32)
    white = cv2.imencode(".png", np.full((100, 200, 3), (255, 254, 255), np.uint8))[1].tobytes()
    return Record(0, 0, len(label), label, white if image is None else image)


def where(sheet: Pixels, colour: Colour) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what has a colour, without the row of the legend."""
    rows, columns = np.nonzero((sheet == colour[::-1]).all(2))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_boxes_are_where_they_belong() -> None:
    sheet = contact_sheet([record([[3, 0.25, 0.5, 0.75, 0.9]])], None, 400)
    image_left, image_top, *_ = where(sheet, (255, 254, 255))
    pixels = sheet[image_top:, image_left:]
    assert pixels.shape[1] > 400  # the image has 400 x 200 pixels
    for x, y in ((100, 140), (298, 140), (200, 179), (200, 100)):
        assert tuple(pixels[y, x]) == class_colour(3)[::-1], (x, y)
    assert (pixels[140, 200] == (255, 254, 255)).all()


def test_a_sheet_has_the_shape_of_a_slide() -> None:
    """Its width too; a few small images are not blown up."""
    photo = jpeg(500, 375)
    for count, shape in ((15, (5, 3)), (6, (3, 2)), (1, (1, 1))):
        records = [record([[0, 0.1, 0.1, 0.5, 0.5]], photo)] * count
        height, width = contact_sheet(records, None, title=("train.rec", "all")).shape[:2]
        assert 0.6 < width / height / (16 / 9) < 1.2, (width, height)
        if count > 1:
            assert 1850 < width <= 1920, shape
        else:
            assert 1000 <= width < 1100
    many = [record([[0, 0.1, 0.1, 0.5, 0.5]] * 13, photo)] * 15
    assert 3700 < contact_sheet(many, None).shape[1] <= 3840


def test_the_legend_names_the_classes_that_are_shown() -> None:
    def sheet(*ids: float) -> Pixels:
        return contact_sheet([record([[id_, 0.1, 0.2, 0.4, 0.8] for id_ in ids])], None, 500)

    one, two = sheet(5), sheet(5, 7)
    last = one[-40:]
    assert (last == class_colour(5)[::-1]).all(2).any()
    assert not (last == class_colour(7)[::-1]).all(2).any()
    assert (two[-40:] == class_colour(7)[::-1]).all(2).any()
    assert sheet(*range(300)).shape[0] < 1.6 * one.shape[0]


def test_names_in_any_script_and_of_any_length(tmp_path: Path) -> None:
    names = ["自行车", "Straßenkegel", "x" * 3000, "line\nbreak", "\u202eturned", ""]
    with recpack.RecordWriter(tmp_path / "a.rec", classes=names) as writer:
        for id_ in range(len(names)):
            writer.write(jpeg(), [[id_, 0.1, 0.1, 0.9, 0.9]])
    assert len(preview(tmp_path / "a.rec", tmp_path / "a.png", count=6, cell=64)) == 6
    assert len(preview(tmp_path / "a.rec", tmp_path / "b.png", count=6)) == 6


def test_records_that_are_odd() -> None:
    odd = [
        record([[0, -5, float("nan"), float("inf"), 9]]),
        record([[-1, -1, -1, -1, -1]]),
        record([], b"no image"),
        Record(0, 0, 1, np.array([4], np.float32), jpeg()),
        record([[1e9, 0, 0, 1, 1]], jpeg(1, 300)),
        record([[float("inf"), 0, 0, 1, 1], [1, -3e38, 3e38, float("inf"), 1]]),
    ]
    sheet = contact_sheet(odd, None, 100)
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 20


def test_the_choice(devkit: Path, tmp_path: Path) -> None:
    recpack.convert(devkit, tmp_path / "a.rec")
    first = preview(tmp_path / "a.rec", tmp_path / "a.png", count=9, seed=1)
    assert first == sorted(first)
    assert len(first) == 9
    assert preview(tmp_path / "a.rec", tmp_path / "b.png", count=9, seed=1) == first
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert preview(tmp_path / "a.rec", tmp_path / "b.jpg", count=9, seed=2) != first
    assert len(preview(tmp_path / "a.rec", tmp_path / "c.png", count=999)) == 120
    assert preview(tmp_path / "a.rec", tmp_path / "c.png", records=[-1, 5]) == [-1, 5]
    code = main(["preview", str(tmp_path / "a.rec"), str(tmp_path / "d.png"), "--records", "3,4"])
    assert code == 0
    drawn = cv2.imread(str(tmp_path / "d.png"))
    assert drawn is not None
    assert drawn.shape[1] > 700


def test_what_is_refused(devkit: Path, tmp_path: Path) -> None:
    recpack.convert(devkit, tmp_path / "a.rec")
    for output, options, error, message in (
        ("a.gif", {}, ConfigError, "must end in .png or .jpg"),
        ("a.png", {"records": [120]}, DataError, "no record 120; there are 120"),
        ("a.png", {"records": []}, ConfigError, "records: name at least one position"),
        ("a.png", {"count": 0}, ConfigError, "count: must be 1 to 10,000"),
        ("a.rec/a.png", {}, SinkError, "can't be written"),
    ):
        with pytest.raises(error, match=message):
            preview(tmp_path / "a.rec", tmp_path / output, **options)
    assert main(["preview", str(tmp_path / "a.rec"), "x.png", "--records", "a,b"]) == 2
    for _ in range(2):  # in a folder that is made, as that of convert
        assert main(["preview", str(tmp_path / "a.rec"), str(tmp_path / "new/x.png"), "-q"]) == 0
