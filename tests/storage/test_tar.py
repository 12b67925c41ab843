"""Data sets in tar archives: what is read from them is what unpacking them would give."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recpack
from recpack.cli.app import main
from recpack.errors import DataError
from recpack.storage.s3.client import S3Client
from recpack.storage.trees import archive as archives
from recpack.storage.trees import tar_index
from recpack.storage.trees.archive import find_archive
from recpack.storage.trees.archive_tree import ArchiveTree
from recpack.storage.trees.index import SPARSE
from recpack.storage.trees.open import open_tree
from recpack.storage.trees.tar_index import read_members
from tests.conftest import Store
from tests.support.archives import made, make_tar
from tests.support.devkits import box_xml, jpeg, make_voc, xml

pytestmark = pytest.mark.usefixtures("cache")


def in_archive(data: dict[str, bytes], **kinds: Any) -> bytes:
    """An archive of these files; ``kinds`` are further attributes of the last one."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in data.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name == [*data][-1]:
                for attribute, value in kinds.items():
                    setattr(info, attribute, value)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


# ---- the same bytes as the folder's


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("options", [{"jobs": 1}, {"jobs": 2, "segment_size": "1MiB"}])
def test_the_bytes_are_the_folders(
    devkit: Path, expected: dict[str, bytes], tmp_path: Path, format: int, options: dict[str, Any]
) -> None:
    archive = make_tar(devkit, tmp_path / "d.tar", format)
    recpack.convert(archive, tmp_path / "x.rec", **options)
    assert made(tmp_path) == expected


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
@pytest.mark.parametrize("format", ["gnu", "pax", "ustar"])
def test_archives_of_other_programs(
    devkit: Path, expected: dict[str, bytes], tmp_path: Path, program: str, format: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here")
    if (program, format) == ("bsdtar", "gnu"):
        format = "gnutar"
    command = [program, "-c", "--format", format, "-f", str(tmp_path / "d.tar"), devkit.name]
    subprocess.run(command, cwd=devkit.parent, check=True)
    recpack.convert(tmp_path / "d.tar", tmp_path / "x.rec", jobs=1)
    assert made(tmp_path) == expected


def test_images_named_by_their_annotations_are_found(tmp_path: Path) -> None:
    """A worker then needs the whole index: it is not known before which image an id means."""
    files = {}
    for number in range(9):
        text = xml(60, 40, box_xml("cat", (1, 1, 9, 9)), filename=f"image-{number}.jpg")
        files[f"V/Annotations/{number}.xml"] = text.encode()
        files[f"V/JPEGImages/image-{number}.jpg"] = jpeg(seed=number)
    (tmp_path / "d.tar").write_bytes(in_archive(files))
    for jobs in (1, 2):
        result = recpack.convert(tmp_path / "d.tar", tmp_path / "x.rec", jobs=jobs, overwrite=True)
        assert result.manifest.num_samples == 9


@pytest.mark.slow
def test_on_s3(devkit: Path, expected: dict[str, bytes], tmp_path: Path, store: Store) -> None:
    archive = make_tar(devkit, tmp_path / "d.tar")
    store.access.call("put_object", Bucket=store.bucket, Key="in/d.tar", Body=archive.read_bytes())
    url = f"s3://{store.bucket}/in/d.tar"
    for options in ({"jobs": 1}, {"jobs": 2, "segment_size": "1MiB"}):
        recpack.convert(url, tmp_path / "x.rec", endpoint_url=store.url, overwrite=True, **options)
        assert made(tmp_path) == expected
    with pytest.raises(DataError, match=r"none\.tar"):
        recpack.convert(f"s3://{store.bucket}/none.tar", tmp_path / "y.rec", endpoint_url=store.url)


# ---- the index


NAMES = st.lists(
    st.text("ab.ü ", min_size=1, max_size=8).filter(lambda part: part.strip(".") != ""),
    min_size=1, max_size=4,
).map("/".join)  # fmt: skip


@settings(max_examples=150)
@given(
    st.dictionaries(NAMES | st.just("x" * 150) | st.just("d/" * 60 + "y"), st.binary(max_size=1500),
                    min_size=1, max_size=12),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.booleans(),
)  # fmt: skip
def test_the_index_is_tarfiles(files: dict[str, bytes], format: int, times: bool) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=format) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1.5 if times else 1
            try:
                archive.addfile(info, io.BytesIO(content))
            except ValueError:  # a name too long for ustar
                return
    raw = data.getvalue()
    found = read_members(lambda offset, length: raw[offset : offset + length], len(raw))
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        wanted = {os.path.normpath(one.name): (one.offset_data, one.size) for one in archive}
    table = map(tuple, found.extents[:, :2].tolist())
    assert dict(zip(found.names, table, strict=True)) == wanted
    assert list(found.names) == sorted(found.names)


def members(raw: bytes) -> dict[str, bytes]:
    found = read_members(lambda offset, length: raw[offset : offset + length], len(raw))
    return {
        name: raw[start : start + size]
        for name, (start, size, _, _) in zip(found.names, found.extents.tolist(), strict=True)
    }


