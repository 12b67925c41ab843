"""Every command and snippet of the README runs, as a reader would type it."""

from __future__ import annotations

import re
import shlex
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from recpack.s3.objects import delete, put
from tests.conftest import Store
from tests.devkits import jpeg, make_photos
from tests.functional.test_s3_stores import upload_tree
from tests.test_cli import run

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def here(
    devkit: Path, moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """What the README takes for granted: a devkit, a folder of photos, a picture, a bucket with
    another devkit."""
    store = Store("moto", moto, "bucket")
    store.access.call("create_bucket", Bucket="bucket")
    upload_tree(store, devkit, "in/VOCdevkit/")
    for year in ("2007", "2012"):
        chosen = (devkit / f"VOC{year}/ImageSets/Main/trainval.txt").read_bytes()[:120]
        put(store.access, store.at(f"in/VOCdevkit/VOC{year}/ImageSets/Main/val.txt"), chosen)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    (tmp_path / "VOCdevkit").symlink_to(devkit)
    for name, year in (("06-Nov-2007", "VOC2007"), ("11-May-2012", "VOC2012")):
        with tarfile.open(tmp_path / f"VOCtrainval_{name}.tar", "w") as archive:
            archive.add(devkit / year, f"VOCdevkit/{year}")
    make_photos(tmp_path / "photos")
    (tmp_path / "cat.jpg").write_bytes(jpeg())
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for key in store.listing():
        delete(store.access, store.at(key))
    store.access.call("delete_bucket", Bucket="bucket")


def test_the_commands(here: Path) -> None:
    commands = [
        shlex.split(line, comments=True)
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("recpack ")
    ]
    assert len(commands) >= 10
    for command in commands:
        for old in {"pack": ["train.rec", "train.idx", "train.json"], "list": ["train.lst"]}.get(
            command[1], []
        ):
            (here / old).unlink()  # the tour makes the same files in two ways
        assert run(*command[1:]) == 0, command


def test_the_snippets(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = blocks("python")
    exec(compile(snippet, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert out.startswith("120 ")
    assert (here / "own.json").exists()
    assert "proof='checksum'" in out


def test_the_makefile_has_what_the_readme_says() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    targets = [
        line.split()[1]
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("make ")
    ]
    assert targets == ["demo", "test"]
    assert all(f"\n{target}:" in makefile for target in targets)
