"""Data sets in zip archives: what is read from them is what unpacking them would give."""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import subprocess
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recpack
from recpack.errors import DataError
from recpack.storage.regular import TooLargeError
from recpack.storage.s3.client import S3Client
from recpack.storage.trees import archive as archives
from recpack.storage.trees import zip_index
from recpack.storage.trees.archive import find_archive
from recpack.storage.trees.open import open_tree
from recpack.storage.trees.zip_index import read_members
from tests.conftest import Store
from tests.support.archives import made, make_zip, read_archive
from tests.support.devkits import box_xml, jpeg, xml

pytestmark = pytest.mark.usefixtures("cache")

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]


def in_zip(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


LOCAL, CENTRAL = 30, 46
"""Bytes of the two headers of a file."""


def changed(raw: bytes, name: str, header: int, offset: int, format: str, value: int) -> bytes:
    """The archive with a number at an offset in one header of a file."""
    room = bytearray(raw)
    find = raw.index if header == LOCAL else raw.rindex
    struct.pack_into(format, room, find(name.encode()) - header + offset, value)
    return bytes(room)


# ---- the same bytes as the folder's


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", [{"jobs": 1}, {"jobs": 2, "segment_size": "1MiB"}])
def test_the_bytes_are_the_folders(
    devkit: Path, expected: dict[str, bytes], tmp_path: Path, method: int, options: dict[str, Any]
) -> None:
    recpack.convert(make_zip(devkit, tmp_path / "d.zip", method), tmp_path / "x.rec", **options)
    assert made(tmp_path) == expected


@pytest.mark.parametrize(
    "command",
    ["zip -qr ../d.zip .", "zip -qr0 ../d.zip .", "zip -qr -n .jpg ../d.zip .",
     "zip -qr - . | cat > ../d.zip", "zip -qr -fz ../d.zip .",
     "zip -qr ../d.zip . && zip -qr ../d.zip ."],
)  # fmt: skip
def test_archives_of_other_programs(
    devkit: Path, expected: dict[str, bytes], tmp_path: Path, command: str
) -> None:
    if shutil.which("zip") is None:
        pytest.skip("no zip here")
    shutil.copytree(devkit, tmp_path / "folder")
    # beside the folder: in it, the archive would take in itself while it grows
    subprocess.run(command, shell=True, cwd=tmp_path / "folder", check=True)
    recpack.convert(tmp_path / "d.zip", tmp_path / "x.rec", jobs=1)
    assert made(tmp_path) == expected


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_on_s3(
    devkit: Path, expected: dict[str, bytes], tmp_path: Path, store: Store, method: int
) -> None:
    archive = make_zip(devkit, tmp_path / "d.zip", method)
    store.access.call("put_object", Bucket=store.bucket, Key="in/d.zip", Body=archive.read_bytes())
    url = f"s3://{store.bucket}/in/d.zip"
    for options in ({"jobs": 1}, {"jobs": 2, "segment_size": "1MiB"}):
        recpack.convert(url, tmp_path / "x.rec", endpoint_url=store.url, overwrite=True, **options)
        assert made(tmp_path) == expected
    (tmp_path / "rows.lst").write_bytes(expected[".lst"])
    recpack.pack(
        tmp_path / "rows.lst", url, tmp_path / "x.rec", endpoint_url=store.url, overwrite=True
    )
    assert made(tmp_path) == expected


# ---- the index


NAMES = st.lists(
    st.text("ab.ü ", min_size=1, max_size=8).filter(lambda part: part.strip(".") != ""),
    min_size=1, max_size=4,
).map("/".join)  # fmt: skip


class _Stream(io.RawIOBase):
    """A file that can't seek: sizes then stand behind the data."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


@settings(max_examples=150)
@given(
    st.dictionaries(NAMES, st.binary(max_size=900) | st.just(b"a" * 9999), min_size=1, max_size=9),
    st.sampled_from(METHODS), st.booleans(), st.booleans(), st.binary(max_size=40),
    st.binary(max_size=20) | st.just(b"PK\5\6"),
)  # fmt: skip
def test_the_index_is_zipfiles(
    files: dict[str, bytes], method: int, streamed: bool, large: bool, before: bytes, comment: bytes
) -> None:
    stream: Any = _Stream() if streamed else io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.comment = comment
        for name, content in files.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=large) as file:
                file.write(content)
    raw = before + bytes(stream.data if streamed else stream.getvalue())
    found = read_members(lambda offset, length: raw[offset : offset + length], len(raw))
    # without the comment, because zipfile takes the last signature for the end, even there
    with zipfile.ZipFile(io.BytesIO(raw[: len(raw) - len(comment)])) as archive:
        wanted = {
            os.path.normpath(one.filename): [
                one.header_offset,
                one.file_size,
                one.compress_size,
                one.CRC,
            ]
            for one in archive.infolist()
        }
    assert dict(zip(found.names, found.extents.tolist(), strict=True)) == wanted
    assert list(found.names) == sorted(found.names)


def test_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records that archives have with 65,536 files or 4 GiB and more."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    files = {name: bytes([ord(name)]) * 300 for name in "abc"}
    raw = in_zip(files, zipfile.ZIP_STORED)
    assert raw.count(b"PK\6\6") == raw.count(b"PK\6\7") == 1
    for before in (b"", b"a program that unpacks it"):
        (tmp_path / "d.zip").write_bytes(before + raw)
        assert read_archive(tmp_path / "d.zip") == files
    at = raw.index(b"PK\6\6")
    (tmp_path / "d.zip").write_bytes(raw[:at] + b"PK\0\0" + raw[at + 4 :])
    with pytest.raises(DataError, match=r"d\.zip: its zip64 record is missing; copy it again"):
        read_archive(tmp_path / "d.zip")


def test_names(tmp_path: Path) -> None:
    """Of equal names the last counts; folders and what macOS puts beside files do not."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:

        def add(name: str, content: bytes, system: int = 3) -> None:
            info = zipfile.ZipInfo(name)
            info.create_system = system
            archive.writestr(info, content)

        add("folder/", b"")
        add("twice", b"old")
        add("__MACOSX/._twice", b"?")
        add("./a/../twice2", b"1")
        add("Annotations\\1.xml", b"2", system=0)
        add("Annotations\\2.xml", b"3")
        add("ünï", b"4")
        add("caf#", b"5")
        with pytest.warns(UserWarning, match="Duplicate name"):
            add("twice", b"new")
    raw = file.getvalue()
    good = {
        "twice": b"new", "twice2": b"1", "Annotations/1.xml": b"2", "Annotations\\2.xml": b"3",
        "ünï": b"4",
    }  # fmt: skip
    at = raw.rindex(b"caf#")
    flagged = raw[: at - 38] + b"\0\x08" + raw[at - 36 :]
    for changed_raw, name in (
        (raw, "caf#"),
        (raw.replace(b"caf#", b"caf\x82"), "café"),  # code page 437
        (raw.replace(b"caf#", "fé#".encode()), "fé#"),  # of macOS, without the flag of UTF-8
        (flagged.replace(b"caf#", b"caf\xff"), "caf\udcff"),  # with the flag, but it is not
    ):
        (tmp_path / "d.zip").write_bytes(changed_raw)
        assert read_archive(tmp_path / "d.zip") == good | {name: b"5"}


def test_an_index_is_kept(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_WORTH_KEEPING", 0)
    (tmp_path / "d.zip").write_bytes(
        changed(in_zip({"a": b"1", "b": b"2"}), "b", CENTRAL, 8, "<H", 1)
    )
    first = find_archive(tmp_path / "d.zip", S3Client()).members()
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(zip_index, "read_members", None)
    again = find_archive(tmp_path / "d.zip", S3Client()).members()
    assert list(again.names) == ["a", "b"]
    assert np.array_equal(again.extents, first.extents)


# ---- strangers' archives


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", ".."])
def test_names_that_leave_the_archive(name: str, tmp_path: Path) -> None:
    (tmp_path / "d.zip").write_bytes(in_zip({"good": b"1", name: b"x"}))
    with pytest.raises(DataError, match=r"d\.zip: .* leaves the archive; make the archive again"):
        read_archive(tmp_path / "d.zip")


def with_link() -> bytes:
    info = zipfile.ZipInfo("x.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return file.getvalue()


GOOD = in_zip({"a.txt": b"1", "x.jpg": jpeg()})
STORED = in_zip({"x.jpg": jpeg()}, zipfile.ZIP_STORED)


def listed(offset: int, format: str, value: int, raw: bytes = GOOD) -> bytes:
    return changed(raw, "x.jpg", CENTRAL, offset, format, value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (listed(8, "<H", 1), "it is encrypted; make the archive again without a password"),
        (listed(8, "<H", 0x2000), "it is encrypted; make the archive again without a password"),
        (in_zip({"x.jpg": jpeg()}, zipfile.ZIP_BZIP2), "its compression is not deflate; make the"),
        (in_zip({"x.jpg": jpeg()}, zipfile.ZIP_LZMA), "its compression is not deflate; make the"),
        (with_link(), "a symbolic link; make the archive again without zip's --symlinks"),
        (listed(24, "<I", (512 << 20) + 1), "if that is meant, unpack the archive and give the"),
        (listed(24, "<I", 40 << 20), r"it has [\d,]+ of the 41,943,040 bytes"),
        (listed(24, "<I", 99), r"it has more of the 99 bytes that .*; make the archive again"),
        (listed(20, "<I", 99), r"it has [\d,]+ of the [\d,]+ bytes"),
        (listed(16, "<I", 1), "its checksum is wrong, so it is damaged; copy it again"),
        (listed(16, "<I", 1, STORED), "its checksum is wrong, so it is damaged; copy it again"),
        (changed(GOOD, "x.jpg", LOCAL, 0, "<I", 0), r"no file begins at byte \d+; copy it again"),
        (changed(GOOD, "x.jpg", LOCAL, 8, "<H", 0), "its header differs from the archive's list"),
        (changed(GOOD, "x.jpg", LOCAL, 6, "<H", 1), "its header differs from the archive's list"),
        (changed(GOOD, "x.jpg", LOCAL, 28, "<H", 9999), "its header differs from the archive's"),
        (changed(GOOD, "x.jpg", LOCAL, 28, "<H", 3), "is damaged|it has"),
    ],
)
def test_files_that_can_not_be_read(raw: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "d.zip").write_bytes(raw)
    found = read_archive(tmp_path / "d.zip")
    assert found.get("a.txt", b"1") == b"1"
    with pytest.raises(OSError, match=rf"d\.zip: .*{message}"):
        raise cast(OSError, found["x.jpg"])
    (tmp_path / "x.lst").write_text("0\t2\t5\t0\t.1\t.1\t.2\t.2\tx.jpg\n")
    with pytest.raises(DataError, match=rf"(?s)image-unreadable.*x\.jpg: d\.zip: .*{message}"):
        recpack.pack(tmp_path / "x.lst", tmp_path / "d.zip", tmp_path / "x.rec")
    assert not (tmp_path / "x.rec").exists()


def test_only_files_that_can_not_be_read_are_left_out(tmp_path: Path) -> None:
    text = xml(60, 40, box_xml("cat", (1, 1, 9, 9))).encode()
    files = {f"V/Annotations/{name}.xml": text for name in "ab"}
    files |= {f"V/JPEGImages/{name}.jpg": jpeg() for name in "ab"}
    raw = changed(in_zip(files), "V/JPEGImages/b.jpg", CENTRAL, 8, "<H", 1)
    (tmp_path / "d.zip").write_bytes(raw)
    with pytest.raises(DataError, match=r"b\.jpg: d\.zip: it is encrypted"):
        recpack.convert(tmp_path / "d.zip", tmp_path / "x.rec")
    result = recpack.convert(tmp_path / "d.zip", tmp_path / "x.rec", on_error="skip")
    assert result.manifest.num_samples == 1


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not a zip archive, or the end of one is missing; copy it again"),
        (listed(42, "<I", 0), "share bytes: it is damaged or made to do harm"),
        (listed(42, "<I", 1 << 31), r"'x\.jpg' would have [\d,]+ bytes from byte 2,147,483,648"),
        (listed(20, "<I", 1 << 31), r"'x\.jpg' would have 2,147,483,648 bytes"),
        (listed(24, "<I", 9, STORED), r"'x\.jpg' has [\d,]+ bytes, but would have 9"),
        (listed(24, "<I", 0xFFFFFFFF), r"'x\.jpg' has no zip64 sizes; make the archive again"),
        (listed(28, "<H", 0xFFFF), "its list of files is damaged at byte"),
        (listed(0, "<I", 0), "its list of files is damaged at byte"),
        (GOOD[:-12] + b"\1\0" + GOOD[-10:], "it lists 2 of 1 files; copy it again"),
        (GOOD[:-10] + bytes(4) + GOOD[-6:], "it lists 0 of 2 files; copy it again"),
        (GOOD[:-10] + b"\xff" + GOOD[-9:], "it is truncated or damaged; copy it again"),
        (GOOD[:-18] + b"\3\0" + GOOD[-16:], "it is one part of several; join them with zip -s 0"),
    ],
)
def test_archives_that_are_refused(raw: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "d.zip").write_bytes(raw)
    with pytest.raises(DataError, match=rf"d\.zip: .*{message}"):
        read_archive(tmp_path / "d.zip")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "d.zip").write_bytes(in_zip({}))
    with pytest.raises(DataError, match=r"d\.zip: it is empty"):
        recpack.convert(tmp_path / "d.zip", tmp_path / "x.rec")


