"""What is larger than anything real is refused before it is read."""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import recpack
from recpack.data.samples import Treatment
from recpack.errors import ImageError, RecordError, RecpackError
from recpack.formats.image_codec import decode
from recpack.formats.recordio import (
    MAGIC,
    MAGIC_BYTES,
    MAX_PAYLOAD,
    PART_HEADER,
    decode_payload,
    join_parts,
    locate_record,
)
from recpack.storage import limits
from recpack.storage.regular import TooLargeError
from recpack.storage.s3.objects import put, read
from tests.conftest import Store
from tests.support.datasets import WRITERS, Picture
from tests.support.devkits import encode_record, jpeg

PICTURES = [Picture(60, 40, [(0, 1, 2, 30, 20)]), Picture(40, 60, [(1, 1, 2, 30, 20)])]


def enlarge(path: Path, size: int) -> Path:
    """Let a file end in a hole, which needs no disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(size)
    return path


@pytest.fixture
def rec(tmp_path: Path) -> Path:
    recpack.convert(WRITERS["voc"](tmp_path / "voc", PICTURES), tmp_path / "a.rec", jobs=1)
    return tmp_path / "a.rec"


BESIDE: dict[str, tuple[str, int, Callable[[Path], object]]] = {
    "manifest": (".json", 8 << 30, recpack.inspect),
    "index": (".idx", 6 << 30, lambda rec: len(recpack.RecordReader(rec))),
    "verify": (".idx", 6 << 30, lambda rec: recpack.verify(rec, jobs=1)),
    "list": (".lst", 1 << 40, lambda rec: recpack.unpack(rec, rec.parent / "out")),
    "pack": (".lst", 1 << 40, lambda rec: recpack.pack(
        rec.with_suffix(".lst"), rec.parent, "c.rec")),
    "classes": (".txt", 1 << 30, lambda rec: recpack.check(
        rec.parent / "voc", classes=str(rec.with_suffix(".txt")))),
    "classes, manifest": (".json", 1 << 30, lambda rec: recpack.check(
        rec.parent / "voc", classes=str(rec.with_suffix(".json")))),
    "augmented manifest": (".manifest", 1 << 40, lambda rec: recpack.check(
        rec.with_suffix(".manifest"))),
    "coco": (".json", 1 << 40, lambda rec: recpack.check(rec.with_suffix(".json"))),
}  # fmt: skip


@pytest.mark.parametrize("kind", BESIDE)
def test_large_files(rec: Path, kind: str) -> None:
    suffix, size, call = BESIDE[kind]
    large = enlarge(rec.with_suffix(suffix), size)
    with pytest.raises(RecpackError, match=f"{size:,} bytes, and more than [0-9,]+ ") as caught:
        call(rec)
    assert str(large) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file", "size", "code"),
    [
        ("voc", "Annotations/000.xml", 1 << 30, "annotation-too-large"),
        ("voc", "JPEGImages/000.jpg", 2 << 30, "image-too-large"),
        ("voc", "ImageSets/Main/trainval.txt", 1 << 40, ""),
        ("yolo", "data.yaml", 1 << 30, ""),
        ("yolo", "labels/train/000.txt", 1 << 30, "annotation-too-large"),
        ("image-json", "train_annotation/000.json", 1 << 30, "annotation-too-large"),
    ],
)
def test_large_files_of_a_data_set(
    tmp_path: Path, name: str, file: str, size: int, code: str
) -> None:
    root = WRITERS[name](tmp_path / "d", PICTURES)
    enlarge(tmp_path / "d" / file, size)
    if not code:
        with pytest.raises(RecpackError, match=f"{size:,} bytes") as caught:
            recpack.check(root, jobs=1)
        assert file.rpartition("/")[2] in str(caught.value)
        return
    problems = [one for one in recpack.check(root, jobs=1).problems if one.severity == "error"]
    assert [one.code for one in problems] == [code]
    assert f"{size:,} bytes" in problems[0].value


def test_a_large_image_in_an_archive(tmp_path: Path) -> None:
    root = WRITERS["voc"](tmp_path / "VOC2007", PICTURES)
    image = root / "JPEGImages" / "000.jpg"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for path in root.rglob("*.xml"):
            archive.add(path, path.relative_to(tmp_path))
        archive.add(root / "JPEGImages" / "001.jpg", "VOC2007/JPEGImages/001.jpg")
        header = tarfile.TarInfo("VOC2007/JPEGImages/000.jpg")
        header.size = 2 << 30
        end = archive.offset
    with (tmp_path / "a.tar").open("r+b") as file:
        file.seek(end)
        file.write(header.tobuf() + image.read_bytes())
    enlarge(tmp_path / "a.tar", end + 1536 + header.size)
    problems = recpack.check(tmp_path / "a.tar", jobs=1).problems
    assert [one.code for one in problems if one.severity == "error"] == ["image-too-large"]


def test_an_object(store: Store) -> None:
    location = store.at("large.json")
    put(store.access, location, b"x" * 100)
    assert len(read(store.access, location, limit=100)) == 100
    with pytest.raises(TooLargeError, match="it has 100 bytes, and more than 99"):
        read(store.access, location, limit=99)


def test_a_document_must_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.most_of_document() <= limits.MAX_DOCUMENT
    monkeypatch.setattr("os.sysconf", lambda name: 4096 if "SIZE" in name else 1 << 18)
    assert limits.most_of_document() == 256 << 20


def parts(lengths: list[int]) -> Callable[[int, int], bytes]:
    """A file of one record with parts of these lengths, of which only the headers are read."""
    headers, at = {}, 0
    for number, length in enumerate(lengths):
        flag = 1 if not number else 3 if number == len(lengths) - 1 else 2
        headers[at] = PART_HEADER.pack(MAGIC, flag << 29 | length)
        at += PART_HEADER.size + length
    headers[at] = b""
    return lambda offset, length: headers[offset][:length]


def test_a_record_has_so_many_parts_and_bytes() -> None:
    most = [0] * limits.MAX_PARTS
    assert len(locate_record(parts(most), 0, 1 << 40)) == limits.MAX_PARTS
    half = MAX_PAYLOAD // 2 & ~3
    assert len(locate_record(parts([half, half - 4]), 0, 1 << 40)) == 2
    for lengths in ([0] * 1_000_000, [half + 4, half], [half] * 1000):
        with pytest.raises(RecordError, match="the record at byte 0 has more than 65,536 parts"):
            locate_record(parts(lengths), 0, 1 << 40)


def test_no_record_is_written_that_is_not_read() -> None:
    image = MAGIC_BYTES * (limits.MAX_PARTS - 1)
    data = encode_record(0, [1.0], image)

    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    found = locate_record(read, 0, len(data))
    assert len(found) == limits.MAX_PARTS
    assert decode_payload(join_parts(read, found)).image_bytes == image
    with pytest.raises(RecordError, match="65,536 magic words"):
        encode_record(0, [1.0], image + MAGIC_BYTES)


def test_pixels_are_counted_before_they_are_decoded() -> None:
    chunk = struct.pack(">4sIIBBBBB", b"IHDR", 1 << 15, 1 << 14, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + bytes(100)
    with pytest.raises(ImageError, match="image-too-large: 32,768 x 16,384 pixels"):
        decode(data, Treatment.UPRIGHT)


def test_a_label_does_not_keep_its_record() -> None:
    data = encode_record(0, [2, 5, 1, 0, 0, 1, 1], jpeg())
    found = locate_record(lambda at, length: data[at : at + length], 0, len(data))
    record = decode_payload(join_parts(lambda at, length: data[at : at + length], found))
    assert record.label.base is not None
    assert memoryview(record.label.base).nbytes == record.label.nbytes
    assert record.label.flags.writeable


def test_a_writer_does_not_keep_the_callers_label(tmp_path: Path) -> None:
    label = np.array([2, 5, 0, 0, 0, 1, 1], np.float32)
    with recpack.RecordWriter(tmp_path / "a.rec", classes=["cat", "dog"]) as writer:
        for id_ in (0, 1, 1):
            label[2] = id_
            writer.write(jpeg(), label=label)
        label[:] = 0
    assert writer.manifest is not None
    assert writer.manifest.objects == {"cat": 1, "dog": 2}
    assert recpack.verify(tmp_path / "a.rec", jobs=1).records == 3
