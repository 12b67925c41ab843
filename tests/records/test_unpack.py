from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recpack
from recpack.cli.app import main
from recpack.formats.image_header import ImageHeader
from recpack.formats.record import Record
from recpack.records.unpack import annotation, unpack
from recpack.sources.voc.parse import parse_annotation
from tests.conftest import Store
from tests.sources.test_wild import encoded, pixels
from tests.support.devkits import box_xml, encode_record, jpeg, make_voc, xml

OPTIONS = [
    {},
    {"difficult": "column"},
    {"negatives": "keep"},
    {"shuffle": 3, "classes": "auto"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_there_and_back(devkit: Path, tmp_path: Path, options: dict[str, object]) -> None:
    recpack.convert(devkit, tmp_path / "a.rec", **{"shuffle": None} | options)
    found = unpack(tmp_path / "a.rec", tmp_path / "un")
    with recpack.RecordReader(tmp_path / "a.rec") as records:
        assert found.images == found.annotations == len(records)
    again = options | {"shuffle": None, "classes": str(tmp_path / "a.json")}
    recpack.convert(tmp_path / "un", tmp_path / "b.rec", **again)
    for suffix in (".rec", ".idx"):
        assert (tmp_path / f"b{suffix}").read_bytes() == (tmp_path / f"a{suffix}").read_bytes()
    recpack.pack(tmp_path / "un" / "a.lst", tmp_path / "un", tmp_path / "c.rec")
    assert (tmp_path / "c.rec").read_bytes() == (tmp_path / "a.rec").read_bytes()


@settings(max_examples=300)
@given(
    st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), min_size=1, max_size=5),
    st.integers(1, 70_000), st.integers(1, 70_000),
)  # fmt: skip
def test_ratios_come_back_to_the_last_bit(
    boxes: list[tuple[float, ...]], width: int, height: int
) -> None:
    label = np.array([2, 5, *(value for box in boxes for value in (7, *box))], np.float32)
    record = Record(0, 0, len(label), label, b"")
    text = annotation(record, ImageHeader("jpeg", width, height, 3, 8), "a&b<c>.jpg", None)
    found = parse_annotation(text.encode())
    assert found.filename == "a&b<c>.jpg"
    sides = np.array([width, height] * 2, float)
    ratios = np.array(found.boxes, float).reshape(-1, 4) / sides
    assert np.array_equal(ratios.astype(np.float32), record.boxes[:, 1:5])


def test_names(tmp_path: Path) -> None:
    """Without a list, with one that names images twice, of images that are not JPEGs."""
    kinds = [jpeg(), encoded(".png", pixels()), b"no image"]
    with recpack.RecordWriter(tmp_path / "a.rec", classes=["x & y"]) as writer:
        for image in kinds:
            writer.write(image, boxes=[[0, 0.1, 0.2, 0.5, 0.9]])
    (tmp_path / "a.lst").unlink(missing_ok=True)
    unpack(tmp_path / "a.rec", tmp_path / "un")
    images = {path.name: path.read_bytes() for path in (tmp_path / "un/JPEGImages").iterdir()}
    assert images == {
        "00000000.jpg": kinds[0], "00000001.png": kinds[1], "00000002.bin": kinds[2],
    }  # fmt: skip
    assert "<name>x &amp; y</name>" in (tmp_path / "un/Annotations/00000000.xml").read_text()
    assert (tmp_path / "un/ImageSets/Main/trainval.txt").read_text() == "00000000\n00000001\n"
    rows = [f"{i}\t2\t5\t0\t0\t0\t1\t1\t{name}\n" for i, name in enumerate(("a/x.jpg", "b/x.png"))]
    (tmp_path / "a.lst").write_text("".join(rows))
    unpack(tmp_path / "a.rec", tmp_path / "named")
    names = sorted(path.name for path in (tmp_path / "named/JPEGImages").iterdir())
    assert names == ["00000002.bin", "x.jpg", "x_1.png"]


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/passwd", "a/..", "..", ".jpg/..", "."])
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with recpack.RecordWriter(tmp_path / "a.rec", classes=["x"]) as writer:
        writer.write(jpeg(), boxes=[[0, 0.1, 0.2, 0.5, 0.9]])
    (tmp_path / "a.lst").write_text(f"0\t2\t5\t0\t0\t0\t1\t1\t{name}\n")
    with pytest.raises(recpack.ListError, match=r"a\.lst: line 1: .*names no index and file"):
        unpack(tmp_path / "a.rec", tmp_path / "deep" / "un")
    assert not [path for path in tmp_path.rglob("*.jpg") if "un" not in path.parts]


