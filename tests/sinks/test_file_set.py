"""A set of shards on a disk is the old one or the new one, whole, wherever its run is killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import recpack
from recpack.formats.manifest import RecFile
from recpack.formats.recordio import RecordBuffer
from recpack.sinks.base import SinkPlan, Written, WrittenSegment, WrittenShard
from recpack.sinks.file_set import FileSetSink
from recpack.sinks.set_journal import complete_folder
from recpack.storage.checksums import Checksum
from recpack.storage.shards import shard_names

DYING = """
import os, sys
import recpack

def pack(source, folder):
    recpack.pack(source + "/a.lst", source, folder + "/x.rec", shards=3, jobs=1,
                 overwrite="none" not in folder)

def die_before(number, folder):
    left = [number]
    def hook(event, arguments):
        if event in ("open", "os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir"):
            if folder in str(arguments[0]):
                left[0] -= 1
                if not left[0]:
                    os._exit(9)
    sys.addaudithook(hook)

source = sys.argv[1]
pack(source, sys.argv[2])  # so that the children import nothing
for number, folder in enumerate(sys.argv[3:], 1):
    if not os.fork():
        die_before(number, folder)
        pack(source, folder)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
"""Packs the same set into many folders. Each run dies before another call to the system."""


def make_list(folder: Path, word: bytes, count: int = 7) -> Path:
    """A list and its images; the word is in each."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(word + b" %d" % number)
    rows = "".join(f"{10 + number}\t{number}\t{number}.jpg\n" for number in range(count))
    (folder / "a.lst").write_text(rows)
    return folder


def pack(source: Path, output: Path, shards: int | None, **options: bool) -> recpack.Result:
    return recpack.pack(source / "a.lst", source, output, shards=shards, jobs=1, **options)


def content(path: Path) -> tuple[bytes, int] | None:
    """The word of a set whose manifest is there, and its shards, all of them sound."""
    if not path.with_suffix(".json").exists():
        return None
    manifest = recpack.Manifest.read(path.with_suffix(".json"))
    words = set()
    assert [one["name"] for one in manifest.shards] == shard_names(path.name, len(manifest.shards))
    for shard in manifest.shards:
        assert shard["name"] is not None
        file = path.with_name(shard["name"])
        data = file.read_bytes()
        assert (len(data), f"crc32:{zlib.crc32(data):08x}") == (shard["bytes"], shard["checksum"])
        with recpack.RecordReader(file) as records:
            index = records.index()
            assert index is not None
            assert index[0].tolist() == list(range(len(records)))
            words |= {bytes(record.image_bytes).split()[0] for record in records}
            assert [records.read_key(key).id for key in index[0].tolist()] == index[0].tolist()
    (word,) = words
    return word, len(manifest.shards)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def files(shards: int) -> set[str]:
    """The files of a whole set."""
    stems = [name.removesuffix(".rec") for name in shard_names("x.rec", shards)]
    return {"x.json", *(stem + suffix for stem in stems for suffix in (".rec", ".idx", ".lst"))}


@pytest.mark.once
@pytest.mark.parametrize("old", [0, 2, 3])
def test_killed_before_any_call(tmp_path: Path, old: int) -> None:
    new, older = make_list(tmp_path / "new", b"NEW"), make_list(tmp_path / "older", b"OLD")
    folders = [tmp_path / f"{'old' if old else 'none'}-{number}" for number in range(64)]
    for folder in folders:
        folder.mkdir()
        if old:
            pack(older, folder / "x.rec", old)
    command = [sys.executable, "-c", DYING, new, tmp_path / "first", *folders]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    codes = [int(line) for line in run.stdout.split()]
    deaths = codes.index(0)
    assert codes == [9] * deaths + [0] * (len(codes) - deaths)
    before = (b"OLD", old) if old else None
    seen, gaps = [], 0
    for number, folder in enumerate(folders[: deaths + 1]):
        path = folder / "x.rec"
        now = content(path)
        assert now in (before, None, (b"NEW", 3))
        arrived = complete_folder(path).exists()
        gap = now is None and before is not None
        assert arrived or not gap  # only what will be published replaces
        gaps += gap
        seen.append(now)
        copy = tmp_path / f"copy-{number}-{'old' if old else 'none'}"
        shutil.copytree(folder, copy)
        if arrived or now is not None:
            with pytest.raises(recpack.SinkError, match=r"x-00000-of-0000\d\.rec exists; .*over"):
                pack(new, copy / "x.rec", 3)
            assert content(copy / "x.rec") == ((b"NEW", 3) if arrived else now)
            assert names(copy) == files(3 if arrived or now == (b"NEW", 3) else old)
        pack(new, path, 3, overwrite=True)
        assert content(path) == (b"NEW", 3)
        assert names(folder) == files(3)
    first = seen.index((b"NEW", 3))
    assert seen == [before] * (first - gaps * bool(old)) + [None] * gaps * bool(old) + [
        (b"NEW", 3)
    ] * (len(seen) - first)
    assert first > 20, deaths
    assert gaps > 9 or not old


@pytest.mark.parametrize("old", [2, 3])
def test_a_set_replaces_a_set_whole(tmp_path: Path, old: int) -> None:
    new, older = make_list(tmp_path / "new", b"NEW"), make_list(tmp_path / "older", b"OLD")
    output = tmp_path / "out" / "x.rec"
    pack(older, output, old)
    with pytest.raises(recpack.SinkError, match=r"x-00000-of-\d+\.rec exists; .*--overwrite"):
        pack(new, output, 3)
    assert content(output) == (b"OLD", old)
    pack(new, output, 3, overwrite=True)
    assert content(output) == (b"NEW", 3)
    assert names(output.parent) == files(3)


def test_what_no_manifest_names_is_not_replaced(tmp_path: Path) -> None:
    source = make_list(tmp_path / "d", b"NEW")
    (tmp_path / "x-00001-of-00008.rec").write_text("of somebody")
    for overwrite in (False, True):
        with pytest.raises(recpack.SinkError, match=r"x-00001-of-00008\.rec (exists|is a shard)"):
            pack(source, tmp_path / "x.rec", 3, overwrite=overwrite)
    assert names(tmp_path) == {"d", "x-00001-of-00008.rec"}


def test_a_manifest_that_would_be_taken_for_a_shards_stays(tmp_path: Path) -> None:
    source = make_list(tmp_path / "d", b"NEW")
    pack(source, tmp_path / "x-00001-of-00003.rec", None)
    before = names(tmp_path)
    with pytest.raises(recpack.SinkError, match=r"x-00001-of-00003\.json is a shard of another"):
        pack(source, tmp_path / "x.rec", 3, overwrite=True)
    assert names(tmp_path) == before


def test_a_name_that_no_manifest_can_hold(tmp_path: Path) -> None:
    source = make_list(tmp_path / "d", b"NEW")
    with pytest.raises(recpack.SinkError, match="choose a name in UTF-8"):
        pack(source, tmp_path / os.fsdecode(b"by\xff.rec"), 2)
    assert names(tmp_path) == {"d"}


def test_a_file_and_a_set_never_replace_each_other(tmp_path: Path) -> None:
    source = make_list(tmp_path / "d", b"NEW")
    one, output = tmp_path / "one" / "x.rec", tmp_path / "set" / "x.rec"
    pack(source, one, None)
    pack(source, output, 2)
    for overwrite in (False, True):
        with pytest.raises(recpack.SinkError, match=r"x\.rec is one file, and a set of shards"):
            pack(source, one, 2, overwrite=overwrite)
        with pytest.raises(recpack.SinkError, match=r"x\.rec is a set of 2 shards, which one"):
            pack(source, output, None, overwrite=overwrite)
        shard = output.with_name("x-00001-of-00002.rec")
        with pytest.raises(recpack.SinkError, match=r"is a shard of the set x\.rec; choose"):
            pack(source, shard, None, overwrite=overwrite)
    assert names(one.parent) == {"x.rec", "x.idx", "x.lst", "x.json"}
    assert content(output) == (b"NEW", 2)
    assert names(output.parent) == files(2)


def test_an_obstacle_after_all_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy of the message publishes the set."""
    source, output = make_list(tmp_path / "d", b"NEW"), tmp_path / "out" / "x.rec"
    rename = os.rename

    def rename_and_obstruct(old: str, new: str) -> None:
        rename(old, new)
        if Path(new) == complete_folder(output):
            output.with_name("x-00001-of-00003.rec").mkdir()

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename_and_obstruct)
        with pytest.raises(
            recpack.SinkError, match=r"all shards are packed, .* run: recpack index"
        ):
            pack(source, output, 3)
    assert content(output) is None
    output.with_name("x-00001-of-00003.rec").rmdir()
    with pytest.raises(recpack.SinkError, match="exists"):
        pack(source, output, 3)
    assert content(output) == (b"NEW", 3)
    assert names(output.parent) == files(3)