def test_cut_short_anywhere(tmp_path: Path) -> None:
    raw = in_zip({"a": b"1" * 700, "b": b"2" * 700})
    for length in range(len(raw)):
        (tmp_path / "d.zip").write_bytes(raw[:length])
        with pytest.raises(DataError, match=r"not a zip archive, or the end of one is missing"):
            find_archive(tmp_path / "d.zip", S3Client()).members()


@settings(max_examples=400)
@given(st.data(), st.integers(1, 255))
def test_a_damaged_byte_never_does_harm(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, change: int
) -> None:
    files = {"aa": b"1" * 700, "bb": bytes(range(40))}
    raw = bytearray(in_zip(files))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= change
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    path.write_bytes(raw)
    try:
        found = read_archive(path)
    except DataError:
        return
    for name, content in found.items():
        assert isinstance(content, OSError) or content == files.get(name, content)
        assert isinstance(content, OSError) or content in files.values()


def test_a_file_that_grows_takes_little_memory(tmp_path: Path) -> None:
    size = 40 << 20
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.jpg", bytes(size - 1) + b"x")
    tree = open_tree(tmp_path / "d.zip", S3Client())
    tracemalloc.start()
    with tree.folder(".") as folder, folder.open("x.jpg") as file:
        assert file.size == size
        for offset, wanted in ((0, bytes(9)), (size - 2, b"\0x"), (5, bytes(9)), (size, b"")):
            assert file.read(offset, 9) == wanted
        with pytest.raises(TooLargeError):
            file.read_all(99)
        room = bytearray(100)
        assert file.read_into(memoryview(room)) == 101
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_large_file_is_read_as_a_small_one(tmp_path: Path) -> None:
    content = np.arange(17 << 18, dtype=np.uint32).tobytes()
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("x", content)
    tree = open_tree(tmp_path / "d.zip", S3Client())
    with tree.folder(".") as folder, folder.open("x") as file:
        for start in range(0, len(content), 3_000_000):
            assert file.read(start, 3_000_000) == content[start : start + 3_000_000]
        assert file.read(7, 9) == content[7:16]
        assert file.read(0, file.size) == content
        room = bytearray(len(content))
        assert file.read_into(memoryview(room)) == len(content)
        assert room == content
