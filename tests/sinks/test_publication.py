"""An output on a disk is the old one or the new one, whole, wherever its run is killed."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import recpack
from recpack.cli.app import main
from recpack.formats.manifest import Manifest, manifest_beside
from recpack.sinks.file import FileSink
from recpack.storage.journal import find_companion, journal_path, settled
from recpack.storage.paths import read_companion
from recpack.storage.s3.client import S3Client

OLD, NEW = b"of the old run", b"of the new run, which is longer"
FINAL = {"a.rec", "a.idx", "a.json"}

DYING = """
import os, sys
from recpack import RecordWriter

def write(folder):
    with RecordWriter(folder + "/a.rec", overwrite="old" in folder) as writer:
        for _ in range(3):
            writer.write(NEW, label=1.0)

def die_before(number, folder):
    left = [number]
    def hook(event, arguments):
        if event in ("open", "os.rename", "os.remove", "os.truncate"):
            if folder in str(arguments[0]):
                left[0] -= 1
                if not left[0]:
                    os._exit(9)
    sys.addaudithook(hook)

os.mkdir(sys.argv[1])
write(sys.argv[1])  # so that the children import nothing
for number, folder in enumerate(sys.argv[2:], 1):
    if not os.fork():
        die_before(number, folder)
        write(folder)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
"""Writes the same output into many folders. Each run dies before another call to the system that
opens, renames, removes or truncates a file."""


def write(path: Path, image: bytes = OLD, **options: bool) -> None:
    with recpack.RecordWriter(path, **options) as writer:
        for _ in range(3):
            writer.write(image, label=1.0)


def content(path: Path) -> bytes:
    """What the records hold, after every reader found the output whole."""
    verification = recpack.verify(path, jobs=1)
    assert verification.rules == ("manifest", "recordio", "index")
    assert recpack.inspect(path).manifest is not None
    with recpack.RecordReader(path) as records:
        assert records.index() is not None
        images = {bytes(records.read_key(key).image_bytes) for key in range(3)}
    (image,) = images
    return image


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.once
@pytest.mark.parametrize("old", [False, True])
def test_killed_before_any_call(tmp_path: Path, old: bool) -> None:
    folders = [tmp_path / f"{'old' if old else 'none'}-{number}" for number in range(32)]
    for folder in folders:
        folder.mkdir()
        if old:
            write(folder / "a.rec")
            (folder / "a.lst").write_text("0\t1\ta.jpg\n1\t1\tb.jpg\n2\t1\tc.jpg\n")
    command = [sys.executable, "-c", DYING.replace("NEW", repr(NEW)), tmp_path / "first", *folders]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    codes = [int(line) for line in run.stdout.split()]
    deaths = codes.index(0)
    assert codes == [9] * deaths + [0] * (len(codes) - deaths)
    seen = []
    for folder in folders[: deaths + 1]:
        path = folder / "a.rec"
        now = content(path) if path.exists() else b""
        seen.append(now)
        if now == OLD:
            assert {*FINAL, "a.lst"} <= names(folder)
        elif now == NEW:  # the list is of the older output
            assert recpack.unpack(path, folder / "images").images == 3
            assert list((folder / "images").rglob("00000000.bin"))
            shutil.rmtree(folder / "images")
        if now:
            with pytest.raises(recpack.SinkError, match=r"a\.rec exists; .*--overwrite"):
                write(path)
            assert names(folder) == FINAL | ({"a.lst"} if now == OLD else set())
            assert content(path) == now
        else:
            write(path)
            assert names(folder) == FINAL
    before = OLD if old else b""
    published = seen.index(NEW)
    assert seen == [before] * published + [NEW] * (len(seen) - published)
    assert published > 8
    assert len(seen) - published > 4


def stop_before_the_names(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish, with a folder in the index's place that comes at the last moment."""
    rename = os.rename

    def rename_and_obstruct(source: str, target: str) -> None:
        rename(source, target)
        if Path(target) == path:
            path.with_suffix(".idx").unlink(missing_ok=True)
            path.with_suffix(".idx").mkdir()

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename_and_obstruct)
        with pytest.raises(recpack.SinkError, match="published and whole") as caught:
            write(path, NEW, overwrite=True)
    assert "a.idx is not a file" in str(caught.value)
    command = str(caught.value).rpartition("run: recpack ")[2]
    assert shlex.split(command) == ["index", str(path), "--overwrite"]


