from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recpack
from recpack.packing.estimate import NullWriter
from recpack.packing.plan import expected_lengths, plan_cuts, segments
from recpack.packing.table import Table, samples_of
from recpack.storage.trees.local import LocalTree
from tests.support.devkits import box_xml, jpeg, make_voc, xml


def small(root: Path, *objects: str, count: int = 3, width: int = 60, height: int = 40) -> Path:
    """A plain VOC folder of so many images, each with the objects."""
    for name in ("Annotations", "JPEGImages"):
        (root / name).mkdir(parents=True)
    for number in range(count):
        (root / "JPEGImages" / f"{number}.jpg").write_bytes(jpeg(width, height, number))
        (root / "Annotations" / f"{number}.xml").write_text(xml(width, height, *objects))
    return root


def pack(devkit: Path, **options: object) -> tuple[recpack.Result, list[recpack.Record]]:
    """Convert to memory, in order, and read back."""
    sink = recpack.MemorySink()
    settings = {"shuffle": None, "jobs": 1} | options
    result = recpack.convert(devkit, sink, **settings)
    path = devkit / "memory.rec"
    for suffix, data in sink.files.items():
        path.with_suffix(suffix).write_bytes(data)
    with recpack.RecordReader(path) as records:
        return result, list(records)


CAT = box_xml("cat", (6, 4, 30, 20))


def test_the_four_files(devkit: Path, tmp_path: Path) -> None:
    result = recpack.convert(devkit, tmp_path / "train.rec", jobs=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["train.idx", "train.json", "train.lst", "train.rec"]
    manifest = json.loads((tmp_path / "train.json").read_text())
    assert manifest == json.loads(result.manifest.to_json())
    assert recpack.Manifest.read(tmp_path / "train.json") == result.manifest
    import zlib

    data = (tmp_path / "train.rec").read_bytes()
    assert manifest["rec"] == {
        "name": "train.rec",
        "bytes": len(data),
        "checksum": f"crc32:{zlib.crc32(data):08x}",
    }
    listed = (tmp_path / "train.lst").read_bytes()
    assert manifest["list_checksum"] == f"crc32:{zlib.crc32(listed):08x}"
    assert manifest["num_samples"] == 120 == len(listed.splitlines())
    with recpack.RecordReader(tmp_path / "train.rec") as records:
        widths = [len(record.label) for record in records]
        objects = sum(len(record.boxes) for record in records)
    assert manifest["label_width"] == max(widths)
    assert sum(manifest["objects"].values()) == objects
    assert str(tmp_path) not in (tmp_path / "train.json").read_text()


def test_shuffled_by_default_the_same_for_any_jobs(devkit: Path, tmp_path: Path) -> None:
    outputs = []
    for jobs, size in ((1, "16MiB"), (3, "1MiB"), (2, "70KiB")):
        path = tmp_path / f"{jobs}.rec"
        recpack.convert(devkit, path, jobs=jobs, segment_size=size)
        outputs.append([path.with_suffix(s).read_bytes() for s in (".rec", ".idx", ".lst")])
    assert outputs[0] == outputs[1] == outputs[2]
    recpack.convert(devkit, tmp_path / "other.rec", shuffle=1)
    other = (tmp_path / "other.lst").read_bytes()
    assert other != outputs[0][2]
    listed = [line.split(b"\t", 1) for line in outputs[0][2].splitlines()]
    assert [int(index) for index, _ in listed] == list(range(120))
    assert sorted(row for _, row in listed) == sorted(
        line.split(b"\t", 1)[1] for line in other.splitlines()
    )


def test_full_precision_by_default(tmp_path: Path) -> None:
    _, records = pack(small(tmp_path / "d", CAT, count=1))
    np.testing.assert_array_equal(records[0].boxes, np.array([[7, 0.1, 0.1, 0.5, 0.5]], np.float32))


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, [[7, 0.1, 0.1, 0.5, 0.5], [14, 0, 0, 1, 1]]),
        ({"difficult": "drop"}, [[7, 0.1, 0.1, 0.5, 0.5]]),
        ({"difficult": "column"}, [[7, 0.1, 0.1, 0.5, 0.5, 0], [14, 0, 0, 1, 1, 1]]),
        ({"one_based": True}, [[7, 5 / 60, 3 / 40, 0.5, 0.5], [14, 0, 0, 1, 1]]),
        ({"classes": "person,cat"}, [[1, 0.1, 0.1, 0.5, 0.5], [0, 0, 0, 1, 1]]),
        ({"classes": "auto"}, [[0, 0.1, 0.1, 0.5, 0.5], [1, 0, 0, 1, 1]]),
        ({"center_crop": True}, [[7, 0, 0.1, 0.5, 0.5], [14, 0, 0, 1, 1]]),
    ],
)
def test_label_options(tmp_path: Path, options: dict[str, object], rows: list[list[float]]) -> None:
    edges = (1, 1, 60, 40) if options.get("one_based") else (0, 0, 60, 40)
    devkit = small(tmp_path / "d", CAT, box_xml("person", edges, "1"))
    result, records = pack(devkit, **options)
    for record in records:
        np.testing.assert_allclose(record.boxes, np.array(rows, np.float32), rtol=1e-6)
    assert sum(result.manifest.objects.values()) == 3 * len(rows)
    if options.get("difficult") == "drop":
        assert result.manifest.problems == {"dropped box": {"difficult-dropped": 3}}


