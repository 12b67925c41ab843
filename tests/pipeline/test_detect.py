"""``recpack detect``: what a path is; and its commands run, on data in every format."""

from __future__ import annotations

import json
import shlex
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import recpack
from recpack.cli.app import main
from recpack.demo.story import make_devkit
from recpack.storage.s3.location import parse_location
from recpack.storage.s3.objects import put
from tests.conftest import Store
from tests.support.datasets import WRITERS, Picture, make_classes
from tests.support.devkits import jpeg
from tests.support.exports import make_exports

PICTURES = [Picture(60 + i, 50, ((i % 3, 5, 5, 30, 30), (1, 10, 12, 40, 40))) for i in range(6)]
CLASSES = {"cat": 2, "dog": 8, "a bird": 2}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str) -> int:
    program, *arguments = shlex.split(command)
    assert program == "recpack"
    return main(arguments)


def made(command: str) -> recpack.Manifest:
    """The manifest of what a printed command makes."""
    assert run(command) == 0
    (name,) = (word for word in shlex.split(command)[1:] if word.endswith(".rec"))
    return recpack.Manifest.read(Path(name).with_suffix(".json"))


def prove(path: str | list[str]) -> recpack.Detected:
    """Run all commands, and compare what they make with what was told."""
    found = recpack.detect(path)
    for name, command in found.commands.items():
        if name == "check":
            assert run(command) == 0
            assert Path("check.html").exists()
        elif name.startswith("convert"):
            manifest = made(command)
            told = found.image_sets
            if name != "convert":
                part = name.removeprefix("convert ")
                told = {one: n for one, n in found.other_sets.items() if n and part in one}
            assert manifest.num_samples == sum(told.values()), command
            if name == "convert" and manifest.num_samples == found.examined:
                assert dict(manifest.objects) == found.classes
        else:
            assert run(command) == 0
    assert found.problems == {}
    assert found.fault == ""
    return found


@pytest.mark.parametrize("source", sorted(WRITERS))
def test_boxes_in_every_format(source: str) -> None:
    place = WRITERS[source](Path("my data"), PICTURES)
    found = prove(str(place))
    assert (found.format, found.labels) == (source, "boxes")
    assert sum(found.image_sets.values()) == 6
    assert dict(sorted(found.classes.items())) == dict(sorted(CLASSES.items()))
    assert found.unread == () == found.also
    for name, inside in (("coco", "annotations/instances_train2017.json"), ("yolo", "data.yaml")):
        if source == name:
            assert prove(f"my data/{inside}").classes == CLASSES


@pytest.mark.parametrize(
    ("path", "format", "labels", "names"),
    [
        ("flowers", "folders", "class", ["convert", "check"]),
        ("sets", "folders", "class", ["convert", "check", "convert val"]),
        ("labels.csv", "csv", "class", ["convert", "check"]),
        ("tags.csv", "csv", "classes", ["convert", "check"]),
    ],
)
def test_classes(path: str, format: str, labels: str, names: list[str]) -> None:
    make_classes(Path())
    found = prove(path)
    assert (found.format, found.labels, list(found.commands)) == (format, labels, names)
    assert list(found.classes) == ["daisy", "rose", "tulip"]


def test_numbers_have_no_classes() -> None:
    make_classes(Path())
    rows = "".join(f"flowers/rose/{n}.jpg,{n / 7},-1\n" for n in range(4))
    Path("ages.csv").write_text("image,age,weight\n" + rows)
    found = recpack.detect("ages.csv")
    assert (found.labels, found.classes) == ("numbers", {})
    assert made(found.commands["convert"]).num_samples == 4


def test_a_devkit_has_a_command_for_each_image_set() -> None:
    make_devkit(Path("VOCdevkit"))
    (Path("VOCdevkit") / "VOC2007" / "SegmentationClass").mkdir()
    for number in range(5):
        Path(f"VOCdevkit/VOC2007/{number}.log").touch()
    found = prove("VOCdevkit")
    assert found.text == "Pascal VOC, 2007"
    assert list(found.commands) == ["convert", "check", "convert test"]
    assert found.unread == ("VOC2007/SegmentationClass/", "5 VOC2007/*.log")
    # the test set got the class ids of the training set
    assert recpack.Manifest.read("VOCdevkit_test.json").classes == tuple(found.classes)
    again = recpack.detect("VOCdevkit").commands["convert"]
    assert "VOCdevkit_trainval_2.rec" in again, "the first name is taken"
    with tarfile.open("voc.tar", "w") as archive:
        archive.add("VOCdevkit")
    assert prove("voc.tar").image_sets == found.image_sets


