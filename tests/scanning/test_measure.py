"""A list in blocks, whose rows and images the workers read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recpack
from recpack.cli.app import main
from recpack.scanning import measure
from recpack.sources.lst import odd_rows
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.local import LocalTree
from tests.support.devkits import jpeg

COUNT = 60
WORKERS = [{"jobs": 1}, {"jobs": 2}, {"jobs": 2, "backend": "threading"}]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recpack.storage.blocks.BLOCK", 200)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    for number in range(COUNT):
        (folder / f"{number}.jpg").write_bytes(jpeg(seed=number))
    return folder


def rows(changed: dict[int, str] | None = None, end: str = "\n") -> bytes:
    lines = [f"{number}\t{number % 3}.0\t{number}.jpg" for number in range(COUNT)]
    for number, line in (changed or {}).items():
        lines[number] = line
    return (end.join(lines) + end).encode()


def pack(folder: Path, root: Path, text: bytes, **options: Any) -> recpack.Result:
    (folder / "a.lst").write_bytes(text)
    return recpack.pack(folder / "a.lst", root, folder / "out" / "a.rec", **options)


@pytest.mark.parametrize("options", WORKERS)
@pytest.mark.parametrize("bad", [0, 1, 30, COUNT - 1])
@pytest.mark.parametrize(
    ("end", "number"),
    [("\n", lambda at: at + 1), ("\r\n", lambda at: at + 1), ("\n\r\n\n", lambda at: 3 * at + 1)],
)
def test_the_first_bad_row_is_named_with_its_line(
    tmp_path: Path,
    root: Path,
    options: dict[str, Any],
    bad: int,
    end: str,
    number: Callable[[int], int],
) -> None:
    text = rows({COUNT - 1: "8\tdog\ty.jpg"} | {bad: "7\tcat\tx.jpg"}, end)
    for content in (text, text.rstrip()):
        with pytest.raises(recpack.ListError) as caught:
            pack(tmp_path, root, content, **options)
        path = tmp_path / "a.lst"
        assert str(caught.value) == (
            f"{path}: line {number(bad)}: label is 'cat', expected a number"
        )
        assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("options", WORKERS)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            rows({COUNT - 1: "0\t1\t5.jpg"}),
            "index 0 appears twice, again for '5.jpg'; make indices",
        ),
        (rows({9: "8\t1\t5.jpg", 50: "8\t1\t6.jpg"}), "index 8 appears twice, again for '5.jpg'"),
        (rows({50: "50\t1\t../x.jpg"}), "path '../x.jpg' leaves the root, and no file below "),
        (rows({50: "50\t1\t/etc/passwd"}), "path '/etc/passwd' leaves the root"),
        (rows({50: "50\t1\t\xff"}).replace(b"\xc3\xbf", b"\xff"), "can't be read: 'utf-8' codec"),
        (b"\xef\xbb\xbf" + b"\r\n" * 500, "the list has no rows"),
        (b"", "the list has no rows"),
        (rows({3: "3\t1\tgone.jpg", 50: "50\t1"}), "line 51: 2 columns in '50\\t1'"),
    ],
)
def test_faults_of_the_whole_list(
    tmp_path: Path, root: Path, options: dict[str, Any], text: bytes, message: str
) -> None:
    with pytest.raises(recpack.ListError) as caught:
        pack(tmp_path, root, text, **options)
    assert str(caught.value).startswith(f"{tmp_path / 'a.lst'}: {message}")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "text", [rows(), rows(end="\r\n"), rows().rstrip(), b"\xef\xbb\xbf" + rows()]
)
def test_blocks_and_workers_change_nothing(
    tmp_path: Path, root: Path, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for number, options in enumerate(({"jobs": 1}, *WORKERS)):
        monkeypatch.setattr("recpack.storage.blocks.BLOCK", 200 if number else 1 << 20)
        pack(tmp_path, root, text, overwrite=True, **options)
        made.append({path.suffix: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert made[0][".lst"] == text
    assert all(one == made[0] for one in made)


def test_forked_workers(tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(tmp_path, root, rows(), jobs=1)
    words = ["pack", str(tmp_path / "a.lst"), str(root)]
    assert main([*words, str(tmp_path / "b.rec"), "--quiet", "--jobs", "2"]) == 0
    assert (tmp_path / "b.rec").read_bytes() == (tmp_path / "out" / "a.rec").read_bytes()
    (tmp_path / "a.lst").write_bytes(rows({59: "59\tcat\t1.jpg"}))
    assert main([*words, str(tmp_path / "c.rec"), "--quiet", "--jobs", "2"]) == 1
    assert "a.lst: line 60: label is 'cat', expected a number" in capsys.readouterr().err
    assert not list(tmp_path.glob("c.*"))


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_paths_of_another_machine_in_a_later_block(
    tmp_path: Path, root: Path, jobs: int, kind: str
) -> None:
    place = root if kind == "folder" else shutil.make_archive(str(tmp_path / "d"), kind, root)
    (tmp_path / "good").mkdir()
    pack(tmp_path / "good", root, rows(), jobs=1)
    odd = {
        40: "40\t1.0\tC:\\data\\40.jpg",
        55: "55\t1.0\t/data/55.jpg",
        57: "57\t0.0\t../data/57.jpg",
    }
    result = pack(tmp_path, place, rows(odd), jobs=jobs)
    found = [(one.code, one.file) for one in result.problems]
    assert found == [
        ("path-resolved", path) for path in sorted(row.split("\t")[2] for row in odd.values())
    ]
    assert all(str(one).count(one.file) == 1 for one in result.problems)
    for ending in ("rec", "lst", "idx"):
        one, other = (folder / f"out/a.{ending}" for folder in (tmp_path, tmp_path / "good"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("options", WORKERS)
def test_images_at_fault_in_several_blocks(
    tmp_path: Path, root: Path, options: dict[str, Any]
) -> None:
    text = rows({2: "2\t1\tgone.jpg", 40: "40\t1\tC:\\x\\41.png", 58: "58\t1\t/data/58.jpg"})
    with pytest.raises(recpack.DataError) as caught:
        pack(tmp_path, root, text, **options)
    missing = [("image-missing", "gone.jpg"), ("image-missing", "C:\\x\\41.png")]
    found = [(one.code, one.file) for one in caught.value.problems]
    assert found == [*missing, ("path-resolved", "/data/58.jpg")]
    result = pack(tmp_path, root, text, on_error="skip", **options)
    assert result.manifest.num_samples == COUNT - 2
    with recpack.RecordReader(tmp_path / "out" / "a.rec") as records:
        assert bytes(records[COUNT - 4].image_bytes) == jpeg(seed=58)


def test_only_what_the_workers_did_not_open_is_looked_for(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root, tmp_path / "root")
    (tmp_path / "root" / "7.jpg").rename(tmp_path / "root" / "ä.jpg")
    (tmp_path / "root" / "8.jpg").rename(tmp_path / "root" / "what?.jpg")
    asked: list[str] = []
    ask = LocalTree.is_file

    def is_file(tree: LocalTree, path: str) -> bool:
        asked.append(path)
        return ask(tree, path)

    monkeypatch.setattr(LocalTree, "is_file", is_file)
    changed = {7: "7\t1\tä.jpg", 8: "8\t1\twhat?.jpg", 9: "9\t1\tx/../9.jpg", 10: "10\t1\tö.jpg"}
    with pytest.raises(recpack.DataError, match="image-missing"):
        pack(tmp_path, tmp_path / "root", rows(changed), jobs=1)
    assert asked == ["ö.jpg"]


def test_a_list_that_changes_while_it_is_packed(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = measure.Measuring.finish

    def change(measuring: measure.Measuring) -> measure.Measured:
        measured = finish(measuring)
        (tmp_path / "a.lst").write_bytes(rows({3: "3\t2\t3.jpg"}))
        return measured

    monkeypatch.setattr(measure.Measuring, "finish", change)
    with pytest.raises(recpack.DataError, match=r"a\.lst: changed while it was read; run again"):
        pack(tmp_path, root, rows(), jobs=1)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_beside_a_list_that_is_not_there(tmp_path: Path, root: Path) -> None:
    (tmp_path / "b.lst").write_bytes(rows())
    with pytest.raises(recpack.ListError, match=r"a\.lst: can't be read: .*No such file"):
        recpack.pack(tmp_path / "a.lst", root, tmp_path / "b.rec")


@pytest.mark.parametrize(
    "path", ["../a", "/a", "a/..", "a/../b", "..", ".", "", "a\0b", "ä", "C:\\a", "s3://a", "a?b"]
)
def test_odd_paths_are_seen_among_others(path: str) -> None:
    assert odd_rows(["a/b.jpg", "c..d", path, "e/.f", "..g"]) == [2]
    assert odd_rows([path]) == [0]
    assert unsafe_path(path) == (path not in ("ä", "C:\\a", "s3://a", "a?b"))
