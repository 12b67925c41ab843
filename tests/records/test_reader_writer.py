from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

import recpack
from tests.conftest import Oracle
from tests.support import strategies
from tests.support.devkits import jpeg


def write(path: Path, count: int = 5, **options: object) -> Path:
    with recpack.RecordWriter(path, **options) as writer:
        for number in range(count):
            boxes = [[number % 3, 0.1, 0.2, 0.5, 0.9]] * (number + 1)
            assert writer.write(jpeg(20, 20, number), boxes) == number
    return path


@pytest.mark.parametrize("mapped", [True, False])
def test_sequential_by_position_by_key_and_slices(tmp_path: Path, mapped: bool) -> None:
    with recpack.RecordReader(write(tmp_path / "a.rec"), mapped=mapped) as records:
        assert [record.id for record in records] == [0, 1, 2, 3, 4]
        assert [record.id for record in records] == [0, 1, 2, 3, 4]
        assert len(records) == 5
        assert records[-1].id == records.read_key(4).id == 4
        assert [record.id for record in records[1:4:2]] == [1, 3]
        assert records[2].image_bytes == jpeg(20, 20, 2)
        assert records[2].boxes.shape == (3, 5)
        assert (records[2].header_width, records[2].object_width) == (2, 5)
        np.testing.assert_array_equal(records[1].boxes, np.float32([[1, 0.1, 0.2, 0.5, 0.9]] * 2))
        with pytest.raises(IndexError):
            records[5]
        with pytest.raises(KeyError):
            records.read_key(9)
    records.close()


def test_keys_need_not_be_positions(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec")
    lines = (tmp_path / "a.idx").read_text().splitlines()
    (tmp_path / "b.idx").write_text(
        "".join(f"{70 + i}\t{line.split()[1]}\n" for i, line in enumerate(lines))
    )
    with recpack.RecordReader(path, index=tmp_path / "b.idx") as records:
        assert records.read_key(72).id == 2
        assert records.keys.tolist() == [70, 71, 72, 73, 74]


def test_a_lost_index_is_made_good(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec")
    (tmp_path / "a.idx").unlink()
    with recpack.RecordReader(path) as records:
        assert len(records) == 5
        assert records.read_key(3).id == 3


def test_errors_name_the_file_and_the_byte(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec")
    data = path.read_bytes()
    path.write_bytes(data[:-40])
    with recpack.RecordReader(path) as records, pytest.raises(recpack.RecordError) as caught:
        list(records)
    assert str(path) in str(caught.value)
    assert caught.value.offset == records.offsets[-1]
    with pytest.raises(recpack.RecordError, match="No such file"):
        recpack.RecordReader(tmp_path / "none.rec")
    with pytest.raises(recpack.RecordError, match="no such index"):
        recpack.RecordReader(path, index=tmp_path / "none.idx")
    (tmp_path / "a.idx").write_text("nonsense\n")
    with recpack.RecordReader(path) as records, pytest.raises(recpack.RecordError, match=r"a\.idx"):
        len(records)


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "a.rec").touch()
    with recpack.RecordReader(tmp_path / "a.rec") as records:
        assert list(records) == []
        assert len(records) == 0


def test_the_writer_publishes_index_and_manifest(tmp_path: Path, oracle: Oracle) -> None:
    path = write(tmp_path / "a.rec", classes=("x", "y", "z"), segment_size=2000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.idx", "a.json", "a.rec"]
    manifest = recpack.Manifest.read(tmp_path / "a.json")
    assert manifest.num_samples == 5
    assert manifest.classes == ("x", "y", "z")
    assert manifest.label_width == 2 + 5 * 5
    assert dict(manifest.objects) == {"x": 1 + 4, "y": 2 + 5, "z": 3}
    theirs = oracle("read", path, tmp_path / "a.idx")
    assert [row[0] for row in theirs] == [0, 1, 2, 3, 4]
    assert [bytes.fromhex(row[2]) for row in theirs] == [jpeg(20, 20, i) for i in range(5)]


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), recpack.RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(jpeg(), [[0, 0, 0, 1, 1]])
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_kept(tmp_path: Path) -> None:
    before = write(tmp_path / "a.rec").read_bytes()
    with pytest.raises(recpack.SinkError, match="--overwrite"):
        write(tmp_path / "a.rec", 2)
    assert (tmp_path / "a.rec").read_bytes() == before
    write(tmp_path / "a.rec", 2, overwrite=True)
    with recpack.RecordReader(tmp_path / "a.rec") as records:
        assert len(records) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either boxes or label"),
        ({"boxes": [[1, 2, 3, 4, 5]], "label": 1}, "either boxes or label"),
        ({"boxes": [1, 2, 3, 4, 5]}, r"boxes: .*\(got shape \(5,\)\)"),
        ({"boxes": [[1, 2, 3, 4]]}, r"boxes: .*\(got shape \(1, 4\)\)"),
        ({"label": [[1, 2]]}, r"label: .*\(got shape \(1, 2\)\)"),
        ({"label": []}, r"label: .*\(got shape \(0,\)\)"),
        ({"boxes": [[0, 0, 0, 1, float("nan")]]}, "finite"),
        ({"boxes": [[0, 0, 0, 1, 1], [0, 10, 10, 50, 50]]}, r"ratios .*\(got .*50.0\] in row 1\)"),
        ({"boxes": [[0, 0.5, 0.1, 0.4, 0.9]]}, "xmin below xmax"),
        ({"boxes": [[0, 0.1, 0.5, 0.4, 0.5]]}, "ymin below ymax"),
        ({"boxes": [[2, 0, 0, 1, 1]]}, "class id 2: there are 2 classes, numbered from 0"),
        ({"label": 2}, "class id 2: there are 2 classes"),
    ],
)
def test_wrong_labels_are_refused(arguments: dict[str, object], message: str) -> None:
    with recpack.RecordWriter(recpack.MemorySink(), classes=["a", "b"]) as writer:
        writer.write(b"x", label=1)
        with pytest.raises(recpack.RecordError, match=message):
            writer.write(b"x", **arguments)


