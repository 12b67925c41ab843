"""Files of classes, without boxes, in the commands on ``.rec`` files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import recpack
from recpack.cli.app import main
from recpack.formats.manifest import Manifest
from recpack.formats.record import Record
from recpack.records.preview import contact_sheet
from recpack.records.reader_rules import Whole, rule_of
from recpack.records.unpack import safe_folder
from tests.sources.test_wild import encoded, pixels
from tests.support.devkits import jpeg
from tests.support.faces import make_faces


def written(rec: Path, classes: Sequence[str], labels: Sequence[object]) -> Path:
    with recpack.RecordWriter(rec, classes=classes) as writer:
        for number, label in enumerate(labels):
            writer.write(jpeg(seed=number), label=label)
    return rec


def labels(rec: Path) -> list[list[float]]:
    with recpack.RecordReader(rec) as records:
        return [record.label.tolist() for record in records]


@pytest.mark.parametrize(
    ("label", "image", "width", "code", "value"),
    [
        ([1.0], jpeg(), 1, None, ""),
        ([1.0], encoded(".png", pixels(1)), 1, None, ""),
        ([2.0], jpeg(), 1, "record-class", "2"),
        ([-1.0], jpeg(), 1, "record-class", "-1"),
        ([0.5], jpeg(), 1, "record-class", "0.5"),
        ([float("inf")], jpeg(), 1, "record-class", "inf"),
        ([0, 1, 1], jpeg(), 3, None, ""),
        ([0, 1], jpeg(), 3, "record-label-differs", "2, of record 0 3"),
        ([2, 5, 0, 0, 0, 1, 1], jpeg(), 1, "record-label-differs", "7, of record 0 1"),
        ([1.0], b"none", 1, "record-image-kind", "unknown"),
        ([1.0], encoded(".bmp", pixels()), 1, "record-image-kind", "bmp"),
        ([4, 6], b"", 1, "record-empty", "4 6"),
    ],
)
def test_what_image_classification_demands(
    label: list[float], image: bytes, width: int, code: str | None, value: str
) -> None:
    vector = np.array(label, np.float32)
    manifest = Manifest.from_json(MANIFEST)
    rule = rule_of("image-classification", manifest, Whole(width))
    found = list(rule(Record(0, 0, len(vector), vector, image, 99), 3))
    assert [(one.code, one.value, one.file) for one in found] == (
        [(code, value, "record 3 at byte 99")] if code else []
    )


MANIFEST = json.dumps({
    "rec": {"name": "a.rec", "bytes": 1, "checksum": None}, "num_samples": 1,
    "classes": ["cat", "dog"], "label_width": 1, "header_width": 0, "object_width": 0,
    "objects": {}, "problems": {}, "options": {}, "source": {}, "list_checksum": None,
    "recpack_version": "1", "format_version": 1,
})  # fmt: skip


def test_one_label_width_for_the_file(tmp_path: Path) -> None:
    rec = written(tmp_path / "a.rec", [], [[0, 1], [1, 1], [1, 0, 1]])
    with pytest.raises(recpack.DataError, match="pack images of one kind of label") as caught:
        recpack.verify(rec, reader="image-classification")
    assert [one.code for one in caught.value.problems] == ["record-label-differs"]


def test_inspect_counts_images_by_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rec = written(tmp_path / "a.rec", ["cat", "dog", "eel"], [0, 2, 2])
    found = recpack.inspect(rec)
    assert found.label_kinds == {"class": 3}
    assert found.class_images == {"cat": 1, "eel": 2}
    assert (found.classes, found.objects_total, found.faces) == ({}, 0, None)
    assert main(["inspect", str(rec)]) == 0
    told = capsys.readouterr().out
    assert "images by class" in told
    assert "class 3" in told
    assert main(["inspect", str(rec), "--record", "1"]) == 0
    assert "class   eel" in capsys.readouterr().out
    several = written(tmp_path / "b.rec", ["cat", "dog", "eel"], [[0, 1, 1], [0, 1, 0]])
    found = recpack.inspect(several)
    assert (found.label_kinds, found.scalar_labels) == ({"classes": 2}, 2)
    assert found.class_images == {"cat": 0, "dog": 2, "eel": 1}
    numbers = written(tmp_path / "c.rec", [], [[0.5, 1], [0, 1]])
    assert recpack.inspect(numbers).class_images == {}
    assert recpack.inspect(numbers).label_kinds == {"classes": 1, "numbers": 1}
    many = written(tmp_path / "d.rec", [], list(range(205)))
    assert main(["inspect", str(many)]) == 0
    assert "  and 5 more; --json shows all" in capsys.readouterr().out


def test_names_are_on_the_sheet() -> None:
    manifest = Manifest.from_json(MANIFEST)

    def sheet(label: list[float], manifest: Manifest | None) -> bytes:
        vector = np.array(label, np.float32)
        record = Record(0, 0, 0, vector, jpeg(200, 100))
        return contact_sheet([record], 1, manifest, 400).tobytes()

    named = [sheet([1], manifest), sheet([0], manifest), sheet([1], None), sheet([1, 1], manifest)]
    assert len(set(named)) == 4
    assert sheet([0, 1], manifest) == sheet([1], manifest)  # the column of a dog
    assert sheet([0.5, 1], manifest) == sheet([0.5, 1], None)


def test_unpacked_into_a_folder_for_each_class(tmp_path: Path) -> None:
    root = make_faces(tmp_path / "in", {"animals": 1, "animals/cat": 2, "zebra": 2})
    recpack.convert(root, tmp_path / "a.rec", shuffle=None)
    recpack.unpack(tmp_path / "a.rec", tmp_path / "u")
    files = {str(path.relative_to(tmp_path / "u")) for path in (tmp_path / "u").rglob("*.*")}
    assert files == {"a.lst", *(str(path.relative_to(root)) for path in root.rglob("*.jpg"))}
    recpack.pack(tmp_path / "u" / "a.lst", tmp_path / "u", tmp_path / "b.rec")
    recpack.convert(tmp_path / "u", tmp_path / "c.rec", shuffle=None)
    for name in "bc":
        assert (tmp_path / f"{name}.rec").read_bytes() == (tmp_path / "a.rec").read_bytes()
    manifests = [Manifest.read(tmp_path / f"{name}.json") for name in "ac"]
    assert manifests[0].classes == manifests[1].classes == ("animals", "animals/cat", "zebra")


def test_several_classes_lie_together(tmp_path: Path) -> None:
    rec = written(tmp_path / "a.rec", ["cat", "dog"], [[0, 1], [1, 1]])
    recpack.unpack(rec, tmp_path / "u")
    rows = (tmp_path / "u" / "a.lst").read_text()
    assert rows.startswith("0\t0.0\t1.0\tJPEGImages/00000000.jpg\n1\t1.0\t1.0\t")
    recpack.pack(tmp_path / "u" / "a.lst", tmp_path / "u", tmp_path / "b.rec")
    assert (tmp_path / "b.rec").read_bytes() == rec.read_bytes()


NAMES = ["../up", "/etc/x", "..", ".", "a/../b", "", " ", ".hidden/x", "tab\there", "nul\0", "a//b",
         "x" * 300, "é" * 300, "a.lst", "property", "JPEGImages", "a_b", "a\nb", "-1"]  # fmt: skip


def test_names_of_strangers_lead_nowhere_else(tmp_path: Path) -> None:
    names = list(dict.fromkeys(NAMES))
    rec = written(
        tmp_path / "a.rec", [str(number) for number in range(len(names))], list(range(len(names)))
    )
    manifest = json.loads(rec.with_suffix(".json").read_text())
    manifest |= {"classes": names, "objects": dict.fromkeys(names, 1)}
    rec.with_suffix(".json").write_text(json.dumps(manifest))
    before = sorted(tmp_path.iterdir())
    found = recpack.unpack(rec, tmp_path / "u")
    assert found.images == len(names)
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "u"])
    images = list((tmp_path / "u").rglob("*.jpg"))
    assert len({path.parent for path in images}) == len(images) == len(names)  # each its own folder
    assert not [
        path for path in images if any(part[0] == "." for part in path.parts[len(tmp_path.parts) :])
    ]
    recpack.pack(tmp_path / "u" / "a.lst", tmp_path / "u", tmp_path / "b.rec")
    assert (tmp_path / "b.rec").read_bytes() == rec.read_bytes()
    assert safe_folder("animals/cat") == "animals/cat"


def test_classes_are_merged_by_name(tmp_path: Path) -> None:
    first = written(tmp_path / "a.rec", ["cat", "dog"], [0, 1])
    second = written(tmp_path / "b.rec", ["eel", "cat"], [0, 1])
    manifest = recpack.merge(tmp_path / "c.rec", [first, second])
    assert labels(tmp_path / "c.rec") == [[0], [1], [2], [0]]
    assert dict(manifest.objects) == {"cat": 2, "dog": 1, "eel": 1}
    several = [
        written(tmp_path / "d.rec", ["cat", "dog"], [[1, 0]]),
        written(tmp_path / "e.rec", ["eel", "cat"], [[1, 0], [1, 1]]),
        written(tmp_path / "f.rec", ["eel", "dog", "cat"], [[1, 1, 0]]),
    ]
    recpack.merge(tmp_path / "g.rec", several)
    assert labels(tmp_path / "g.rec") == [[1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1]]


def test_labels_that_do_not_merge(tmp_path: Path) -> None:
    class_ = written(tmp_path / "a.rec", ["cat"], [0])
    boxes = written(tmp_path / "b.rec", ["cat"], [[2, 5, 0, 0, 0, 1, 1]])
    several = written(tmp_path / "c.rec", ["cat", "dog"], [[1, 1]])
    numbers = written(tmp_path / "d.rec", ["cat", "eel"], [[0.5, 1]])
    for one, other, message in (
        (class_, boxes, r"b\.rec: its first record has boxes, that of .*a\.rec a class"),
        (boxes, several, r"c\.rec: .* has several numbers and no boxes, that of .*b\.rec boxes"),
        (several, numbers, r"d\.rec: its labels are not a 0 or 1 for each of its 2 classes"),
    ):
        with pytest.raises(recpack.DataError, match=message):
            recpack.merge(tmp_path / "out.rec", [one, other])
        assert not (tmp_path / "out.rec").exists()
    for name, width in (("e", 2), ("f", 3)):
        written(tmp_path / f"{name}.rec", [], [[1] * width]).with_suffix(".json").unlink()
    with pytest.raises(recpack.DataError, match=r"f\.rec: .* label has 3 numbers, .* record 2"):
        recpack.merge(tmp_path / "out.rec", [tmp_path / "e.rec", tmp_path / "f.rec"])
