from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

import recpack
from recpack.cli.app import main
from recpack.demo.story import make_devkit
from recpack.errors import SinkError
from recpack.storage import files
from recpack.storage.files import Claim, replace_file, sync_folder, write_bytes, write_lines

TOKEN = "0123456789abcdef"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    for left in ("", "-journal", ".idx"):
        (tmp_path / f"a.txt.recpack-{TOKEN}{left}").write_text("of a killed run")
    others = [f"b.txt.recpack-{TOKEN}", f"a.txt.recpack-{TOKEN[1:]}", f"a.txt.recpack-{TOKEN}0"]
    for other in others:
        (tmp_path / other).write_text("not ours")
    with pytest.raises(ZeroDivisionError), replace_file(path) as file:
        file.write(b"ne")
        assert len(names(tmp_path)) == len(others) + 3  # the file, the lock, the unfinished one
        1 / 0  # noqa: B018
    assert path.read_text() == "old"
    with replace_file(path) as file:
        file.write(b"new")
    assert path.read_text() == "new"
    assert names(tmp_path) == sorted(["a.txt", *others])


def test_what_can_not_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("folder", "folder is not a file; move it away"),
        ("pipe", "pipe is not a file; move it away"),
        ("n" * 231, "its name is 1 bytes too long"),
    ):
        with pytest.raises(SinkError, match=message), replace_file(tmp_path / name):
            raise AssertionError
    with (
        replace_file(tmp_path / "a") as file,
        pytest.raises(SinkError, match="another run is writing it"),
        replace_file(tmp_path / "a"),
    ):
        file.write(b"mine")
        raise AssertionError
    assert names(tmp_path) == ["a", "folder", "pipe"]


def test_a_folder_that_is_not_synced_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has its name already."""

    def fail(folder: Path) -> None:
        raise OSError(5, os.strerror(5), folder)

    monkeypatch.setattr(files, "sync_folder", fail)
    with replace_file(tmp_path / "a") as file:
        file.write(b"new")
    assert names(tmp_path) == ["a"]


def test_new_folders_are_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    write_lines(tmp_path / "new" / "deep" / "a", ["text"])
    assert synced == [tmp_path, tmp_path / "new", tmp_path / "new" / "deep"]
    with pytest.raises(SinkError, match="can't be written: Not a directory"):
        write_lines(tmp_path / "new" / "deep" / "a" / "b", ["text"])


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_folder_that_can_not_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Some file systems can't; another error is one. The folder is closed each time."""
    synced: list[int] = []

    def fsync(descriptor: int) -> None:
        synced.append(descriptor)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output") if number == errno.EIO else nullcontext():
        sync_folder(tmp_path)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(synced[0])


def test_an_obstacle_is_found_before_the_work(
    devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.json").mkdir()
    for report, message in (("folder.json", "is not a file"), ("n" * 226 + ".json", "too long")):
        words = [str(devkit), str(tmp_path / "a.rec"), "--report", str(tmp_path / report)]
        assert main(["convert", *words]) == 1
        assert message in capsys.readouterr().err
        with pytest.raises(SinkError, match=message):
            recpack.write_list(devkit, tmp_path / report, overwrite=True)
    assert names(tmp_path) == ["folder.json"]


def test_a_lock_that_was_removed_meanwhile(tmp_path: Path) -> None:
    with Claim(tmp_path / "a") as claim:
        (tmp_path / "a.recpack-lock").unlink()
        (tmp_path / "a.recpack-lock").write_text("of another run")
    assert names(tmp_path) == ["a.recpack-lock"]
    claim.close()
    with Claim(tmp_path / "a"):
        pass
    assert names(tmp_path) == []


COMMANDS = [
    "list DEVKIT OUT/a.lst --overwrite",
    "check DEVKIT --report OUT/a.json",
    "check DEVKIT --report OUT/a.html",
    "preview REC OUT/a.png --count 1",
    "unpack REC OUT --overwrite",
    "index OUT/a.rec --overwrite",
]


@pytest.mark.parametrize("command", [*COMMANDS, "demo"])
def test_no_command_follows_a_link(devkit: Path, tmp_path: Path, command: str) -> None:
    def run(folder: Path) -> None:
        if "OUT/a.rec" in command:
            shutil.copy(rec, folder / "a.rec")
        if command == "demo":
            make_devkit(folder, 5)
            return
        paths = {"DEVKIT": devkit, "REC": rec, "OUT": folder}
        words = re.sub("[A-Z]{3,}", lambda name: str(paths[name[0]]), command).split()
        assert main([*words, "--quiet"]) == 0

    rec = tmp_path / "in" / "a.rec"
    recpack.convert(devkit, rec)
    once, shared = tmp_path / "once" / "x", tmp_path / "shared" / "x"
    for folder in (once, shared):
        folder.mkdir(parents=True)
    run(once)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    outputs = [path.relative_to(once) for path in once.rglob("*") if path.is_file()]
    for output in outputs:
        planted = shared / output
        planted.parent.mkdir(parents=True, exist_ok=True)
        planted.symlink_to(victim)
        planted.with_name(f"{planted.name}.recpack-partial").symlink_to(victim)
    (shared / "a.rec").unlink(missing_ok=True)
    run(shared)
    assert victim.read_text() == "precious"
    for output in outputs:
        assert not (shared / output).is_symlink()
        if not command.startswith("check"):  # a report names the moment
            assert (shared / output).read_bytes() == (once / output).read_bytes()
        assert (shared / f"{output}.recpack-partial").is_symlink()


def test_a_file_that_comes_between_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.symlink_to(tmp_path / "victim")
    for data in (b"one", b"two"):
        write_bytes(path, data)
        assert path.read_bytes() == data
    assert names(tmp_path) == ["a"]