def test_auto_classes_are_sorted_whatever_the_order_met(tmp_path: Path) -> None:
    devkit = small(tmp_path / "d", box_xml("zebra", (1, 1, 9, 9)), count=2)
    (devkit / "Annotations" / "1.xml").write_text(xml(60, 40, box_xml("ant", (1, 1, 9, 9))))
    result, records = pack(devkit, classes="auto")
    assert result.manifest.classes == ("ant", "zebra")
    assert [record.boxes[0, 0] for record in records] == [1, 0]


@pytest.mark.parametrize("policy", ["drop", "keep", "error"])
def test_images_without_objects(tmp_path: Path, policy: str) -> None:
    devkit = small(tmp_path / "d", CAT)
    (devkit / "Annotations" / "1.xml").write_text(xml(60, 40))
    if policy == "error":
        with pytest.raises(recpack.DataError, match="no object is left"):
            pack(devkit, negatives=policy)
        return
    result, records = pack(devkit, negatives=policy)
    if policy == "drop":
        assert [record.id for record in records] == [0, 1]
        assert result.manifest.problems == {"dropped image": {"no-objects": 1}}
    else:
        assert records[1].label.tolist() == [2, 5, -1, -1, -1, -1, -1]
        assert result.manifest.objects["cat"] == 2


def test_all_errors_are_collected_and_nothing_is_written(tmp_path: Path) -> None:
    devkit = small(tmp_path / "d", CAT, count=6)
    (devkit / "Annotations" / "0.xml").write_text("<annotation>")
    (devkit / "Annotations" / "1.xml").write_text(xml(60, 40, box_xml("cat", ("x", 1, 2, 3))))
    (devkit / "Annotations" / "2.xml").write_text(xml(60, 40, box_xml("kat", (1, 1, 2, 3))))
    (devkit / "JPEGImages" / "3.jpg").unlink()
    (devkit / "JPEGImages" / "4.jpg").write_bytes(b"no image")
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(devkit, tmp_path / "out" / "train.rec")
    assert [(p.code, p.file) for p in caught.value.problems] == [
        ("annotation-malformed", "Annotations/0.xml"),
        ("number-bad", "Annotations/1.xml"),
        ("class-unknown", "Annotations/2.xml"),
        ("image-missing", "Annotations/3.xml"),
        ("image-unknown", "Annotations/4.xml"),
    ]
    assert "unknown class 'kat': 1 object; did you mean 'cat'?" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_image_that_changes_while_it_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devkit = small(tmp_path / "d", CAT)
    plan = plan_cuts

    def change(*arguments: object) -> object:
        (devkit / "JPEGImages" / "1.jpg").write_bytes(jpeg(60, 40, 9) + b"more")
        return plan(*arguments)

    monkeypatch.setattr("recpack.packing.run.plan_cuts", change)
    with pytest.raises(recpack.DataError, match="the image changed"):
        recpack.convert(devkit, tmp_path / "out" / "train.rec", jobs=1)
    assert list((tmp_path / "out").iterdir()) == []


def test_dry_run_writes_nothing_and_says_what_would_be(devkit: Path, tmp_path: Path) -> None:
    dry = recpack.convert(devkit, tmp_path / "a.rec", dry_run=True)
    assert list(tmp_path.iterdir()) == []
    real = recpack.convert(devkit, tmp_path / "a.rec")
    assert dry.manifest.num_samples == real.manifest.num_samples
    assert dry.manifest.label_width == real.manifest.label_width
    # this devkit's images hold magic words, which only reading them shows
    would_be, is_now = dry.manifest.rec["bytes"], real.manifest.rec["bytes"]
    assert would_be is not None
    assert is_now is not None
    assert would_be <= is_now