@pytest.mark.parametrize("old", [False, True])
def test_an_obstacle_after_the_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    path = tmp_path / "a.rec"
    if old:
        write(path)
        (tmp_path / "a.lst").write_text("0\t1\ta.jpg\n")
    stop_before_the_names(path, monkeypatch)
    assert content(path) == NEW
    assert main(["index", str(path), "--overwrite"]) == 1  # the cause is still there
    assert content(path) == NEW
    (tmp_path / "a.idx").rmdir()
    assert main(["index", str(path), "--overwrite"]) == 0
    assert names(tmp_path) == FINAL
    assert content(path) == NEW


def test_a_list_does_not_meet_that_of_an_unfinished_publication(
    devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.rec"
    stop_before_the_names(path, monkeypatch)
    (tmp_path / "a.idx").rmdir()
    recpack.write_list(devkit, tmp_path / "a.lst")
    assert names(tmp_path) == FINAL | {"a.lst"}
    assert content(path) == NEW


@pytest.mark.parametrize("late", [False, True])
def test_a_short_fault_after_the_publication_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """A call fails once, before or after it did its work."""
    for number in range(8):
        path = tmp_path / str(number) / "a.rec"
        write(path)
        (path.parent / "a.lst").write_text("old")
        with monkeypatch.context() as patch:
            turns = turns_after_publication(path, number)
            for name in ("rename", "unlink", "fsync"):
                patch.setattr(os, name, failing(getattr(os, name), turns, late=late))
            write(path, NEW, overwrite=True)
        assert content(path) == NEW
        assert names(path.parent) >= FINAL
        assert not (path.parent / "a.lst").exists()


def turns_after_publication(path: Path, number: int) -> Iterator[bool]:
    """True at the ``number``-th question after the new ``.rec`` got its name, False at others."""
    size = path.stat().st_size
    while path.stat().st_size == size:
        yield False
    yield from (turn == number for turn in itertools.count())


def failing(call: Callable[..., None], turns: Iterator[bool], *, late: bool) -> Callable[..., None]:
    def fail(*arguments: object) -> None:
        fails = next(turns)
        if late or not fails:
            call(*arguments)
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    return fail


@pytest.mark.parametrize("name", ["ftruncate", "pwrite", "fsync"])
def test_a_fault_before_the_publication_leaves_the_older_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "a.rec"
    write(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing(getattr(os, name), itertools.repeat(True), late=False))
        with pytest.raises(recpack.SinkError, match="can't be written: Input/output error"):
            write(path, NEW, overwrite=True)
    assert content(path) == OLD
    assert names(tmp_path) == FINAL
    write(path, NEW, overwrite=True)
    assert content(path) == NEW


def test_an_interruption_after_the_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def interrupt(source: str, target: str) -> None:
        rename(source, target)
        if Path(target).suffix == ".rec":
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        write(tmp_path / "a.rec", NEW)
    assert caught.value.__notes__ == [f"{tmp_path}/a.rec was published before, and is whole"]
    assert names(tmp_path) == FINAL
    assert content(tmp_path / "a.rec") == NEW


def test_journals_that_prove_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.rec"
    stop_before_the_names(path, monkeypatch)
    (tmp_path / "a.idx").rmdir()
    journal = journal_path(path)
    sound = json.loads(journal.read_text())
    unfinished = find_companion(path, ".idx")
    assert unfinished != tmp_path / "a.idx"
    inode, size, time = sound["files"][".rec"]
    wrongs: list[object] = [
        sound | {"files": sound["files"] | {".rec": [inode, size + 1, time]}},
        sound | {"files": sound["files"] | {".rec": [inode + 1, size, time + 1]}},
        sound | {"files": sound["files"] | {".rec": [inode, size]}},
        sound | {"files": sound["files"] | {".rec": [float("inf"), size, time]}},
        sound | {"files": sound["files"] | {"/../b.idx": [inode, size, time]}},
        sound | {"files": []},
        sound | {"token": "../x"},
        sound | {"absent": [["/x"]]},
        {},
        [],
    ]
    for wrong in wrongs:
        journal.write_text(json.dumps(wrong))
        assert find_companion(path, ".idx") == tmp_path / "a.idx"
    journal.write_text("[" * 60_000)
    assert find_companion(path, ".idx") == tmp_path / "a.idx"
    journal.write_text(json.dumps(sound))
    assert find_companion(path, ".idx") == unfinished
    unfinished.write_text("another file")  # of another size and time
    assert find_companion(path, ".idx") == tmp_path / "a.idx"
    journal.rename(tmp_path / "elsewhere")
    journal.symlink_to(tmp_path / "elsewhere")
    assert find_companion(path, ".json") == tmp_path / "a.json"
    journal.unlink()
    os.mkfifo(journal)
    assert find_companion(path, ".json") == tmp_path / "a.json"
    if os.geteuid() == 0:
        journal.unlink()
        journal.write_text(json.dumps(sound))
        os.chown(journal, 1, -1)  # of another user
        assert find_companion(path, ".json") == tmp_path / "a.json"
        journal.chmod(0)  # who lets nobody read it
        tmp_path.chmod(0o755)
        if not (child := os.fork()):
            found = Path()
            try:
                os.chdir(tmp_path)
                os.setuid(2)
                found = find_companion(Path("a.rec"), ".json")
            finally:
                os._exit(found != Path("a.json"))
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("unit", [1, 10**9])
def test_a_copy_of_an_unfinished_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: int
) -> None:
    """Another disk, a backup that was restored: other inodes, the same times, in tar seconds."""
    (tmp_path / "first").mkdir()
    write(tmp_path / "first" / "a.rec")
    stop_before_the_names(tmp_path / "first" / "a.rec", monkeypatch)
    (tmp_path / "first" / "a.idx").rmdir()
    copy = tmp_path / "second"
    shutil.copytree(tmp_path / "first", copy)
    for file in copy.iterdir():
        time = file.stat().st_mtime_ns
        os.utime(file, ns=(time, time - time % unit))
    assert content(copy / "a.rec") == NEW
    with pytest.raises(recpack.SinkError, match="exists"):
        write(copy / "a.rec")
    assert names(copy) == FINAL
    assert content(copy / "a.rec") == NEW