def test_image_sets_without_a_default() -> None:
    make_classes(Path())
    Path("sets/train").rename("sets/test")
    found = prove("sets")
    assert found.image_sets == {"test": 24, "val": 6}
    assert "--set all" in found.commands["convert"]


def test_only_the_first_annotations_are_read() -> None:
    WRITERS["voc"](Path("in"), [Picture(40, 40, ((0, 1, 1, 9, 9),))] * 600)
    Path("in/Annotations/599.xml").write_text("<annotation>")
    found = recpack.detect("in")
    assert (found.examined, found.classes, found.problems) == (512, {"cat": 512}, {})
    assert found.image_sets == {"all": 600}
    Path("in/Annotations/003.xml").write_text("<annotation>")
    assert recpack.detect("in").problems == {"annotation-malformed": 1}


def test_another_format_in_the_same_folder() -> None:
    WRITERS["coco"](Path("in"), PICTURES)
    WRITERS["yolo"](Path("in"), PICTURES)
    found = recpack.detect("in")
    assert (found.format, found.also) == ("coco", ("yolo",))


def test_records_and_lists() -> None:
    WRITERS["voc"](Path("in"), PICTURES)
    recpack.convert("in", "a.rec", classes="auto")
    recpack.convert("in", "set.rec", classes="auto", shards=2)
    for path in ("a.rec", "a.idx", "a.json", "set.rec", "set.json"):
        found = prove(path)
        assert (found.format, found.labels, found.examined) == ("rec", "boxes", 6)
        assert dict(sorted(found.classes.items())) == dict(sorted(CLASSES.items()))
        assert list(found.image_sets.values()) == [6]
    assert found.text == "RecordIO, a set of 2 shards"
    for name in ("a.json", "a.lst"):
        Path(name).rename(f"in/{name}")
    assert recpack.detect("a.rec").classes == {"0": 2, "1": 2, "2": 8}
    Path("a.idx").unlink()
    assert recpack.detect("a.rec").image_sets == {}, "nobody counted them"
    found = recpack.detect("in/a.lst")
    assert (found.format, found.image_sets) == ("lst", {"a.lst": 6})
    assert made(found.commands["pack"]).num_samples == 6
    Path("in/JPEGImages").rename("in/else")
    found = recpack.detect("in/a.lst")
    assert "is in none of the folders in, in/Annotations, in/else, .; give recpack" in found.fault
    assert found.commands["pack"] == "recpack pack in/a.lst ROOT a_3.rec"


def no_names(root: Path) -> None:
    WRITERS["yolo"](root, PICTURES)
    (root / "data.yaml").unlink()


def one_below(root: Path) -> None:
    WRITERS["coco"](root / "inner", PICTURES)
    (root / "x.rec").touch()


def test_folders_of_identities() -> None:
    for number in range(6):
        Picture(112, 112, ()).write(Path(f"faces/{number // 2}/{number}.jpg"))
    found = prove("faces")
    assert found.commands["as faces"] == "recpack convert faces faces_faces.rec --from identities"
    assert recpack.detect("faces_faces.rec").labels == "class"


def labelme(root: Path) -> None:
    root.mkdir()
    (root / "a.json").write_text('{"shapes": [], "imagePath": "a.jpg"}')


def images(root: Path) -> None:
    WRITERS["voc"](root.parent, PICTURES)
    Path("JPEGImages").rename(root)