def test_links_lead_to_files_of_the_archive() -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:

        def add(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> None:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            content = name.encode() if kind == tarfile.REGTYPE else b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

        add("a/file")
        add("b/hard", tarfile.LNKTYPE, "a/file")
        add("b/soft", tarfile.SYMTYPE, "../a/file")
        add("b/twice", tarfile.SYMTYPE, "soft")
        add("b/out", tarfile.SYMTYPE, "../../../etc/passwd")
        add("b/absolute", tarfile.SYMTYPE, "/etc/passwd")
        add("b/loop", tarfile.SYMTYPE, "loop")
        add("pipe", tarfile.FIFOTYPE)
        add("device", tarfile.CHRTYPE)
        add("was", tarfile.SYMTYPE, "a/file")
        add("was")
    assert members(data.getvalue()) == {
        "a/file": b"a/file", "b/hard": b"a/file", "b/soft": b"a/file", "b/twice": b"a/file",
        "was": b"was",
    }  # fmt: skip


def test_of_equal_names_the_last_counts() -> None:
    first, second = in_archive({"x": b"old", "./y": b"1"}), in_archive({"./x": b"new"})
    assert members(first[:2048] + second)["x"] == b"new"
    assert members(in_archive({"x": b""})) == {"x": b""}
    assert members(bytes(10240)) == {}


def test_a_sparse_file_is_refused_when_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "holes.jpg").open("wb") as file:
        file.truncate(1 << 20)
        file.write(b"x")
    command = ["tar", "-c", "--sparse", "--format=gnu", "-f", "d.tar", "holes.jpg"]
    subprocess.run(command, cwd=tmp_path, check=True)
    tree = open_tree(tmp_path / "d.tar", S3Client())
    assert isinstance(tree, ArchiveTree)
    assert tree.extents[:, 1].tolist() == [SPARSE]
    with tree.folder(".") as folder, pytest.raises(OSError, match="sparse"):
        folder.open("holes.jpg")


# ---- strangers' archives


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", ".."])
def test_names_that_leave_the_archive(name: str) -> None:
    with pytest.raises(DataError, match="leaves the archive"):
        members(in_archive({"good": b"1", name: b"x"}))


def sized(raw: bytes, field: bytes) -> bytes:
    """The first header with this in its size field, and a checksum that fits."""
    header = bytearray(raw[:512])
    header[124 : 124 + len(field)] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + raw[512:]


@pytest.mark.parametrize(
    "field", [b"77777777777\0", b"\x80" + b"\x7f" * 11, b"\xff" * 12, b"00000004001\0", b"1_0 "]
)
def test_sizes_that_lie(field: bytes) -> None:
    raw = sized(in_archive({"x": b"0123456789"})[:1536], field)
    with pytest.raises(DataError, match=r"truncated|not a tar|damaged"):
        members(raw)


def test_headers_that_are_too_long() -> None:
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        raw = in_archive({"x": b"path=" + b"x" * (1 << 20)}, type=kind)
        with pytest.raises(DataError, match=r"not a tar archive|no file"):
            members(raw + in_archive({"y": b""}))
    chain = b"".join(
        in_archive({"x": b"n"}, type=tarfile.GNUTYPE_LONGNAME)[:1024] for _ in range(9999)
    )
    with pytest.raises(DataError, match="not a tar archive"):
        members(chain)


def test_cut_short_anywhere() -> None:
    raw = in_archive({"a": b"1" * 700, "b": b"2" * 700})
    second = 512 + 1024  # where a cut leaves a sound archive of fewer files
    for length in range(1, 2 * second):
        if length == second or length >= second + 512 + 700:
            assert set(members(raw[:length])) == ({"a"} if length == second else {"a", "b"})
        elif not 512 + 700 <= length < second:  # the padding is missed by nobody
            with pytest.raises(DataError, match=r"truncated|not a tar archive"):
                members(raw[:length])


@settings(max_examples=400)
@given(st.integers(0, 3071), st.integers(1, 255))
def test_a_damaged_byte_never_does_harm(place: int, change: int) -> None:
    raw = bytearray(in_archive({"a": b"1" * 700, "b": b"2" * 10}))
    raw[place] ^= change
    try:
        found = members(bytes(raw))
    except DataError:
        return
    assert all(len(content) <= 700 for content in found.values())


