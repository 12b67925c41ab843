"""Text files in blocks of whole lines."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpack.errors import DataError
from recpack.storage.blocks import TextFile
from recpack.storage.files import text_lines

texts = st.lists(
    st.sampled_from(
        ["a", "bcd", "ä", "€", "𝄞", "\t", "\n", "\r", "\r\n", "\x0b", "\u2028", "\ufeff"]
    ),
    max_size=40,
).map("".join)


def write(folder: Path | str, data: bytes) -> Path:
    path = Path(folder, "a.lst")
    path.write_bytes(data)
    return path


@given(texts, st.integers(1, 30))
def test_the_lines_are_those_of_the_file_whatever_the_blocks(text: str, size: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("recpack.storage.blocks.BLOCK", size)
        patch.setattr("recpack.storage.blocks._PIECE", size)
        path = write(folder, text.encode())
        lines: list[str] = []
        starts: list[tuple[int, int]] = []
        with TextFile(path) as file:
            for block in file.blocks():
                starts.append((block.number, len(lines) + 1))
                lines += block.lines()
                assert list(block.rough_lines())[1:] == lines[starts[-1][1] :]
            assert "".join(file.again()) == text
        assert lines == list(text_lines(path))
        assert all(number == place for number, place in starts)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("bad", [b"\xff", b"\xe2\x82", b"\xe2\x82x\n"])
def test_what_is_not_text_is_named_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, bad: bytes
) -> None:
    monkeypatch.setattr("recpack.storage.blocks.BLOCK", size)
    path = write(tmp_path, "one\nzwölf\n".encode() + bad)
    with pytest.raises(UnicodeDecodeError) as expected:
        path.read_bytes().decode()
    with TextFile(path) as file, pytest.raises(ValueError) as caught:  # noqa: PT011
        for block in file.blocks():
            list(block.lines())
    assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("most", [5, 20])
@pytest.mark.parametrize("end", ["", "\n", "\nb\n"])
def test_a_long_line_is_named_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, most: int, end: str
) -> None:
    monkeypatch.setattr("recpack.storage.blocks.BLOCK", size)
    monkeypatch.setattr("recpack.storage.blocks.MAX_LINE", most)
    monkeypatch.setattr("recpack.storage.files.MAX_LINE", most)
    path = write(tmp_path, ("a\n\nb\n" + "x" * 900 + end).encode())
    with TextFile(path) as file, pytest.raises(ValueError, match=f"^line 4 has more than {most} "):
        for block in file.blocks():
            assert len(block.data) <= max(size, 1000)
            list(block.lines())


def test_a_file_that_changes_between(tmp_path: Path) -> None:
    path = write(tmp_path, b"one\n")
    with TextFile(path) as file:
        assert [block.data for block in file.blocks()] == [b"one\n"]
        path.unlink()
        assert "".join(file.again()) == "one\n"
    path.write_bytes(b"one\n")
    with TextFile(path) as file:
        list(file.blocks())
        path.write_bytes(b"two\n")
        with pytest.raises(DataError, match=r"a\.lst: changed while it was read; run again"):
            list(file.again())


@pytest.mark.parametrize(
    ("size", "least", "most"), [(100, 1, 1), (1 << 16, 2, 3), (1 << 21, 32, 34)]
)
def test_many_can_work_on_one_file(tmp_path: Path, size: int, least: int, most: int) -> None:
    with TextFile(write(tmp_path, b"0123456\n" * (size // 8))) as file:
        blocks = list(file.blocks())
        assert least <= len(blocks) <= most
        assert least <= file.block_count <= most
        assert b"".join(block.data for block in blocks) == b"0123456\n" * (size // 8)
