"""The drawn pictures of the demonstration."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import recpack
from recpack.demo.story import CLASSES, make_devkit

pytestmark = pytest.mark.once

CHANNELS = {"ball": 2, "box": 1, "cone": 0}
"""Red, green and blue, in OpenCV's order."""


def test_easy_pictures_have_a_colour_for_each_class(tmp_path: Path) -> None:
    make_devkit(tmp_path / "devkit", 12, easy=True)
    recpack.convert(tmp_path / "devkit", tmp_path / "easy.rec", classes=CLASSES, jobs=1)
    seen = set()
    with recpack.RecordReader(tmp_path / "easy.rec") as records:
        for record in records:
            pixels = cv2.imdecode(np.frombuffer(record.image_bytes, np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None
            height, width = pixels.shape[:2]
            assert sorted((height, width)) == [240, 320]
            id_, left, top, right, bottom = record.boxes[-1, :5].tolist()  # it hides the others
            middle = pixels[int((top + bottom) / 2 * height), int((left + right) / 2 * width)]
            name = CLASSES[int(id_)]
            assert middle.argmax() == CHANNELS[name]
            seen.add(name)
    assert seen == set(CLASSES)