def test_what_a_writer_takes() -> None:
    """Edges a little outside, rows of padding, and class ids of no known names."""
    with recpack.RecordWriter(recpack.MemorySink()) as writer:
        writer.write(jpeg(), boxes=[[7, -0.01, 0, 1.01, 1], [-1, -1, -1, -1, -1]])


def test_a_writer_that_is_not_open_says_so(tmp_path: Path) -> None:
    writer = recpack.RecordWriter(tmp_path / "a.rec")
    for _ in range(2):  # before the block, and after it
        with pytest.raises(
            recpack.RecordError, match=r"a\.rec: the writer is not open; write insi"
        ):
            writer.write(jpeg(), label=1)
        with recpack.RecordWriter(tmp_path / "a.rec", overwrite=True) as writer:
            writer.write(jpeg(), label=1)


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(recpack.RecordError, match="nothing was written"):
        write(tmp_path / "a.rec", 0)
    assert list(tmp_path.iterdir()) == []


@given(strategies.records)
def test_the_memory_sink_round_trips(
    tmp_path: Path, records: list[tuple[list[float], bytes]]
) -> None:
    sink = recpack.MemorySink()
    with recpack.RecordWriter(sink, segment_size=100) as writer:
        for label, image in records:
            writer.write(image, label=label)
    path = tmp_path / "m.rec"
    for suffix, data in sink.files.items():
        path.with_suffix(suffix).write_bytes(data)
    with recpack.RecordReader(path) as reader:
        assert [(r.label.tolist(), r.image_bytes) for r in reader] == records
    assert json.loads(sink.files[".json"])["num_samples"] == len(records)


def test_no_boxes_is_the_label_that_mxnet_ignores() -> None:
    sink = recpack.MemorySink()
    with recpack.RecordWriter(sink) as writer:
        writer.write(jpeg(), boxes=[])
    label = np.array([2, 5, -1, -1, -1, -1, -1], np.float32)
    assert label.tobytes() + jpeg() in sink.files[".rec"]


def test_records_by_offset_and_what_tells_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec")
    with recpack.RecordReader(path) as records, recpack.RecordReader(path) as again:
        offsets = records.offsets.tolist()
        (tmp_path / "a.idx").unlink()
        assert [again.read_offset(offset).id for offset in offsets] == [0, 1, 2, 3, 4]
        with pytest.raises(recpack.RecordError, match="no record at byte 3"):
            again.read_offset(3)
        assert records.identity == again.identity
        write(path, overwrite=True)
        with recpack.RecordReader(path) as new:
            assert new.identity != again.identity
        assert again.read_offset(0).id == 0


def test_a_file_that_is_cut_short_while_it_is_open(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec")
    with recpack.RecordReader(path, mapped=False) as records:
        last = int(records.offsets[-1])
        path.write_bytes(path.read_bytes()[: last + 60])
        with pytest.raises(recpack.RecordError, match=r"a\.rec: .*cut short"):
            records.read_offset(last)


@pytest.mark.parametrize("mapped", [True, False])
def test_a_reader_that_is_closed_while_it_is_iterated(tmp_path: Path, mapped: bool) -> None:
    path = tmp_path / "a.rec"
    with recpack.RecordWriter(path) as writer:
        for number in range(40):
            writer.write(jpeg(seed=number) * 40, label=number)
    for begin in (iter, lambda reader: reader.batches(1)):
        reader = recpack.RecordReader(path, mapped=mapped)
        records = begin(reader)
        next(records)
        reader.close()
        with pytest.raises(recpack.RecordError, match=r"a\.rec: the reader is closed; read inside"):
            list(records)
