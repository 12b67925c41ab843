from __future__ import annotations

from recpack.data.annotation import Annotation
from recpack.formats.image_header import ImageHeader
from recpack.scanning.judge import Judge
from recpack.scanning.settings import JudgeSettings
from recpack.sources.base import Item


def test_a_dropped_box_of_any_size_is_no_warning() -> None:
    edges = [1.0, 2.0, 30.0, 40.0, 1e308, 1e308, 1.5e308, 1.5e308]
    annotation = Annotation("a.jpg", 60.0, 50.0, ["cat", "dog"], edges, [0, 0], [1, 2], 2)
    judge = Judge(JudgeSettings())
    judge.add(Item("a.xml", None, annotation, "a.jpg", 9, ImageHeader("jpeg", 60, 50, 3, 8)))
    found = judge.finish()
    assert [(one.code, one.object) for one in found.problems] == [("box-off-image", 2)]
    assert len(found.labels) == 2 + 5