def test_a_companion_that_gets_its_name_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.rec"
    stop_before_the_names(path, monkeypatch)
    (tmp_path / "a.idx").rmdir()

    def read(name: str) -> bytes:
        with settled(path):
            return Path(name).read_bytes()

    assert read_companion(path, ".idx", S3Client(), read) == (tmp_path / "a.idx").read_bytes()


def test_a_reader_of_an_output_that_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    write(path)
    with recpack.RecordReader(path) as records:
        with recpack.RecordWriter(path, overwrite=True) as writer:
            writer.write(NEW, label=1.0)
        assert len(records) == 3
        assert records.read_key(2).image_bytes == OLD
        with pytest.raises(recpack.RecordError, match="has just replaced it; try again"):
            records.manifest()


@pytest.mark.parametrize("command", [recpack.verify, recpack.inspect])
def test_an_output_that_is_replaced_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[[Path], object]
) -> None:
    """It is not called damaged, and gets no classes of the other."""
    path = tmp_path / "a.rec"
    write(path)

    def replace_and_read(path: Path, s3: S3Client) -> Manifest | None:
        write(tmp_path / "a.rec", NEW, overwrite=True)
        return manifest_beside(path, s3)

    monkeypatch.setattr("recpack.records.reader.manifest_beside", replace_and_read)
    with pytest.raises(recpack.RecordError, match="has just replaced it; try again"):
        command(path)


def test_one_run_at_a_time_makes_an_index(tmp_path: Path) -> None:
    write(tmp_path / "a.rec")
    with (
        FileSink(tmp_path / "a.rec", overwrite=True),
        pytest.raises(recpack.SinkError, match="another run is writing it"),
    ):
        recpack.reindex(tmp_path / "a.rec", overwrite=True)


def test_a_disk_that_does_not_answer_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it renamed the .rec is unknown."""
    path = tmp_path / "a.rec"
    rename, fail = os.rename, failing(print, itertools.repeat(True), late=False)

    def rename_and_die(source: str, target: str) -> None:
        rename(source, target)
        if Path(target) == path:
            monkeypatch.setattr(os, "lstat", fail)
            fail()

    monkeypatch.setattr(os, "rename", rename_and_die)
    with pytest.raises(recpack.SinkError, match=r"perhaps it is .* whole; look with: .* verify"):
        write(path, NEW)
    monkeypatch.undo()
    assert content(path) == NEW
