"""Nothing that is not a file is waited for: a named pipe in any file's place is refused by name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import recpack
from recpack.errors import RecpackError
from recpack.sinks.base import SinkPlan
from tests.support.archives import make_tar, make_zip
from tests.support.datasets import WRITERS, Picture
from train.errors import TrainError
from train.pictures import load

PICTURES = [Picture(60, 40, [(0, 1, 2, 30, 20)]), Picture(40, 60, [(1, 1, 2, 30, 20)])]
PIPE = "a named pipe, not a file"


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """Ends a test that waits for the other end of a pipe."""

    def stop(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def replace(path: Path) -> Path:
    """Put a named pipe in a file's place."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@pytest.fixture
def rec(tmp_path: Path) -> Path:
    recpack.convert(WRITERS["voc"](tmp_path / "voc", PICTURES), tmp_path / "a.rec", jobs=1)
    return tmp_path / "a.rec"


USES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "inspect": (".rec", recpack.inspect),
    "inspect, manifest": (".json", recpack.inspect),
    "verify": (".rec", lambda rec: recpack.verify(rec, jobs=1)),
    "verify, index": (".idx", lambda rec: recpack.verify(rec, jobs=1)),
    "verify, manifest": (".json", lambda rec: recpack.verify(rec, jobs=1)),
    "verify, list": (
        ".lst",
        lambda rec: recpack.verify(rec, jobs=1, against=(rec.with_suffix(".lst"), rec.parent)),
    ),
    "reader, index": (".idx", lambda rec: len(recpack.RecordReader(rec))),
    "index": (".rec", lambda rec: recpack.reindex(rec, overwrite=True)),
    "index, index": (".idx", recpack.reindex),
    "unpack": (".rec", lambda rec: recpack.unpack(rec, rec.parent / "out")),
    "unpack, list": (".lst", lambda rec: recpack.unpack(rec, rec.parent / "out")),
    "merge": (".rec", lambda rec: recpack.merge(rec.with_name("c.rec"), [rec, rec])),
    "preview": (".rec", lambda rec: recpack.preview(rec, rec.with_name("a.png"))),
    "pack": (".lst", lambda rec: recpack.pack(rec.with_suffix(".lst"), rec.parent, "c.rec")),
    "classes": (".txt", lambda rec: recpack.check(
        rec.parent / "voc", classes=str(rec.with_suffix(".txt")))),
    "classes, manifest": (".json", lambda rec: recpack.check(
        rec.parent / "voc", classes=str(rec.with_suffix(".json")))),
    "check, archive": (".tar", lambda rec: recpack.check(rec.with_suffix(".tar"))),
    "check, document": (".json", lambda rec: recpack.check(rec.with_suffix(".json"))),
    "check, manifest": (".manifest", lambda rec: recpack.check(rec.with_suffix(".manifest"))),
    "check, folder": ("", lambda rec: recpack.check(rec.with_suffix(""))),
}  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_a_pipe_beside_a_rec(rec: Path, use: str) -> None:
    suffix, call = USES[use]
    pipe = replace(rec.with_suffix(suffix))
    with pytest.raises(RecpackError, match=PIPE) as caught:
        call(rec)
    assert str(pipe) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("voc", "Annotations/000.xml"),
        ("voc", "JPEGImages/000.jpg"),
        ("voc", "ImageSets/Main/trainval.txt"),
        ("coco", "annotations/instances_train2017.json"),
        ("coco", "train2017/000.jpg"),
        ("yolo", "data.yaml"),
        ("yolo", "labels/train/000.txt"),
        ("yolo", "images/train/000.jpg"),
        ("image-json", "train_annotation/000.json"),
        ("augmented-manifest", "photos/000.jpg"),
    ],
)
def test_a_pipe_in_a_data_set(tmp_path: Path, name: str, file: str) -> None:
    root = WRITERS[name](tmp_path / "d", PICTURES)
    (tmp_path / "d" / file).parent.mkdir(parents=True, exist_ok=True)
    pipe = replace(tmp_path / "d" / file)
    try:
        found = [f"{one.file}: {one.value}" for one in recpack.check(root, jobs=1).problems]
    except RecpackError as error:
        found = [str(error)]
    assert any(PIPE in text and pipe.name.partition(".")[0] in text for text in found), found


@pytest.mark.parametrize("kind", ["a named pipe", "a folder"])
@pytest.mark.parametrize("reencode", [False, True])
def test_a_pipe_in_the_place_of_an_image_that_was_scanned(
    tmp_path: Path, kind: str, reencode: bool
) -> None:
    root = WRITERS["voc"](tmp_path / "d", PICTURES)

    class Sink(recpack.MemorySink):
        def open(self, plan: SinkPlan) -> recpack.MemorySink:
            image = root / "JPEGImages" / "000.jpg"
            if kind == "a folder":
                image.unlink()
                image.mkdir()
            else:
                replace(image)
            return super().open(plan)

    with pytest.raises(recpack.DataError, match=f"JPEGImages/000.jpg: {kind}, not a file"):
        recpack.convert(root, Sink(), jobs=1, reencode=reencode)


def test_an_archive_that_was_found(tmp_path: Path) -> None:
    root = WRITERS["voc"](tmp_path / "d", PICTURES)
    for archive in (make_tar(root, tmp_path / "a.tar"), make_zip(root, tmp_path / "a.zip")):
        recpack.check(archive, jobs=1)
        replace(archive)
        with pytest.raises(recpack.DataError, match=PIPE):
            recpack.check(archive, jobs=1)


def test_an_image_for_an_endpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="is not a file"):
        load(replace(tmp_path / "a.jpg"))
