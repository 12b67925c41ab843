"""InsightFace's files in the commands on ``.rec`` files."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest

import recpack
from recpack.cli.app import main
from recpack.colours import class_colour
from recpack.records.preview import preview
from recpack.storage.s3.objects import read
from tests.conftest import Store
from tests.sources.test_wild import encoded
from tests.support.devkits import jpeg
from tests.support.faces import Row, face_rows, make_faces, write_records

ROWS: list[Row] = [
    (0, [4, 6], b""),
    (1, [0], jpeg(48, 48, 1)),
    (2, [0], jpeg(48, 48, 2)),
    (3, [1], jpeg(48, 48, 3)),
    (4, [1, 3], b""),
    (5, [3, 4], b""),
]
"""Two identities, of two images and of one."""


def changed(key: int, label: list[float] | None = None, image: bytes | None = None) -> list[Row]:
    rows = list(ROWS)
    _, old, data = rows[key]
    rows[key] = (key, old if label is None else label, data if image is None else image)
    return rows


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (changed(0, [4, 7]), ["face-table: record 0 at byte 0: 6 records, the meta record says 7"]),
        (changed(0, [4, 5]), [
            "face-identity: record 3 at byte {3}: identity is 1, of 1",
            "face-table: record 5 at byte {5}: one more than the meta record says",
        ]),
        (changed(2, image=b""), ["record-empty: record 2 at byte {2}: 0"]),
        (changed(2, [2]), ["face-identity: record 2 at byte {2}: identity is 2, of 2"]),
        (changed(2, [0.5]), ["face-identity: record 2 at byte {2}: identity is 0.5, of 2"]),
        (changed(2, [np.nan]), ["face-identity: record 2 at byte {2}: identity is nan, of 2"]),
        (changed(2, [1, 0]), []),  # InsightFace takes the first number of a vector
        (changed(4, [1, 2]), ["face-table: record 5 at byte {5}: first key is 3, expected 2"]),
        (changed(4, [2, 3]), ["face-table: record 4 at byte {4}: first key is 2, expected 1"]),
        (changed(5, [2, 4]), ["face-table: record 5 at byte {5}: first key is 2, expected 3"]),
        (changed(5, [3, 5]), ["face-table: the last identity record: last key is 5, expected 4"]),
        (changed(5, [3]), [
            "face-table: record 5 at byte {5}: label 3, expected a table of keys",
            "face-table: the last identity record: last key is 3, expected 4",
        ]),
        (changed(5, image=jpeg(48, 48)), [
            "face-table: record 5 at byte {5}: an image, expected a table of keys",
            "face-table: the last identity record: last key is 3, expected 4",
        ]),
        (changed(3, image=b"no image"), ["record-image-kind: record 3 at byte {3}: unknown"]),
        (changed(3, image=encoded(".png", np.zeros((48, 48, 3), np.uint8))), []),
        (changed(3, image=jpeg(48, 40)), [
            "face-size: record 3 at byte {3}: size is 48 x 40, of 48 x 48"
        ]),
        (changed(0, image=jpeg(48, 48)), [
            "face-table: record 0 at byte 0: flag is 2, of an image",
            *(f"record-empty: record {key} at byte {{{key}}}: {label}"
              for key, label in ((4, "1 3"), (5, "3 4"))),
        ]),
        (ROWS[1:4], []),  # RecBuilder's, without tables
        ([*ROWS[1:3], (7, [2], jpeg(48, 48))], [
            "face-identity: record 2 at byte {2}: identity is 2, of 2",
        ]),
        (ROWS, []),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(tmp_path: Path, rows: list[Row], told: list[str]) -> None:
    rec = write_records(tmp_path / "train.rec", rows)
    (tmp_path / "property").write_text("2,48,48")
    index = rec.with_suffix(".idx").read_text().split("\n")
    offsets = [line.partition("\t")[2] for line in index]
    if not told:
        assert recpack.verify(rec, reader="insightface").records == len(rows)
        return
    with pytest.raises(recpack.DataError, match=r"remedy: (convert|bring|pack|unpack)") as caught:
        recpack.verify(rec, reader="insightface")
    found = []
    for one in caught.value.problems:
        value = f"{one.field} is {one.value}" if one.field else one.value
        found.append(f"{one.code}: {one.file}: {value}")
    assert found == [line.format(*offsets) for line in told]


def test_keys_are_what_the_tables_count(tmp_path: Path) -> None:
    rec = write_records(tmp_path / "train.rec", ROWS)
    lines = rec.with_suffix(".idx").read_text()
    rec.with_suffix(".idx").write_text(lines.replace("3\t", "9\t", 1))
    with pytest.raises(recpack.DataError, match=r"key of record 3 is 9, .*recpack index .*overwr"):
        recpack.verify(rec, reader="insightface")
    assert main(["index", str(rec), "--overwrite", "--quiet"]) == 0
    assert rec.with_suffix(".idx").read_text() == lines
    recpack.verify(rec, reader="insightface")
    rec.with_suffix(".idx").unlink()
    with pytest.raises(recpack.DataError, match="make one: recpack index"):
        recpack.verify(rec, reader="insightface")


@pytest.mark.parametrize("text", ["", "2,112", "2,112,112,3", "two,1,1", "9" * 5000])
def test_a_property_that_says_something_else(tmp_path: Path, text: str) -> None:
    rec = write_records(tmp_path / "train.rec", ROWS)
    (tmp_path / "property").write_text(text)
    for function in (recpack.inspect, lambda rec: recpack.verify(rec, reader="insightface")):
        with pytest.raises(recpack.DataError, match="property: "):
            function(rec)


@pytest.mark.parametrize("rows", [ROWS, ROWS[1:4]], ids=["tables", "images alone"])
def test_one_size_without_a_property(rows: list[Row], tmp_path: Path) -> None:
    """InsightFace stacks the images of a batch."""
    rec = write_records(tmp_path / "train.rec", rows)
    assert recpack.verify(rec, reader="insightface").records == len(rows)
    other = [(3, [1.0], jpeg(48, 40)) if row[0] == 3 else row for row in rows]
    write_records(rec, other)
    with pytest.raises(recpack.DataError, match="size 48 x 40, of 48 x 48") as caught:
        recpack.verify(rec, reader="insightface")
    assert [problem.code for problem in caught.value.problems] == ["face-size"]


def test_what_a_record_says_it_is() -> None:
    sink = recpack.MemorySink()
    with recpack.RecordWriter(sink) as writer:
        for label, image in (([4], b"x"), ([1, 0, 1], b"x"), ([4, 6], b""), ([2.5], b"x")):
            writer.write(image, label=label)
        writer.write(jpeg(), boxes=[[3, 0, 0, 1, 1]])
    class_, several, table, number, boxes = recpack.read_records(BytesIO(sink.files[".rec"]))
    assert (class_.class_id, class_.is_image, table.is_image, table.image_bytes) == (
        4,
        True,
        False,
        b"",
    )
    wrong: list[tuple[Callable[[], object], str]] = [
        (
            lambda: class_.boxes,
            "no detection label: its label is one number, 4: see record.class_id",
        ),
        (lambda: several.boxes, "its label has 3 numbers, not a header and whole objects; see"),
        (lambda: several.class_id, "no class id: its label has 3 numbers, .* see record.label"),
        (lambda: table.boxes, "it has no image: it is a table of ids, 2 numbers in record.label"),
        (lambda: number.class_id, "one number, 2.5: .* record.label for any"),
        (lambda: boxes.class_id, "no class id: its label has boxes, see record.boxes"),
    ]
    for ask, message in wrong:
        with pytest.raises(recpack.RecordError, match=message):
            ask()


def test_tables_are_not_drawn(tmp_path: Path) -> None:
    rec = write_records(tmp_path / "train.rec", ROWS)
    assert preview(rec, tmp_path / "a.png") == [1, 2, 3]
    assert preview(rec, tmp_path / "b.png", records=[1, 2, 3]) == [1, 2, 3]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    pixels = np.asarray(cv2.imread(str(tmp_path / "a.png")))
    assert (pixels == class_colour(0)[::-1]).all(2).any()  # the identity has a colour
    assert preview(rec, tmp_path / "c.png", records=[0, 1]) == [0, 1]
    write_records(rec, [ROWS[0]])
    with pytest.raises(recpack.DataError, match="no record with an image; there are 1"):
        preview(rec, tmp_path / "d.png")


def test_faces_of_one_identity_are_side_by_side(tmp_path: Path) -> None:
    """A random choice among a million identities would show each one once."""
    rows: list[Row] = [(0, [49, 55], b"")]
    rows += [(1 + key, [key // 8], jpeg(48, 48, key)) for key in range(48)]
    rows += [(49 + who, [1 + 8 * who, 9 + 8 * who], b"") for who in range(6)]
    rec = write_records(tmp_path / "train.rec", rows)
    chosen = preview(rec, tmp_path / "a.png", count=10)
    assert chosen == sorted(chosen)
    assert len(chosen) == 10
    assert len({(position - 1) // 8 for position in chosen}) <= 5
    assert len(preview(rec, tmp_path / "b.png", count=99)) == 48


def test_merged_identities_are_numbered_one_file_after_the_other(tmp_path: Path) -> None:
    """As if all folders had been one data set."""
    people = [{"a": 2, "b": 1}, {"c": 1}, {"d/e": 3, "f": 1}]
    parts = []
    for number, some in enumerate(people):
        root = make_faces(tmp_path / "in" / str(number), some)
        part = tmp_path / str(number) / "train.rec"
        recpack.convert(root, part, source_format="identities")
        parts.append(part)
    every = {
        f"{number}/{name}": count
        for number, some in enumerate(people)
        for name, count in some.items()
    }
    whole = write_records(tmp_path / "whole.rec", face_rows(tmp_path / "in", every))
    manifest = recpack.merge(tmp_path / "all" / "train.rec", parts)
    for suffix in (".rec", ".idx"):
        made = (tmp_path / "all" / "train.rec").with_suffix(suffix)
        assert made.read_bytes() == whole.with_suffix(suffix).read_bytes()
    assert (tmp_path / "all" / "property").read_text() == "5,48,48\n"
    assert recpack.verify(tmp_path / "all" / "train.rec", reader="insightface").records == 14
    assert manifest.classes == ("a", "b", "c", "d/e", "f")
    assert (manifest.num_samples, manifest.label_width) == (8, 1)
    assert manifest.source["format"] == "identities"  # training refuses it by this
    # the same names are other people in another file
    again = recpack.merge(tmp_path / "twice" / "train.rec", [parts[0], parts[0]])
    assert again.classes == ("0", "1", "2", "3")
    assert dict(again.objects) == {"0": 2, "1": 1, "2": 2, "3": 1}


def test_faces_that_do_not_merge(tmp_path: Path) -> None:
    first = write_records(tmp_path / "a.rec", ROWS)
    (tmp_path / "b").mkdir()
    second = write_records(tmp_path / "b" / "b.rec", changed(5, [2, 4]))
    with pytest.raises(
        recpack.DataError, match=r"b\.rec: its tables do not cover .* --reader insi"
    ):
        recpack.merge(tmp_path / "c.rec", [first, second])
    write_records(second, ROWS)
    (tmp_path / "property").write_text("2,48,48")
    (tmp_path / "b" / "property").write_text("2,112,112")
    with pytest.raises(
        recpack.DataError, match=r"b\.rec: its property says 2,112,112, that of .*a"
    ):
        recpack.merge(tmp_path / "c.rec", [first, second])
    (tmp_path / "b" / "property").unlink()
    (tmp_path / "o").mkdir()
    recpack.merge(tmp_path / "o" / "c.rec", [first, second])
    assert not (tmp_path / "o" / "property").exists()
    assert not (tmp_path / "c.rec").exists()


@pytest.mark.parametrize("label", [[4, 3e38], [np.nan, 6], [0, 6], [6, 4], [4.5, 6]])
def test_a_meta_record_that_can_not_be(tmp_path: Path, label: list[float]) -> None:
    rec = write_records(tmp_path / "train.rec", changed(0, label))
    found = recpack.inspect(rec)
    assert (found.faces, found.tables) == (None, 3)
    assert recpack.unpack(rec, tmp_path / "u").images == 3
    with pytest.raises(recpack.DataError, match="record holds a label and no image"):
        recpack.verify(rec, reader="insightface")


def test_inspect_counts_identities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rec = write_records(tmp_path / "train.rec", changed(3, [1, 0]))
    found = recpack.inspect(rec)
    assert found.label_kinds == {"class": 2, "classes": 1, "table": 3}
    assert found.class_images == {"0": 2, "1": 1}
    assert found.faces is not None
    assert (found.faces.identities, found.faces.images, found.faces.property) == (2, 3, None)
    (tmp_path / "property").write_text("2,48,48\n3\n")  # as RecBuilder writes it
    assert main(["inspect", str(rec)]) == 0
    told = capsys.readouterr().out
    assert "3 images of 2 identities (InsightFace)" in told
    assert "2,48,48\n" in told


def test_merged_on_s3(tmp_path: Path, store: Store) -> None:
    root = make_faces(tmp_path / "in", {"a": 2, "b": 1})
    recpack.convert(root, tmp_path / "o" / "train.rec", source_format="identities")
    output = store.at("p/train/train.rec")
    parts = [tmp_path / "o" / "train.rec"] * 2
    recpack.merge(str(output), parts, endpoint_url=store.url)
    recpack.merge(str(output), parts, endpoint_url=store.url, overwrite=True)
    assert recpack.verify(str(output), reader="insightface", endpoint_url=store.url).records == 11
    assert read(store.access, output.companion(".property")) == b"4,48,48\n"
    ends = ("idx", "json", "property")
    assert store.listing() == [*(f"p/_recpack/train.{end}" for end in ends), output.key]