@pytest.mark.parametrize(
    ("command", "kind"),
    [("gzip", "gunzip -k"), ("bzip2", "bunzip2 -k"), ("xz", "unxz -k"), ("zstd", "unzstd")],
)
def test_compressed_archives_are_refused(
    tmp_path: Path, command: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which(command) is None:
        pytest.skip(f"no {command} here")
    (tmp_path / "d.tar").write_bytes(in_archive({"x": b"1"}))
    name = {"gzip": "d.tar.gz", "bzip2": "d.tar.bz2", "xz": "d.tar.xz", "zstd": "d.tar.zst"}[
        command
    ]
    subprocess.run([command, "-q", tmp_path / "d.tar"], check=True)
    assert main(["convert", str(tmp_path / name), str(tmp_path / "x.rec")]) == 1
    complaint = capsys.readouterr().err
    assert name in complaint
    assert f"run {kind} first" in complaint
    assert not (tmp_path / "x.rec").exists()


def test_what_is_refused(tmp_path: Path, devkit: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg())
    (tmp_path / "photo").write_bytes(jpeg())
    for root, error, message in (
        (photo, DataError, r"photo\.jpg: this is one file of a data set; give the folder of all"),
        (tmp_path / "photo", DataError, r"photo: .*not a tar archive"),
        ([devkit, tmp_path], recpack.ConfigError, "one or several archives"),
        ([], recpack.ConfigError, "give one folder"),
        (tmp_path / "none.tar", DataError, r"none\.tar: no such folder"),
    ):
        with pytest.raises(error, match=message):
            recpack.convert(root, tmp_path / "x.rec")
    (tmp_path / "empty.tar").write_bytes(bytes(10240))
    with pytest.raises(DataError, match=r"empty\.tar: it is empty"):
        recpack.convert(tmp_path / "empty.tar", tmp_path / "x.rec")
    (tmp_path / "x.lst").write_text("0\t2\t5\t0\t.1\t.1\t.2\t.2\ta.jpg\n")
    with pytest.raises(DataError, match="image is missing"):
        recpack.pack(tmp_path / "x.lst", tmp_path / "empty.tar", tmp_path / "x.rec")


def test_an_archive_that_changes_while_it_is_read(devkit: Path, tmp_path: Path) -> None:
    archive = make_tar(devkit, tmp_path / "d.tar")
    found = find_archive(archive, S3Client())
    tree = ArchiveTree.of([found])
    os.utime(archive, ns=(1, 1))
    archives._source.cache_clear()
    with tree.folder(".") as folder, pytest.raises(OSError, match="has changed"):
        folder.open(tree.names[0])


# ---- what is remembered


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often an archive was gone through."""
    monkeypatch.setattr(archives, "_WORTH_KEEPING", 0)
    made: list[int] = []

    def counted(read: Any, size: int) -> Any:
        made.append(size)
        return read_members(read, size)

    monkeypatch.setattr(tar_index, "read_members", counted)
    return made


def test_an_index_is_kept(tmp_path: Path, cache: Path, passes: list[int]) -> None:
    make_voc(tmp_path / "VOCdevkit", {"2007": 5})
    archive = make_tar(tmp_path / "VOCdevkit", tmp_path / "d.tar")
    first = find_archive(archive, S3Client()).members()
    again = find_archive(archive, S3Client()).members()
    assert len(passes) == 1
    assert list(again.names) == list(first.names)
    assert np.array_equal(again.extents, first.extents)
    make_tar(tmp_path / "VOCdevkit", tmp_path / "d.tar", tarfile.PAX_FORMAT)
    os.utime(archive, ns=(5, 5))
    find_archive(archive, S3Client()).members()
    assert len(passes) == 2
    assert len(list(cache.iterdir())) == 2
    for kept in cache.iterdir():  # cut short, or of somebody who means harm
        kept.write_bytes(kept.read_bytes()[:200])
    find_archive(archive, S3Client()).members()
    assert len(passes) == 3
    (kept,) = (path for path in cache.iterdir() if path.stat().st_size > 200)
    np.savez(kept, blob=np.zeros(3, np.uint8), bounds=np.array([0, 3]),
             extents=np.array([[1 << 40, 5, 5, -1]]))  # fmt: skip
    find_archive(archive, S3Client()).members()
    assert len(passes) == 4


def test_no_room_for_an_index_is_no_error(
    tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "d.tar").write_bytes(in_archive({"x": b"1"}))
    for _ in range(2):
        assert list(find_archive(tmp_path / "d.tar", S3Client()).members().names) == ["x"]
    assert len(passes) == 2


def test_a_task_takes_its_part_of_the_index(devkit: Path, tmp_path: Path) -> None:
    tree = open_tree(make_tar(devkit, tmp_path / "d.tar"), S3Client())
    assert isinstance(tree, ArchiveTree)
    names = list(tree.names)
    part = pickle.loads(pickle.dumps(tree.only([names[3], "nowhere", names[50], names[3]])))
    assert list(part.names) == [names[3], names[50]]
    assert part.extent(names[50]) == tree.extent(names[50])
    assert part.extent(names[4]) is None
    assert len(pickle.dumps(tree.only(names[:9]))) < len(pickle.dumps(tree)) / 10
    assert list(tree.only([]).names) == []
    assert tree.folders(".") == ["VOC2007", "VOC2012"]
    assert tree.folders("VOC2007") == ["Annotations", "ImageSets", "JPEGImages"]
    assert tree.files("VOC2007") == []
    with pytest.raises(FileNotFoundError):
        tree.files("nowhere")
