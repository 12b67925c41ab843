from __future__ import annotations

import os
from pathlib import Path

import pytest

from recpack.storage.files import UnsafePathError
from recpack.storage.regular import TooLargeError
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
