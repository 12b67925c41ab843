"""Damaged documents of every kind are read, or end in recpack's own errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recpack
from recpack.data.classes import ClassMap
from recpack.errors import RecpackError
from recpack.storage.s3.uploads import Marker
from tests.support.damage import DEEP, VALUES, damaged, damaged_rows, escapes
from tests.support.datasets import CLASSES, WRITERS, Picture
from tests.support.devkits import encode_record, jpeg
from train.detections import parse_response
from train.errors import TrainError

pytestmark = pytest.mark.slow

PICTURES = [Picture(60, 40, [(0, 1, 2, 30, 20), (1, 5, 5, 50, 39)]), Picture(40, 60, [])]

FILES = {
    "coco": "annotations/instances_train2017.json",
    "image-json": "train_annotation/000.json",
    "augmented-manifest": "train.manifest",
}


@pytest.fixture
def rec(tmp_path: Path) -> Path:
    """A small finished output."""
    root = WRITERS["voc"](tmp_path / "voc", PICTURES)
    recpack.convert(root, tmp_path / "a.rec", jobs=1)
    return tmp_path / "a.rec"


@pytest.mark.parametrize("name", FILES)
def test_data_sets_in_json(tmp_path: Path, name: str) -> None:
    root = WRITERS[name](tmp_path / "d", PICTURES)
    file = (root if root.is_dir() else root.parent) / FILES[name]
    first, *others = file.read_text().split("\n")  # other formats have one line

    def read(text: str) -> None:
        file.write_text("\n".join([text, *others]))
        recpack.check(root, jobs=1)

    assert escapes(damaged(json.loads(first)), read, RecpackError) == []


def test_a_yolo_folder(tmp_path: Path) -> None:
    root = WRITERS["yolo"](tmp_path / "d", PICTURES)
    document: dict[str, Any] = {
        "path": ".", "train": ["images/train"], "val": "images/train", "nc": 3, "kpt_shape": [4, 3],
    }  # fmt: skip

    def read(text: str, name: str = "data.yaml") -> None:
        (root / name).write_text(text)
        recpack.check(root, jobs=1, set="train")

    for names in (list(CLASSES), {str(id_): name for id_, name in enumerate(CLASSES)}):
        assert escapes(damaged(document | {"names": names}, VALUES), read, RecpackError) == []
    with pytest.raises(RecpackError):
        read(json.dumps(document)[:-1] + f', "names": {DEEP}}}')
    read(json.dumps({"train": "images/train", "names": list(CLASSES)}))
    labels = "labels/train/000.txt"
    rows = (root / labels).read_text()
    assert escapes(damaged_rows(rows), lambda text: read(text, labels), RecpackError) == []


def test_a_manifest(rec: Path, tmp_path: Path) -> None:
    path = rec.with_suffix(".json")
    document = json.loads(path.read_text())
    assert {"rec", "classes", "num_samples"} <= document.keys()

    def verify(text: str) -> None:
        path.write_text(text)
        recpack.verify(rec, jobs=1, reader="sagemaker")

    assert escapes(damaged(document), verify, RecpackError) == []
    other = tmp_path / "b.rec"
    for suffix in (".rec", ".idx"):
        other.with_suffix(suffix).write_bytes(rec.with_suffix(suffix).read_bytes())
    other.with_suffix(".json").write_text(json.dumps(document))

    def use(text: str) -> None:
        path.write_text(text)
        recpack.Manifest.read(path)
        recpack.inspect(rec).as_dict()
        recpack.unpack(rec, tmp_path / "out", overwrite=True)
        recpack.merge(tmp_path / "c.rec", [other, rec], overwrite=True)
        recpack.preview(rec, tmp_path / "a.png", cell=32)

    least = {name: document[name] for name in document if name not in ("options", "source")}
    assert escapes(damaged(least), use, RecpackError) == []

    def name(text: str) -> None:
        path.write_text(text)
        ClassMap.read(path).ids()

    assert escapes(damaged(document), name, RecpackError) == []


INF, NAN, HUGE = float("inf"), float("nan"), 3.4e38
LABELS: dict[str, list[float]] = {
    "infinite box": [2, 5, 1, 0, 0, INF, 1],
    "box of infinities": [2, 5, 1, INF, -INF, -INF, INF],
    "box without numbers": [2, 5, 1, NAN, 0, 1, NAN],
    "huge box": [2, 5, 1, -HUGE, -HUGE, HUGE, HUGE],
    "infinite class": [2, 5, INF, 0, 0, 1, 1],
    "no class": [2, 5, NAN, 0, 0, 1, 1],
    "huge class": [2, 5, HUGE, 0, 0, 1, 1],
    "half a class": [2, 5, 1.5, 0, 0, 1, 1],
    "infinite header": [INF, 5, 1, 0, 0, 1, 1],
    "header beyond the end": [1e9, 5, 1, 0, 0, 1, 1],
    "infinite width": [2, INF, 1, 0, 0, 1, 1],
    "negative widths": [-2, -5, 1, 0, 0, 1, 1],
    "no number": [NAN],
    "infinite number": [INF],
    "nothing": [],
    "sixth column": [2, 6, 1, 0, 0, 1, 1, NAN],
    "3,000 boxes": [2, 5] + [1, 0.1, 0.1, 0.2, 0.2] * 3000,
    "long": [1.0] * 100_000,
}


@pytest.mark.parametrize("image", [jpeg(), b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"junk"])
@pytest.mark.parametrize("first", [0, (1 << 64) - 2])
def test_odd_labels_ids_and_images(tmp_path: Path, image: bytes, first: int) -> None:
    rec = tmp_path / "a.rec"
    chosen = LABELS if image == jpeg() else dict(list(LABELS.items())[::7])
    for name, label in chosen.items():
        rec.with_suffix(".idx").unlink(missing_ok=True)
        rec.write_bytes(b"".join(encode_record(first + k, label, image) for k in range(2)))
        uses: list[Callable[[], object]] = [
            lambda: recpack.inspect(rec).as_dict(),
            lambda: recpack.reindex(rec),
            lambda: recpack.preview(rec, tmp_path / "a.png", cell=64),
            lambda: recpack.unpack(rec, tmp_path / "out", overwrite=True),
            lambda: recpack.merge(tmp_path / "b.rec", [rec, rec], overwrite=True),
            lambda: recpack.verify(rec, jobs=1),
            lambda: recpack.verify(rec, jobs=1, reader="sagemaker"),
            lambda: recpack.verify(rec, jobs=1, reader="mxnet"),
            lambda: recpack.verify(rec, jobs=1, reader="gluoncv"),
            lambda: recpack.verify(rec, jobs=1, reader="dali"),
        ]
        for number, use in enumerate(uses):
            try:
                use()
            except RecpackError:
                pass
            except Exception as error:
                raise AssertionError(f"{name}, use {number}") from error


def test_an_index(rec: Path) -> None:
    path = rec.with_suffix(".idx")

    def read(text: str) -> None:
        path.write_text(text)
        with recpack.RecordReader(rec) as records:
            for position in range(len(records)):
                _ = records[position].label
        recpack.verify(rec, jobs=1)

    assert escapes(damaged_rows(path.read_text()), read, RecpackError) == []


def test_a_list(rec: Path, tmp_path: Path) -> None:
    path = rec.with_suffix(".lst")

    def read(text: str) -> None:
        path.write_text(text)
        recpack.unpack(rec, tmp_path / "out", overwrite=True)
        recpack.pack(path, tmp_path / "voc", recpack.MemorySink(), jobs=1)

    assert escapes(damaged_rows(path.read_text()), read, RecpackError) == []


def test_a_marker_of_an_upload() -> None:
    document = {"key": "a/b.rec", "upload_id": "1", "plan": {"options": "00"}, "fresh": True}

    def read(text: str) -> None:
        Marker.from_json(text.encode())

    assert escapes(damaged(document), read, ValueError) == []


@pytest.mark.parametrize(
    "document",
    [
        {"prediction": [[0, 0.9, 0.1, 0.1, 0.5, 0.5]]},
        {
            "image_size": [{"width": 9, "height": 9, "depth": 3}],
            "annotations": [
                {"class_id": 0, "score": 1, "left": 1, "top": 1, "width": 2, "height": 2}
            ],
        },
    ],
)
def test_the_answer_of_an_endpoint(document: dict[str, Any]) -> None:
    def read(text: str) -> None:
        parse_response(text.encode(), CLASSES, 60, 40).pixels()

    assert escapes(damaged(document), read, TrainError) == []
