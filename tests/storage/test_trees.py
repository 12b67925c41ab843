from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from recpack.storage.files import UnsafePathError
from recpack.storage.regular import TooLargeError
from recpack.storage.trees.base import Folder
from recpack.storage.trees.local import LocalTree


@pytest.mark.parametrize("size", [0, 1, 999, (16 << 10) - 1, 16 << 10, (16 << 10) + 1, 100_000])
def test_a_local_file(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "x").write_bytes(data)
    for judged in (False, True):
        with (
            LocalTree(str(tmp_path)).folder(".", proven=judged) as folder,
            folder.open("x") as file,
        ):
            assert file.size == size
            assert file.read(1, 5) == data[1:6]
            for limit in (size, size + 1, size + 20_000):
                assert file.read_all(limit) == data
        if size:
            with (
                LocalTree(str(tmp_path)).folder(".") as folder,
                folder.open("x") as file,
                pytest.raises(TooLargeError),
            ):
                file.read_all(size - 1)


@pytest.mark.parametrize(("room", "answer"), [(9, 10), (10, 10), (11, 10), (0, 1)])
def test_reading_into_room_tells_more_from_fewer(tmp_path: Path, room: int, answer: int) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    for judged in (False, True):
        with (
            LocalTree(str(tmp_path)).folder(".", proven=judged) as folder,
            folder.open("x") as file,
        ):
            memory = bytearray(room)
            assert file.read_into(memoryview(memory)) == answer
            assert memory == b"0123456789"[:room] + bytes(max(room - 10, 0))


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with LocalTree(str(tmp_path)).folder(".") as folder:
        for name in ("pipe", "folder"):
            with folder.open(name) as file, pytest.raises(OSError, match="not a file"):
                file.read_all(100)
            with folder.open(name) as file, pytest.raises(OSError, match="not a file"):
                file.size  # noqa: B018


def test_links_out_of_the_tree_are_found_behind_folders_too(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "x").write_text("x")
    (root / "out").symlink_to(outside)
    (root / "a" / "link").symlink_to(outside / "secret")
    (root / "a" / "within").symlink_to("b/x")
    with LocalTree(str(root)).folder(".") as folder:
        for _ in range(2):  # folders found to be inside are remembered; nothing else is
            for good in ("a/b/x", "a/within"):
                with folder.open(good) as file:
                    assert file.read_all(9) == b"x"
            for bad in ("out/secret", "a/link", "a/../../outside/secret"):
                with pytest.raises(UnsafePathError):
                    folder.open(bad)


def test_many_files_in_order_are_as_one_by_one(tmp_path: Path) -> None:
    """The local folder's own loops against those of every folder; no file stays open."""
    (tmp_path / "secret").write_text("s")
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    os.mkfifo(root / "pipe")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "within").symlink_to("small")
    for name, size in {"small": 600, "empty": 0, "folder/large": 20_000, "huge": 40_000}.items():
        (root / name).write_bytes(os.urandom(size))
    names = [
        "small", None, "huge", "missing", "folder", "pipe", "out", "within", "a\0b",
        "../secret", "n" * 300, "folder/large", "empty",
    ]  # fmt: skip
    opened = len(os.listdir("/proc/self/fd"))

    def content(found: bytes | Exception | None) -> object:
        return repr(found) if isinstance(found, Exception) else found

    for proven in (False, True):
        with LocalTree(str(root)).folder(".", proven=proven) as folder:
            contents = list(map(content, folder.contents(names, 30_000)))
            assert contents == list(map(content, Folder.contents(folder, names, 30_000)))
            errors = [content for content in contents if isinstance(content, str)]
            assert len(errors) == (8 if not proven else 6)
            assert [len(content) for content in contents if isinstance(content, bytes)][-2:] == [
                20_000, 0,
            ]  # fmt: skip
            several: list[list[Any]] = []
            for heads in (folder.heads(names), Folder.heads(folder, names)):
                several.append([
                    (*head[:3], head[3](500, 100)) if isinstance(head, tuple) else content(head)
                    for head in heads
                ])  # fmt: skip
            assert several[0] == several[1]
            data = (root / "small").read_bytes()
            size, identity, *parts = several[0][0]
            assert (size, parts) == (600, [data[:512], data[500:]])
            with folder.open("small") as file:
                assert identity == file.identity != 0
            next(folder.heads(names))  # nobody asks for the second
    assert len(os.listdir("/proc/self/fd")) == opened
