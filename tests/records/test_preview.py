from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import recpack
from recpack.cli.app import main
from recpack.errors import ConfigError, DataError, SinkError
from recpack.formats.record import Record
from recpack.records.preview import _ink, _Plate, _room, _size, contact_sheet, preview
from tests.support.devkits import jpeg


def record(boxes: list[list[float]], image: bytes | None = None) -> Record:
    label = np.array([2, 5, *(value for box in boxes for value in box)], np.float32)
    white = cv2.imencode(".png", np.full((100, 200, 3), 255, np.uint8))[1].tobytes()
    return Record(0, 0, len(label), label, white if image is None else image)


def test_boxes_are_where_they_belong() -> None:
    sheet = contact_sheet([record([[3, 0.25, 0.5, 0.75, 0.9]])], 1, None, 400)
    assert sheet.shape == (416, 416, 3)
    image = sheet[108:308, 8:408]  # 400 x 200 pixels, in the middle of its cell
    assert (image[50, 20] == 255).all()
    for x, y in ((100, 140), (300, 140), (200, 180), (200, 100)):
        assert tuple(image[y, x]) == _ink(3), (x, y)
    assert (image[140, 200] == 255).all()
    assert (sheet[50] == 32).all()  # the paper


def test_fifty_names_meet_nowhere() -> None:
    boxes = np.random.RandomState(0).randint(0, 700, (50, 2))
    placed: list[_Plate] = []
    for left, top in boxes.tolist():
        plate = _room([left, top, left + 90, top + 90], "pottedplant", (800, 800), placed)
        assert not any(plate.meets(other) for other in placed)
        assert 0 <= plate.left < plate.right <= 800
        assert 0 <= plate.top < plate.bottom <= 800
        assert (plate.right - plate.left, plate.bottom - plate.top) == _size("pottedplant")
        placed.append(plate)


def test_records_that_are_odd() -> None:
    odd = [
        record([[0, -5, float("nan"), float("inf"), 9]]),
        record([[-1, -1, -1, -1, -1]]),
        record([], b"no image"),
        Record(0, 0, 1, np.array([4], np.float32), jpeg()),
        record([[1e9, 0, 0, 1, 1]], jpeg(1, 300)),
        record([[float("inf"), 0, 0, 1, 1], [1, -3e38, 3e38, float("inf"), 1]]),
    ]
    sheet = contact_sheet(odd, 6, None, 100)
    assert sheet.shape == (2 * 108 + 8, 3 * 108 + 8, 3)
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
        ("none/a.png", {}, SinkError, "can't be written"),
    ):
        with pytest.raises(error, match=message):
            preview(tmp_path / "a.rec", tmp_path / output, **options)
    assert main(["preview", str(tmp_path / "a.rec"), "x.png", "--records", "a,b"]) == 2
