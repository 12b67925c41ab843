"""InsightFace's and MXNet's readers take our files of faces and classes, and we take MXNet's."""

from __future__ import annotations

from pathlib import Path

import pytest

import recpack
from tests.conftest import Oracle
from tests.support.devkits import jpeg
from tests.support.faces import PEOPLE, face_rows, make_faces


def test_insightface_reads_every_image_and_label(oracle: Oracle, tmp_path: Path) -> None:
    root = make_faces(tmp_path / "in")
    recpack.convert(root, tmp_path / "train.rec", source_format="identities", jobs=2)
    found = oracle("faces", tmp_path)
    rows = face_rows(root)
    assert found["property"] == [len(PEOPLE), 48, 48]
    assert found["images"] == [
        [int(label[0]), image.hex(), [48, 48, 3]] for _, label, image in rows if image
    ]
    assert found["ranges"] == [label for _, label, image in rows[1:] if not image]
    assert recpack.verify(tmp_path / "train.rec", reader="insightface").records == len(rows)


def test_what_mxnet_wrote_is_ours_to_the_byte(oracle: Oracle, tmp_path: Path) -> None:
    root = make_faces(tmp_path / "in")
    ours, theirs = tmp_path / "o" / "train.rec", tmp_path / "t" / "train.rec"
    theirs.parent.mkdir()
    recpack.convert(root, ours, source_format="identities", jobs=1)
    rows = [[key, label, image.hex()] for key, label, image in face_rows(root)]
    oracle("write", theirs, theirs.with_suffix(".idx"), rows)
    for suffix in (".rec", ".idx"):
        assert theirs.with_suffix(suffix).read_bytes() == ours.with_suffix(suffix).read_bytes()
    assert recpack.verify(theirs, reader="insightface").records == len(rows)
    with recpack.RecordReader(theirs) as records:
        found = [(one.kind, one.label.tolist(), one.image_bytes.hex()) for one in records]
    kinds = ["class" if image else "table" for _, _, image in rows]
    expected = zip(kinds, (row[1] for row in rows), (row[2] for row in rows), strict=True)
    assert found == list(expected)
    # without names the folders are numbers, in the same order
    recpack.unpack(theirs, tmp_path / "u")
    again = recpack.convert(tmp_path / "u", tmp_path / "again.rec", source_format="identities")
    assert again.manifest.classes == ("0", "1", "2")
    assert (tmp_path / "again.rec").read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("kind", ["one class", "several"])
def test_mxnet_reads_class_files(oracle: Oracle, tmp_path: Path, kind: str) -> None:
    rec = tmp_path / "a.rec"
    if kind == "one class":
        recpack.convert(make_faces(tmp_path / "in"), rec, shuffle=3, jobs=1)
    else:
        with recpack.RecordWriter(rec) as writer:
            for number in range(6):
                writer.write(jpeg(seed=number), label=[number % 2, 1, number % 3 == 0])
    with recpack.RecordReader(rec) as records:
        labels = [record.label.tolist() for record in records]
    assert recpack.verify(rec, reader="image-classification").records == len(labels) == 6
    assert oracle("class_iter", rec, rec.with_suffix(".idx"), len(labels[0])) == labels
    assert oracle("data_set", rec) == labels