@pytest.mark.parametrize(
    ("make", "format", "fault", "near"),
    [
        (no_names, "yolo", "with --classes a,b,c", {}),
        (one_below, None, "give the folder in it", {"in/inner": "COCO", "in/x.rec": "a file"}),
        (labelme, None, "labelme2coco FOLDER", {}),
        (images, None, "no VOC<year> folder", {".": "Pascal VOC"}),
    ],
)
def test_what_is_none(
    make: Callable[[Path], None],
    format: str | None,
    fault: str,
    near: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(Path("in"))
    found = recpack.detect("in")
    assert (found.format, found.near, found.commands) == (format, near, {})
    assert fault in found.fault
    assert main(["detect", "in"]) == 1
    out = capsys.readouterr().out
    assert fault in out
    assert all(f"  recpack detect {path}  # " in out for path in near)


def test_images_beside_their_json_are_read(tmp_path: Path) -> None:
    make_exports(tmp_path)
    assert recpack.detect("roboflow.zip").unread == ()


def test_images_of_a_list_are_read() -> None:
    """CVAT's lists name them with another folder before them."""
    image, label = "images/train/a.jpg", "labels/train/a.txt"
    for name in (image, label, "images/val/b.jpg", "labels/val/b.txt", "notes/c.txt"):
        Path("cvat", name).parent.mkdir(parents=True, exist_ok=True)
        Path("cvat", name).write_bytes(jpeg(60, 40) if name.endswith("g") else b"0 .5 .5 .2 .2")
    Path("cvat/data.yaml").write_text("train: train.txt\nval: val.txt\nnames: [cat]\n")
    Path("cvat/train.txt").write_text(f"data/{image}\n")
    Path("cvat/val.txt").write_text("data/images/val/b.jpg\n")
    assert recpack.detect("cvat").unread == ("notes/",)


def test_one_file_of_a_data_set() -> None:
    WRITERS["voc"](Path("in"), PICTURES)
    for path in ("in/Annotations/001.xml", "in/JPEGImages/001.jpg"):
        found = recpack.detect(path)
        assert found.fault == f"{path}: this is one file of a data set; give the folder of all"
        assert "in" in found.near


def test_images_without_objects() -> None:
    WRITERS["voc"](Path("in"), [Picture(40, 40, ())] * 3)
    assert recpack.detect("in").fault.endswith("to pack them: --negatives keep")


def test_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", "nowhere"]) == 1
    assert capsys.readouterr().err == "recpack detect: nowhere: no such file or folder\n"
    Path("a").mkdir()
    assert main(["detect", "a", "a"]) == 2
    Path("flowers.csv").touch()
    for words in (["detect", "flower.csv"], ["convert", "flower.csv", "x.rec"]):
        assert main(words) == 1
        assert capsys.readouterr().err.endswith("; did you mean 'flowers.csv'?\n")
    for words in (["detect", "b/flower"], ["convert", "./flower/", "x.rec"]):
        assert main(words) == 1
    assert capsys.readouterr().err.endswith("; did you mean 'flowers.csv'?\n")


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(60):
        Picture(40 + number, 40, ()).write(Path(f"flowers/class {number % 30}/{number}.jpg"))
    assert main(["detect", "flowers", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["commands"]) == ("folders", recpack.detect("flowers").commands)
    assert main(["detect", "flowers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) < 160
    assert "convert  recpack convert flowers flowers.rec" in lines
    assert main(["detect", "flowers", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_a_list_on_s3_must_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    there = "s3://bucket/my lists/a.lst"
    for words in (["detect", there], ["pack", there, ".", "a.rec"]):
        assert main(words) == 1
        told = f"{there}: a list must be on a disk; copy it first: aws s3 cp '{there}' ."
        assert capsys.readouterr().err == f"recpack {words[0]}: {told}\n"


@pytest.mark.parametrize("source", ["coco", "augmented-manifest"])
def test_on_s3(source: str, store: Store) -> None:
    place = WRITERS[source](Path("in"), PICTURES)
    for path in filter(Path.is_file, Path("in").rglob("*")):
        put(store.access, parse_location(f"s3://{store.bucket}/{path}"), path.read_bytes())
    there = f"s3://{store.bucket}/{place}"
    found = recpack.detect(there, endpoint_url=store.url)
    assert (found.format, found.classes) == (source, CLASSES)
    manifest = made(found.commands["convert"])
    assert dict(manifest.objects) == CLASSES
    recpack.convert(place, f"s3://{store.bucket}/o/x.rec", endpoint_url=store.url)
    found = recpack.detect(f"s3://{store.bucket}/o/x.rec", endpoint_url=store.url)
    assert (found.format, found.classes) == ("rec", CLASSES)
    assert run(found.commands["verify"]) == 0
