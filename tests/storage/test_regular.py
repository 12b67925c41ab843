from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from recpack.storage.regular import NotRegularError, TooLargeError, open_regular, read_regular


@pytest.mark.parametrize("kind", ["a folder", "a named pipe", "a socket", "a device"])
def test_only_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.fspath(path))
        with pytest.raises(OSError, match="No such device"):  # the system refuses it itself
            open_regular(path)
        return
    else:
        path = Path(os.devnull)
    with pytest.raises(NotRegularError, match=kind) as caught:
        open_regular(path)
    assert caught.value.filename == path


def test_a_link_is_followed_or_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 4) == b"text"
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(tmp_path / "link", 4, follow=False)


def test_a_larger_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TooLargeError, match="more than 1,024 bytes"):
        read_regular(path, 1024)
    path.write_bytes(b"x" * 1024)
    assert len(read_regular(path, 1024)) == 1024


def test_a_limit_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    assert read_regular(tmp_path / "file", 1 << 60) == b"text"