@pytest.mark.parametrize("name", ["a.rec", "shards.rec", "split.rec", "a.lst", "a.manifest", "a/"])
def test_a_dry_run_fails_where_the_run_would(devkit: Path, tmp_path: Path, name: str) -> None:
    output = f"{tmp_path}/new/{name}"
    special: dict[str, dict[str, Any]] = {
        "shards.rec": {"shards": 2},
        "split.rec": {"split": "0.8/0.2"},
        "a.manifest": {"images_url": "s3://bucket"},
    }
    options = special.get(name, {})
    function: Any = recpack.write_list if name == "a.lst" else recpack.convert
    function(devkit, output, dry_run=True, **options)
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    function(devkit, output, **options)
    for dry in (True, False):
        with pytest.raises(recpack.SinkError, match=r"exists; choose another|is not empty; name"):
            function(devkit, output, dry_run=dry, **options)
    if name == "a.rec":
        with pytest.raises(recpack.ConfigError, match=r"must end in \.rec"):
            recpack.convert(devkit, tmp_path / "a.txt", dry_run=True)
    if name != "a/":
        function(devkit, output, dry_run=True, overwrite=True, **options)


def test_write_list_is_the_list_of_convert(devkit: Path, tmp_path: Path) -> None:
    recpack.convert(devkit, tmp_path / "a.rec", year="2012")
    recpack.write_list(devkit, tmp_path / "b.lst", year="2012")
    assert (tmp_path / "b.lst").read_bytes() == (tmp_path / "a.lst").read_bytes()
    with pytest.raises(recpack.SinkError, match="--overwrite"):
        recpack.write_list(devkit, tmp_path / "b.lst")


def test_pack_beside_its_own_list_leaves_the_list(devkit: Path, tmp_path: Path) -> None:
    recpack.write_list(devkit, tmp_path / "a.lst", precision=3)
    before = (tmp_path / "a.lst").read_bytes()
    recpack.pack(tmp_path / "a.lst", devkit, tmp_path / "a.rec")
    assert (tmp_path / "a.lst").read_bytes() == before
    result = recpack.pack(tmp_path / "a.lst", devkit, tmp_path / "a.rec", overwrite=True)
    import zlib

    assert result.manifest.list_checksum == f"crc32:{zlib.crc32(before):08x}"


def test_a_list_that_has_rows_without_records_is_not_in_the_manifest(tmp_path: Path) -> None:
    make_voc(tmp_path, {"2007": 4})
    recpack.write_list(tmp_path, tmp_path / "a.lst")
    rows = (tmp_path / "a.lst").read_text()
    next(tmp_path.rglob("*.jpg")).unlink()
    result = recpack.pack(tmp_path / "a.lst", tmp_path, tmp_path / "a.rec", on_error="skip")
    assert (tmp_path / "a.lst").read_text() == rows
    assert (result.manifest.num_samples, result.manifest.list_checksum) == (3, None)
    result = recpack.pack(tmp_path / "a.lst", tmp_path, tmp_path / "b.rec", on_error="skip")
    assert result.manifest.list_checksum is not None


def test_a_list_as_windows_writes_it(devkit: Path, tmp_path: Path) -> None:
    recpack.write_list(devkit, tmp_path / "a.lst", shuffle=None)
    text = (tmp_path / "a.lst").read_bytes()
    (tmp_path / "w.lst").write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    for stem in ("a", "w"):
        rows = tmp_path / f"{stem}.lst"
        recpack.pack(rows, devkit, tmp_path / f"{stem}.rec")
    assert (tmp_path / "w.rec").read_bytes() == (tmp_path / "a.rec").read_bytes()


def test_a_line_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recpack.storage.files.MAX_LINE", 1000)
    (tmp_path / "a.lst").write_text("0\t1\ta.jpg\n" + "x" * 2000)
    with pytest.raises(recpack.ListError, match="line 2 has more than 1,000 characters"):
        recpack.pack(tmp_path / "a.lst", tmp_path, tmp_path / "a.rec")