def test_an_interruption_after_all_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = make_list(tmp_path / "d", b"NEW"), tmp_path / "out" / "x.rec"
    rename, turns = os.rename, iter([True])

    def interrupt(old: str, new: str) -> None:
        rename(old, new)
        if Path(new).suffix == ".rec" and next(turns, False):
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        pack(source, output, 3)
    assert caught.value.__notes__ == [f"{output} was published before, and is whole"]
    assert content(output) == (b"NEW", 3)
    assert names(output.parent) == files(3)


def test_segments_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a cluster: a segment waits in a file of its own, and a lost worker leaves others."""
    monkeypatch.setattr("recpack.sinks.file_writer._PATIENCE", 0.0)
    sink = FileSetSink(tmp_path / "x.rec", 2)
    with sink:
        plan = SinkPlan(segments=4, shards=(0, 1, 4), ordered=False)
        first, second = sink.writers(plan)
        receipts: dict[int, str] = {}
        for writer, number in ((second, 3), (second, 1), (second, 2), (first, 0)):
            buffer = RecordBuffer(8)
            buffer.begin(number, b"", 4)[:] = b"%04d" % number
            buffer.commit()
            receipts |= writer.write(number, buffer, 0)
        assert receipts == {3: "aside"}
        (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
        (folder / "x-00001-of-00002.rec-2-0a1b2c3d").write_text("of a lost worker")
        size = len(buffer)
        shards = [
            WrittenShard(
                Written(Checksum.CRC32, [WrittenSegment(n, size, 0) for n in range(count)], given),
                {".idx": ["0\t0\n"], ".lst": ["0\n"]},
            )
            for count, given in ((1, {}), (3, {2: "aside"}))
        ]
        rec = RecFile("x.rec", 4 * size, None)
        named = [RecFile(name, 4 * size, None) for name in shard_names("x.rec", 2)]
        manifest = recpack.Manifest(
            rec=rec, num_samples=4, classes=(), label_width=0, header_width=0, object_width=0,
            objects={}, recpack_version="0", shards=tuple(named),
        )  # fmt: skip
        sink.publish(shards, {}, lambda _: manifest.to_json())
    assert names(tmp_path) == files(2)
    with recpack.RecordReader(tmp_path / "x-00001-of-00002.rec", mapped=False) as records:
        assert [record.id for record in records] == [1, 2, 3]


def test_what_is_planted_in_the_place_of_a_complete_set(tmp_path: Path) -> None:
    source, output = make_list(tmp_path / "d", b"NEW"), tmp_path / "x.rec"
    (tmp_path / "elsewhere").mkdir()
    complete_folder(output).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(recpack.SinkError, match="is not of a run of yours; move it away"):
        pack(source, output, 3)
    complete_folder(output).unlink()
    complete_folder(output).mkdir()
    (complete_folder(output) / "x.json").write_text(
        recpack.Manifest(
            rec=RecFile("x.rec", 1, None), num_samples=1, classes=("a",),
            label_width=1, header_width=0, object_width=0, objects={"a": 1}, recpack_version="1",
            shards=(RecFile("a.rec", 1, None),),
        ).to_json()
    )  # fmt: skip
    with pytest.raises(recpack.SinkError, match=r"these are not the shards of x\.rec"):
        pack(source, output, 3)