def test_folders_that_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_voc(tmp_path / "d", {"2007": 4})
    recpack.convert(tmp_path / "d", tmp_path / "a.rec")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for folder, message in (("full", "is not empty"), ("a.rec", "is a file")):
        assert main(["unpack", str(tmp_path / "a.rec"), str(tmp_path / folder)]) == 1
        assert message in capsys.readouterr().err
    assert main(["unpack", str(tmp_path / "a.rec"), str(tmp_path / "full"), "--overwrite"]) == 0
    assert (tmp_path / "full" / "mine").read_text() == "mine"
    assert main(["unpack", str(tmp_path / "none.rec"), str(tmp_path / "n")]) == 1


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with recpack.RecordWriter(tmp_path / "a.rec") as writer:
        for _ in range(2):
            writer.write(jpeg(), label=1.0)
    for stems, excess in (([251], 1), ([248, 248], 0), ([249, 248], 0), ([249, 249], 1)):
        rows = [f"{i}\t1\t{'n' * length}.jpg\n" for i, length in enumerate(stems)]
        (tmp_path / "a.lst").write_text("".join(rows))
        if excess:
            with pytest.raises(recpack.SinkError, match=f"its name is {excess} bytes too long"):
                unpack(tmp_path / "a.rec", tmp_path / "un")
            assert not (tmp_path / "un").exists()
        else:
            unpack(tmp_path / "a.rec", tmp_path / "un")
            shutil.rmtree(tmp_path / "un")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        *(
            (name, [2, 5, 0, 0, 0, 1, 1])
            for name in ("Annotations", "JPEGImages", "ImageSets/Main")
        ),
        *((name, [1]) for name in ("ImageSets", "0", "1", "1/2")),
    ],
)
def test_no_file_goes_through_a_link_of_a_folder(
    tmp_path: Path, name: str, label: list[float]
) -> None:
    with recpack.RecordWriter(tmp_path / "a.rec", classes=["0", "1/2"]) as writer:
        writer.write(jpeg(), label=[0])
        writer.write(jpeg(), label=label)
    (tmp_path / "victim").mkdir()
    link = tmp_path / "un" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "victim")
    with pytest.raises(recpack.SinkError, match=f"{name} is not a folder; move it away"):
        unpack(tmp_path / "a.rec", tmp_path / "un", overwrite=True)
    assert not list((tmp_path / "victim").iterdir())


def test_a_broken_file_leaves_no_folder(tmp_path: Path) -> None:
    """An older folder loses its image set: it does not look like all of the data."""
    make_voc(tmp_path / "d", {"2007": 4})
    recpack.convert(tmp_path / "d", tmp_path / "a.rec")
    unpack(tmp_path / "a.rec", tmp_path / "old")
    (tmp_path / "old" / "mine").write_text("mine")
    with recpack.RecordReader(tmp_path / "a.rec") as records:
        last = records[-1].offset
    os.truncate(tmp_path / "a.rec", last + 100)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(recpack.DataError):
        unpack(tmp_path / "a.rec", tmp_path / "un")
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(recpack.DataError):
        unpack(tmp_path / "a.rec", tmp_path / "old", overwrite=True)
    assert not list((tmp_path / "old" / "ImageSets" / "Main").iterdir())
    assert (tmp_path / "old" / "mine").read_text() == "mine"


def test_images_without_boxes(tmp_path: Path) -> None:
    (tmp_path / "0.xml").write_text(xml(60, 40, box_xml("cat", (1, 1, 9, 9))))
    (tmp_path / "1.xml").write_text(xml(60, 40))
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg())
    recpack.convert(tmp_path, tmp_path / "a" / "a.rec", negatives="keep", shuffle=None)
    found = unpack(tmp_path / "a" / "a.rec", tmp_path / "un")
    assert (found.images, found.annotations) == (2, 2)
    assert "<object>" not in (tmp_path / "un/Annotations/1.xml").read_text()


def test_from_s3(devkit: Path, tmp_path: Path, store: Store) -> None:
    url = f"s3://{store.bucket}/p/train/train.rec"
    recpack.convert(devkit, url, endpoint_url=store.url, shuffle=None)
    unpack(url, tmp_path / "un", endpoint_url=store.url)
    recpack.convert(tmp_path / "un", tmp_path / "b.rec", shuffle=None)
    recpack.convert(devkit, tmp_path / "a.rec", shuffle=None)
    assert (tmp_path / "b.rec").read_bytes() == (tmp_path / "a.rec").read_bytes()


def test_a_face_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """InsightFace: record 0 says from where to where the identities' records are, and each of them
    says between which ids its images are."""
    rows = [(0, [5, 7], b""), *((n, [(n - 1) // 2, 0], jpeg(seed=n)) for n in range(1, 5)),
            (5, [1, 3], b""), (6, [3, 5], b"")]  # fmt: skip
    data = [encode_record(*row) for row in rows]
    (tmp_path / "train.rec").write_bytes(b"".join(data))
    rec = tmp_path / "train.rec"
    recpack.reindex(rec)
    index = rec.with_suffix(".idx").read_text()
    assert index == "".join(f"{n}\t{sum(map(len, data[:n]))}\n" for n in range(7))
    with recpack.RecordReader(rec) as records:
        assert [one.kind for one in records] == ["table", *["classes"] * 4, *["table"] * 2]
        with pytest.raises(recpack.RecordError, match="it has no image: it is a table of ids"):
            _ = records[0].boxes
    found = recpack.inspect(rec)
    assert (found.records, found.tables, found.scalar_labels) == (7, 3, 4)
    assert found.kinds == {"jpeg": 4}
    assert main(["inspect", str(rec)]) == main(["inspect", str(rec), "--record", "0"]) == 0
    told = capsys.readouterr().out
    assert "3 (tables, as of InsightFace)" in told
    assert "0 bytes, none: the label is a table of ids" in told
    assert main(["unpack", str(rec), str(tmp_path / "u")]) == 0
    assert "3 records without an image" in capsys.readouterr().out
    files = [
        path.relative_to(tmp_path / "u").as_posix() for path in (tmp_path / "u").rglob("*.jpg")
    ]
    assert sorted(files) == [f"{(n - 1) // 2}/{n:08d}.jpg" for n in range(1, 5)]
    assert (tmp_path / "u" / "train.lst").read_text() == "".join(
        f"{n}\t{(n - 1) // 2}.0\t0.0\t{(n - 1) // 2}/{n:08d}.jpg\n" for n in range(1, 5)
    )
    # the remedy of record-empty
    recpack.pack(tmp_path / "u" / "train.lst", tmp_path / "u", tmp_path / "o" / "a.rec")
    assert recpack.verify(tmp_path / "o" / "a.rec").records == 4