@pytest.mark.parametrize(
    ("row", "options", "error", "message"),
    [
        ("0\t1\tmissing.jpg", {}, recpack.DataError, "1 file: the image is missing"),
        ("0\t1\t../1.jpg", {}, recpack.ListError, "path '../1.jpg' leaves the root"),
        ("0\t1\t/etc/passwd", {}, recpack.ListError, "path '/etc/passwd' leaves the root"),
        ("0\t1\ta/../../b.jpg", {}, recpack.ListError, "leaves the root"),
        ("0\t1\tx\0y.jpg", {}, recpack.ListError, "leaves the root"),
        ("0\t1\t..", {}, recpack.ListError, "leaves the root"),
        ("0\t2\t5\t70000\t0\t0\t1\t1\t0.jpg", {}, recpack.DataError, "class id 70000"),
        ("0\t2\t5\t3\t0\t0\t1\t1\t0.jpg", {"classes": "a"}, recpack.ConfigError, "class id 3"),
        ("0\t2\t5\t3\t0\t0\t1\t1\t0.jpg", {"center_crop": True}, recpack.ConfigError, "crop"),
        ("0\t1\tsub", {}, recpack.DataError, "sub: a folder, not a file"),
    ],
)
def test_what_pack_refuses(
    tmp_path: Path, row: str, options: dict[str, object], error: type[Exception], message: str
) -> None:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "0.jpg").write_bytes(jpeg())
    (tmp_path / "a.lst").write_text(row + "\n")
    with pytest.raises(error, match=message):
        recpack.pack(
            tmp_path / "a.lst",
            tmp_path / "root",
            tmp_path / "out" / "o.rec",
            **options,
        )
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        (["2\t5\t0\t-.1\t.2\t1.1\t1", "2\t5\t-1\t-1\t-1\t-1\t-1"], {}),
        (["3\t5\t99\t7\t.1\t.2\t.3\t.4"], {}),  # a header and a class id are no edges
        (["3\t6\t99\t7\t.1\t.2\t.3\t.4\t77", "2\t5\t0\t0\t0\t30\t1"], {"box-pixels": 1}),
        (["2\t5\t0\t-9\t0\t1\t1\t1\t9\t9\t9\t9", "4"], {"box-pixels": 1, "label-scalar": 1}),
        (["4", "5", "6"], {}),
    ],
)
def test_pack_keeps_what_readers_choke_on_but_tells(
    tmp_path: Path, rows: list[str], kept: dict[str, int]
) -> None:
    (tmp_path / "0.jpg").write_bytes(jpeg())
    text = "".join(f"{index}\t{row}\t0.jpg\n" for index, row in enumerate(rows))
    (tmp_path / "a.lst").write_text(text)
    result = recpack.pack(tmp_path / "a.lst", tmp_path, tmp_path / "o.rec")
    assert result.manifest.problems.get("kept", {}) == kept
    assert (tmp_path / "o.lst").read_text() == text


def test_workers_follow_a_change_of_the_working_directory(
    devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """joblib uses its processes again, and they stay in the folder where they were started."""
    recpack.convert(devkit, tmp_path / "a.rec", jobs=2, segment_size="1MiB")
    monkeypatch.chdir(devkit.parent)
    output = os.path.relpath(tmp_path / "b.rec")
    recpack.convert(devkit.name, output, jobs=2, segment_size="1MiB")
    assert (tmp_path / "b.rec").read_bytes() == (tmp_path / "a.rec").read_bytes()
    monkeypatch.chdir(tmp_path)
    recpack.pack("b.lst", os.path.relpath(devkit), "c.rec", jobs=2, segment_size="1MiB")
    assert (tmp_path / "c.rec").read_bytes() == (tmp_path / "a.rec").read_bytes()


def test_progress_counts_every_image(devkit: Path) -> None:
    seen: list[recpack.Progress] = []
    recpack.convert(devkit, recpack.MemorySink(), segment_size="1MiB", progress=seen.append)
    scans = [p for p in seen if p.stage == "scan"]
    packs = [p for p in seen if p.stage == "pack"]
    assert scans[-1].done == scans[-1].total == packs[-1].done == packs[-1].total == 120
    assert len(packs) > 2
    assert [p.done for p in packs] == sorted(p.done for p in packs)


@pytest.mark.parametrize("inherited", [True, False])
@pytest.mark.parametrize("size", [1, 70_000, 1 << 30])
def test_segments_cover_the_samples_in_order(tmp_path: Path, size: int, inherited: bool) -> None:
    make_voc(tmp_path, {"2007": 20})
    recpack.write_list(tmp_path, tmp_path / "a.lst")
    from recpack.formats.lst import parse_rows

    table = parse_rows((tmp_path / "a.lst").read_text().splitlines(), LocalTree(str(tmp_path)))
    lengths = expected_lengths(table)
    cuts = plan_cuts(lengths, size)
    parts = Table(table, "fork" if inherited else "loky", 2)
    sizes = np.add.reduceat(lengths, cuts[:-1]).tolist()
    firsts = [0, len(cuts) - 1]
    found = list(segments(parts, [NullWriter()], firsts, cuts, sizes))
    assert [p for s in found for p in samples_of(s.part).paths] == list(table.paths)
    assert [s.number for s in found] == list(range(len(found)))
    sizes = [int(expected_lengths(samples_of(s.part)).sum()) for s in found]
    assert [s.room for s in found] == sizes
    assert sum(sizes) == lengths.sum()
    assert all(n <= size or len(samples_of(s.part)) == 1 for n, s in zip(sizes, found, strict=True))
    sent = [pickle.dumps(s) for s in found]
    if inherited:  # nothing of the table travels
        assert max(map(len, sent)) < 300
    else:
        del parts
    assert [p for data in sent for p in samples_of(pickle.loads(data).part).paths] == list(
        table.paths
    )
    assert len(found) == {1: 20, 1 << 30: 1}.get(size, len(found))
