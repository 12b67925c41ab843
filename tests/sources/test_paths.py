"""Paths from other machines, Unicode normalisations, links, and sets whose folder is missing."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from unicodedata import normalize

import pytest

import recpack
from recpack.cli.app import main
from recpack.sources.tails import Tails, parts_of
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import parse_location
from recpack.storage.s3.objects import put
from recpack.storage.trees.local import LocalTree
from tests.support.datasets import (
    CLASSES,
    Picture,
    write_coco,
    write_image_json,
    write_manifest,
    write_voc,
    write_yolo,
)  # fmt: skip
from tests.support.devkits import make_voc
from tests.support.s3server import S3Server

OPTIONS = {"shuffle": None, "negatives": "keep", "jobs": 1}
TWO = [
    Picture(60, 40, [(0, 1, 2, 30, 40), (2, 0, 0, 60, 40)]),
    Picture(50, 50, [(1, 5.5, 5, 20.25, 30)]),
]
NFC, NFD = (normalize(form, "köln") for form in ("NFC", "NFD"))


@pytest.fixture
def expected(tmp_path: Path) -> bytes:
    place = write_voc(tmp_path / "voc", TWO)
    recpack.convert(place, tmp_path / "voc.rec", classes=CLASSES, **OPTIONS)
    return (tmp_path / "voc.rec").read_bytes()


def coco(root: Path, names: Sequence[str], files: Sequence[str] = ()) -> Path:
    """A COCO file with these names for the two images, which lie at ``files``."""
    write_coco(root, TWO)
    path = root / "annotations" / "instances_train2017.json"
    document = json.loads(path.read_text())
    for image, name in zip(document["images"], names, strict=True):
        image["file_name"] = name
    path.write_text(json.dumps(document))
    for number, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / f"train2017/{number:03}.jpg").rename(root / file)
    return path


def codes(result: recpack.Result) -> list[str]:
    return [problem.code for problem in result.problems]


def failure(place: Path, tmp_path: Path, **more: object) -> list[tuple[str, str]]:
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(place, tmp_path / "fails.rec", **OPTIONS | more)
    return [(problem.code, problem.value) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("names", "files", "resolved"),
    [
        (["images\\000.jpg", "images\\1/001.jpg"], (), 2),
        (["000.jpg", "..\\label\\001.jpg"], (), 1),
        (["C:\\Users\\x\\000.jpg", "D:/y/001.jpg"], ["a/b/000.jpg", "001.jpg"], 2),
        (["/content/ds/000.jpg", "/content/ds/001.jpg"], (), 2),
        (["../../media/upload/4/000.jpg", "../001.jpg"], (), 2),
        (["https://host.example/up/000.jpg?x=1#y", "s3://bucket/key/001.jpg"], (), 2),
        (["/data/local-files/?d=set/000.jpg", "/data/local-files/?d=a%20b/001.jpg"], (), 2),
        (["http://host/a%20b/000.jpg", "http://host/c/1%2b.jpg"], ["a b/000.jpg", "1+.jpg"], 2),
        (["./000.jpg", "001.jpg"], (), 0),
        (["x/000.jpg", "x/001.jpg"], (), 2),
        (["000.jpg", "sub/001.jpg"], (), 1),
        # the longest end decides between files of one name
        (["E:\\p\\000.jpg", "E:\\q\\000.jpg"], ["p/000.jpg", "q/000.jpg"], 2),
        ([f"{NFC}.jpg", "001.jpg"], [f"train2017/{NFD}.jpg"], 0),
        ([f"{NFD}.jpg", "001.jpg"], [f"train2017/{NFC}.jpg"], 0),
        # as written, although it looks like another machine's
        (["a\\b?.jpg", "001.jpg"], ["train2017/a\\b?.jpg"], 0),
    ],
)
def test_images_are_found_by_the_end_of_their_path(
    tmp_path: Path, expected: bytes, names: list[str], files: list[str], resolved: int
) -> None:
    path = coco(tmp_path / "in", names, files)
    result = recpack.convert(path, tmp_path / "a.rec", **OPTIONS)
    assert (tmp_path / "a.rec").read_bytes() == expected
    assert codes(result).count("path-resolved") == resolved
    assert not {"image-missing", "path-unsafe", "path-ambiguous"} & {*codes(result)}
    # the same from an archive
    with tarfile.open(tmp_path / "in.tar", "w") as archive:
        archive.add(tmp_path / "in", ".")
    recpack.convert(tmp_path / "in.tar", tmp_path / "b.rec", **OPTIONS)
    assert (tmp_path / "b.rec").read_bytes() == expected


def test_two_candidates_are_an_error_that_names_both(tmp_path: Path) -> None:
    files = ["p/000.jpg", "q/000.jpg"]
    path = coco(tmp_path / "in", ["E:\\r\\000.jpg", "q/000.jpg"], files)
    assert failure(path, tmp_path) == [
        ("path-ambiguous", "E:\\r\\000.jpg: p/000.jpg, q/000.jpg"),
    ]
    result = recpack.convert(path, tmp_path / "a.rec", on_error="skip", **OPTIONS)
    assert (result.manifest.num_samples, codes(result)) == (1, ["path-ambiguous"])
    # its remedy
    path = coco(tmp_path / "again", ["p/000.jpg", "q/000.jpg"], files)
    assert codes(recpack.convert(path, tmp_path / "b.rec", **OPTIONS)) == []


def test_a_named_folder_decides(tmp_path: Path, expected: bytes) -> None:
    path = coco(tmp_path / "in", ["E:\\r\\000.jpg", "E:\\r\\001.jpg"])
    TWO[0].write(tmp_path / "in/other/000.jpg")
    assert failure(path, tmp_path)[-1][0] == "path-ambiguous"
    recpack.convert(path, tmp_path / "a.rec", images="train2017", **OPTIONS)
    assert (tmp_path / "a.rec").read_bytes() == expected


def test_case_hides_no_file(tmp_path: Path, expected: bytes) -> None:
    """Exports of Windows; and where two files differ only in case, case counts."""
    names = ("train2017/A.jpg", "train2017/b.jpg")
    path = coco(tmp_path / "coco", names, ("train2017/a.JPG", "train2017/b.jpg"))
    result = recpack.convert(path.parent.parent, tmp_path / "a.rec", **OPTIONS)
    assert (tmp_path / "a.rec").read_bytes() == expected
    assert codes(result) == ["path-resolved"]
    root = tmp_path / "coco"
    (root / "train2017/A.JPG").write_bytes(b"x")
    assert [code for code, _ in failure(root, tmp_path)] == ["path-ambiguous"]
    tails = Tails(LocalTree(str(root)))
    assert tails.find("x/A.JPG") == ["train2017/A.JPG"]
    assert sorted(tails.find("x/a.jpg")) == ["train2017/A.JPG", "train2017/a.JPG"]


def test_one_file_is_not_given_to_two_paths(tmp_path: Path) -> None:
    path = coco(tmp_path / "in", ["C:\\p\\000.jpg", "C:\\q\\000.jpg"])
    found = failure(path, tmp_path)
    assert [code for code, _ in found] == ["path-ambiguous"] * 2
    assert "C:\\q\\000.jpg" in found[0][1]
    assert "C:\\p\\000.jpg" in found[1][1]
    path = coco(tmp_path / "again", ["000.jpg", "C:\\q\\000.jpg"])
    assert [code for code, _ in failure(path, tmp_path)] == ["path-ambiguous"]


def test_a_missing_image_is_not_that_of_another_folder(tmp_path: Path) -> None:
    path = coco(tmp_path / "in", ["p/000.jpg", "p/001.jpg"], ["p/000.jpg", "q/001.jpg"])
    assert failure(path, tmp_path) == [("image-missing", "p/001.jpg")]


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "{}/secret.jpg", "..\\secret.jpg", "%2e%2e/secret.jpg"]
)
def test_nothing_outside_the_root_is_read(tmp_path: Path, name: str) -> None:
    TWO[0].write(tmp_path / "secret.jpg")
    path = coco(tmp_path / "in", ["000.jpg", name.format(tmp_path)])
    ((code, _),) = failure(path, tmp_path)
    assert code in ("path-unsafe", "image-missing")


def test_links_to_servers_are_told(tmp_path: Path) -> None:
    path = coco(tmp_path / "in", ["https://host/9.jpg", "https://host/8.jpg"])
    with pytest.raises(recpack.DataError, match=r"link to a server: download .* --images"):
        recpack.convert(path, tmp_path / "a.rec", **OPTIONS)


def test_chunks_stay_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recpack.sources.base.CHUNK", 1)
    path = coco(tmp_path / "in", ["000.jpg", "sub/001.jpg"])
    result = recpack.convert(path, tmp_path / "a.rec", **OPTIONS)
    assert codes(result) == ["path-resolved"]
    lines = (tmp_path / "a.lst").read_text().splitlines()
    assert [line.rpartition("\t")[2] for line in lines] == [
        "train2017/000.jpg", "train2017/001.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize("write", [write_voc, write_coco, write_yolo, write_image_json])
def test_clean_sets_list_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: type
) -> None:
    def walk(tree: LocalTree, path: str) -> Iterator[str]:
        raise AssertionError(tree, path)

    monkeypatch.setattr(LocalTree, "walk", walk)
    result = recpack.convert(
        write(tmp_path / "in", TWO), tmp_path / "a.rec", classes=CLASSES, **OPTIONS
    )
    assert result.manifest.num_samples == 2


def test_a_bucket_is_listed_once(tmp_path: Path, hostile: S3Server) -> None:
    coco(tmp_path / "in", ["C:\\p\\000.jpg", "/q/001.jpg"], ["a/b/000.jpg", "c/001.jpg"])
    client = S3Client(hostile.url)
    for path in (tmp_path / "in").rglob("*"):
        if path.is_file():
            key = path.relative_to(tmp_path / "in")
            put(client, parse_location(f"s3://bucket/in/{key}"), path.read_bytes())
    file = "s3://bucket/in/annotations/instances_train2017.json"
    hostile.calls.clear()
    result = recpack.convert(file, tmp_path / "a.rec", endpoint_url=hostile.url, **OPTIONS)
    assert codes(result) == ["path-resolved"] * 2
    assert hostile.calls["list_objects_v2"] <= 4  # the folders; then one listing


def test_other_documents(tmp_path: Path, expected: bytes) -> None:
    place = write_manifest(tmp_path / "m", TWO)
    place.write_text(place.read_text().replace("photos/", "/home/x/"))
    recpack.convert(place, tmp_path / "m.rec", **OPTIONS)
    assert (tmp_path / "m.rec").read_bytes() == expected
    root = write_image_json(tmp_path / "j", TWO)
    for file in (root / "train_annotation").iterdir():
        file.write_text(file.read_text().replace('"file": "', '"file": "x\\\\'))
    recpack.convert(root, tmp_path / "j.rec", **OPTIONS)
    assert (tmp_path / "j.rec").read_bytes() == expected


@pytest.mark.parametrize("named", ["C:\\old\\photo.jpg", "/home/x/photo.jpg", "old/photo.jpg"])
def test_voc_file_names(tmp_path: Path, expected: bytes, named: str) -> None:
    root = write_voc(tmp_path / "in", TWO)
    (root / "JPEGImages/001.jpg").rename(root / "JPEGImages/photo.jpg")
    file = root / "Annotations/001.xml"
    file.write_text(file.read_text().replace("<filename>", f"<filename>{named}"))
    result = recpack.convert(root, tmp_path / "a.rec", classes=CLASSES, **OPTIONS)
    assert (tmp_path / "a.rec").read_bytes() == expected
    assert codes(result).count("path-resolved") == 1
    # the image of another annotation is not taken
    file.write_text(file.read_text().replace("photo.jpg", "000.jpg"))
    assert [code for code, _ in failure(root, tmp_path, classes=CLASSES)] == ["path-ambiguous"]


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("b.jpg", True),
        ("C:\\old\\b.jpg", True),
        ("old/A.JPG", False),
        ("a", False),
        ("", False),
        ("a.png", False),
    ],
)
def test_a_filename_of_another_image_is_told(tmp_path: Path, named: str, told: bool) -> None:
    root = write_voc(tmp_path / "in", TWO[:1])
    for folder, ending in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (root / folder / f"000.{ending}").rename(root / folder / f"a.{ending}")
    file = root / "Annotations/a.xml"
    file.write_text(file.read_text().replace("<filename>", f"<filename>{named}"))
    result = recpack.convert(root, tmp_path / "a.rec", classes=CLASSES, **OPTIONS)
    assert codes(result) == ["filename-differs"] * told
    assert (tmp_path / "a.lst").read_text().endswith("\tJPEGImages/a.jpg\n")


@pytest.mark.parametrize("listed", [NFC, NFD])
@pytest.mark.parametrize("image", [NFC, NFD])
@pytest.mark.parametrize("annotation", [NFC, NFD])
def test_normalisation_hides_no_file(
    tmp_path: Path, listed: str, image: str, annotation: str
) -> None:
    root = write_voc(tmp_path / "voc", TWO)
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/trainval.txt").write_text(f"000\n{listed}\n")
    (root / "JPEGImages/001.jpg").rename(root / f"JPEGImages/{image}.jpg")
    (root / "Annotations/001.xml").rename(root / f"Annotations/{annotation}.xml")
    result = recpack.convert(root, tmp_path / "voc.rec", classes=CLASSES, **OPTIONS)
    assert result.manifest.num_samples == 2

    root = write_yolo(tmp_path / "yolo", TWO)
    (root / "data.yaml").write_text(f"train: train.txt\nnames: {list(CLASSES)}\n")
    (root / "train.txt").write_text(f"images/train/000.jpg\nimages/train/{listed}.jpg\n")
    (root / "images/train/001.jpg").rename(root / f"images/train/{image}.jpg")
    (root / "labels/train/001.txt").rename(root / f"labels/train/{annotation}.txt")
    recpack.convert(root, tmp_path / "yolo.rec", **OPTIONS)
    assert (tmp_path / "yolo.rec").read_bytes() == (tmp_path / "voc.rec").read_bytes()
    with tarfile.open(tmp_path / "yolo.tar", "w") as archive:
        archive.add(root, ".")
    recpack.convert(tmp_path / "yolo.tar", tmp_path / "tar.rec", **OPTIONS)
    assert (tmp_path / "tar.rec").read_bytes() == (tmp_path / "voc.rec").read_bytes()


@pytest.mark.parametrize(("image", "label"), [(NFC, NFD), (NFD, NFC)])
def test_normalisation_tells_of_no_file_too_many(tmp_path: Path, image: str, label: str) -> None:
    for write, images, labels in (
        (write_voc, "JPEGImages", "Annotations"), (write_yolo, "images/train", "labels/train"),
    ):  # fmt: skip
        root = write(tmp_path / write.__name__, TWO)
        for folder, name in ((images, image), (labels, label)):
            (path,) = (root / folder).glob("001.*")
            path.rename(path.with_stem(name))
        result = recpack.convert(
            root, tmp_path / "a.rec", overwrite=True, classes=CLASSES, **OPTIONS
        )
        assert (result.manifest.num_samples, codes(result)) == (2, [])


@pytest.mark.parametrize(
    "before", ["/content/ds/", "data/", "C:\\ds\\", "../../", "https://host/ds/", "./", ""]
)
def test_yolo_lists(tmp_path: Path, expected: bytes, before: str) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    (root / "data.yaml").write_text(f"train: train.txt\nnames: {list(CLASSES)}\n")
    slash = "\\" if "\\" in before else "/"
    names = (f"{before}images/train/{name}.jpg".replace("/", slash) for name in ("000", "001"))
    (root / "train.txt").write_text("\n".join(names))
    result = recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    assert (tmp_path / "a.rec").read_bytes() == expected
    assert codes(result) == ["path-resolved"] * (2 if before not in ("", "./", "../../") else 0)


@pytest.mark.parametrize(
    "path", ["/content/ds/images/train", "C:\\ds\\images\\train", "..\\images\\train"]
)
def test_yolo_folders_of_another_machine(tmp_path: Path, expected: bytes, path: str) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    (root / "data.yaml").write_text(f"train: {path}\nnames: {list(CLASSES)}\n")
    recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    assert (tmp_path / "a.rec").read_bytes() == expected


def test_a_missing_folder_blocks_only_its_set(tmp_path: Path, expected: bytes) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    text = f"train: images/train\nval: images/train\ntest: images/test\nnames: {list(CLASSES)}\n"
    (root / "data.yaml").write_text(text)
    for options in ({"set": "train"}, {}):
        recpack.convert(root, tmp_path / "a.rec", overwrite=True, **OPTIONS | options)
        assert (tmp_path / "a.rec").read_bytes() == expected
    check = recpack.check(root, set="all", jobs=1)
    assert list(check.image_sets) == ["train", "val"]
    (told,) = (problem for problem in check.problems if problem.code == "set-missing")
    assert (told.file, told.field, told.value) == ("data.yaml", "test", "images/test")
    assert (told.severity, check.refused) == ("warning", False)
    with pytest.raises(recpack.DataError, match="images/test: there is no such folder"):
        recpack.convert(root, tmp_path / "b.rec", set="test", **OPTIONS)
    # another set does not stand in for the training set
    (root / "data.yaml").write_text(text.replace("train: images/train", "train: images/tra"))
    with pytest.raises(recpack.DataError, match="images/tra: there is no such folder"):
        recpack.convert(root, tmp_path / "b.rec", **OPTIONS)


def test_check_reads_the_sets_that_are_there(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "coco", TWO)
    document = json.loads((root / "annotations/instances_train2017.json").read_text())
    for image in document["images"]:
        image["file_name"] = f"9{image['file_name']}"
    (root / "annotations/instances_val2017.json").write_text(json.dumps(document))
    check = recpack.check(root, set="all", jobs=1)
    assert list(check.image_sets) == ["train2017"]
    assert [(p.code, p.field) for p in check.problems] == [("set-missing", "val2017")]
    recpack.convert(root, tmp_path / "a.rec", set="train2017", **OPTIONS)
    with pytest.raises(recpack.DataError, match="--images"):
        recpack.check(root, jobs=1, set="val2017")
    root = make_voc(tmp_path / "voc", {"2007": 2, "2012": 2})
    (root / "VOC2012/JPEGImages").rename(tmp_path / "gone")
    check = recpack.check(root, set="all", jobs=1)
    (told,) = check.problems
    assert (told.code, told.field, told.value) == (
        "set-missing", "VOC2012", "VOC2012/JPEGImages",
    )  # fmt: skip
    (root / "VOC2007/JPEGImages").rename(tmp_path / "gone too")
    with pytest.raises(recpack.DataError, match="VOC2007/JPEGImages: no such folder"):
        recpack.check(root, set="all", jobs=1)


@pytest.mark.parametrize("write", [write_coco, write_yolo])
def test_links_out_of_the_data_set(
    tmp_path: Path, expected: bytes, write: type, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "in", TWO)
    link = root / ("train2017" if write is write_coco else "images")
    link.rename(tmp_path / "disk")
    link.symlink_to(tmp_path / "disk")
    command = ["convert", str(root), str(tmp_path / "a.rec"), "--no-shuffle", "--jobs", "1"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert f"{link.name} is a symlink to {tmp_path / 'disk'}, outside the data set" in error
    assert "--follow-links reads it" in error
    assert main([*command, "--follow-links"]) == 0
    assert (tmp_path / "a.rec").read_bytes() == expected
    # most files have this problem, so this is what the first line says
    first = error.splitlines()[0]
    assert first.endswith("To read through the links: --follow-links"), first
    # links that stay inside need no option, and the folder that is named can be a link
    link.unlink()
    (root / "elsewhere").mkdir()
    (tmp_path / "disk").rename(root / "elsewhere/disk")
    link.symlink_to("elsewhere/disk")
    (tmp_path / "named").symlink_to(root)
    recpack.convert(tmp_path / "named", tmp_path / "b.rec", **OPTIONS)
    assert (tmp_path / "b.rec").read_bytes() == expected


@pytest.mark.parametrize("folder", ["JPEGImages", "Annotations", "ImageSets"])
def test_folders_of_a_devkit_that_lead_out(
    tmp_path: Path, expected: bytes, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_voc(tmp_path / "in", TWO)
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("000\n001\n")
    link, disk = root / folder, tmp_path / "disk"
    link.rename(disk)
    link.symlink_to(disk)
    command = ["convert", str(root), str(tmp_path / "a.rec"), "--no-shuffle", "--jobs", "1"]
    command += ["--classes", ",".join(CLASSES)]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert f"{folder} is a symlink to {disk}, outside the data set; --follow-links reads" in error
    assert "Errno" not in error
    assert main([*command, "--follow-links"]) == 0
    assert (tmp_path / "a.rec").read_bytes() == expected
    # folders that are named are the user's own
    names = ["--images", "JPEGImages", "--annotations", "Annotations"]
    assert main([*command, "--overwrite", *names]) == 0
    assert (tmp_path / "a.rec").read_bytes() == expected
    # another image in them may still not lead elsewhere
    (root / "JPEGImages/000.jpg").rename(tmp_path / "000.jpg")
    (root / "JPEGImages/000.jpg").symlink_to(tmp_path / "000.jpg")
    assert main([*command, "--overwrite", *names]) == 1


def test_a_set_of_its_own_folder_that_leads_out(tmp_path: Path) -> None:
    write_voc(tmp_path / "disk", TWO)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/train").symlink_to(tmp_path / "disk")
    options = {"classes": CLASSES, **OPTIONS}
    with pytest.raises(recpack.DataError, match=r"train is a symlink to .*disk, outside the data"):
        recpack.convert(tmp_path / "in", tmp_path / "a.rec", **options)
    recpack.convert(tmp_path / "in", tmp_path / "a.rec", follow_links=True, **options)


def test_a_list_of_images_that_leads_out(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    (root / "data.yaml").write_text(f"train: train.txt\nnames: {list(CLASSES)}\n")
    (tmp_path / "train.txt").write_text("images/train/000.jpg\n")
    (root / "train.txt").symlink_to(tmp_path / "train.txt")
    with pytest.raises(
        recpack.DataError, match=r"in: can.t be read: train.txt is a symlink to .*--follow-links"
    ):
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    recpack.convert(root, tmp_path / "a.rec", follow_links=True, **OPTIONS)
    (root / "train.txt").unlink()
    os.mkfifo(root / "train.txt")
    with pytest.raises(recpack.DataError, match=r"train\.txt"):
        recpack.convert(root, tmp_path / "b.rec", **OPTIONS)


def test_an_image_folder_that_is_named_can_be_a_link(tmp_path: Path, expected: bytes) -> None:
    root = write_coco(tmp_path / "in", TWO)
    (root / "train2017").rename(tmp_path / "disk")
    (root / "train2017").symlink_to(tmp_path / "disk")
    recpack.convert(root, tmp_path / "a.rec", images="train2017", **OPTIONS)
    assert (tmp_path / "a.rec").read_bytes() == expected


def test_links_in_a_circle_are_walked_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.jpg").touch()
    (tmp_path / "a/again").symlink_to(tmp_path)
    for follow in (False, True):
        assert list(LocalTree(str(tmp_path), follow).walk(".")) == ["a/x.jpg"]
        assert Tails(LocalTree(str(tmp_path), follow)).find("C:\\x.jpg") == ["a/x.jpg"]


def test_a_list_with_paths_of_windows(tmp_path: Path) -> None:
    for number, folder in enumerate(("p", "q")):
        TWO[number].write(tmp_path / "img" / folder / "0.jpg")
    rows = [
        f"{number}\t2\t5\t0.0\t0.1\t0.1\t0.5\t0.6\t{{}}{name}" for number, name in enumerate("pq")
    ]
    good, bad = tmp_path / "good.lst", tmp_path / "bad.lst"
    good.write_text("".join(one.format("") + "/0.jpg\n" for one in rows))
    bad.write_text("".join(one.format("D:\\") + "\\0.jpg\r\n" for one in rows))
    recpack.pack(good, tmp_path / "img", tmp_path / "a.rec", jobs=1)
    result = recpack.pack(bad, tmp_path / "img", tmp_path / "b.rec", jobs=1)
    assert codes(result) == ["path-resolved"] * 2
    for ending in ("rec", "lst"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    recpack.verify(tmp_path / "b.rec", against=(bad, tmp_path / "img"))
    bad.write_text(rows[0].format("C:\\x\\").replace("\\p", "") + "\\0.jpg\n")
    with pytest.raises(recpack.DataError) as caught:
        recpack.pack(bad, tmp_path / "img", tmp_path / "c.rec", jobs=1)
    assert "path-ambiguous" in {problem.code for problem in caught.value.problems}
    assert not os.path.exists(tmp_path / "c.rec")


@pytest.mark.parametrize("path", [f"p/{NFC}.jpg", "/other/p/{nfd}.jpg", "{root}/p/{nfd}.jpg"])
def test_a_list_with_absolute_paths_and_other_normalisations(tmp_path: Path, path: str) -> None:
    root = tmp_path / "img"
    for folder in ("p", "q"):
        TWO[0].write(root / folder / f"{NFD}.jpg")
    row = "0\t2\t5\t0.0\t0.1\t0.1\t0.5\t0.6\t{}\n"
    for name, written in (("good", f"p/{NFD}.jpg"), ("other", path.format(nfd=NFD, root=root))):
        (tmp_path / f"{name}.lst").write_text(row.format(written))
        result = recpack.pack(tmp_path / f"{name}.lst", root, tmp_path / f"{name}.out.rec", jobs=1)
    assert codes(result) == (["path-resolved"] if path[0] != "p" else [])
    for ending in ("rec", "lst"):
        good, other = (tmp_path / f"{name}.out.{ending}" for name in ("good", "other"))
        assert good.read_bytes() == other.read_bytes()
    recpack.verify(tmp_path / "other.out.rec", against=(tmp_path / "other.lst", root))


def test_an_absolute_path_that_could_mean_two_files(tmp_path: Path) -> None:
    for folder in ("p", "q"):
        TWO[0].write(tmp_path / "img" / folder / "0.jpg")
    rows = [
        f"{n}\t2\t5\t0.0\t0.1\t0.1\t0.5\t0.6\t{p}\n" for n, p in enumerate(["/r/0.jpg", "p/0.jpg"])
    ]
    (tmp_path / "a.lst").write_text("".join(rows))
    with pytest.raises(recpack.DataError) as caught:
        recpack.pack(tmp_path / "a.lst", tmp_path / "img", tmp_path / "a.rec", jobs=1)
    (problem,) = caught.value.problems
    assert (problem.code, problem.value) == ("path-ambiguous", "/r/0.jpg: p/0.jpg, q/0.jpg")
    result = recpack.pack(
        tmp_path / "a.lst", tmp_path / "img", tmp_path / "a.rec", jobs=1, on_error="skip"
    )
    assert result.manifest.num_samples == 1


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a/./b//c.jpg", ["a", "b", "c.jpg"]),
        ("C:\\a\\..\\b.jpg", ["C:", "a", "b.jpg"]),
        ("what?.jpg", ["what?.jpg"]),
        ("http://h/a.jpg?sig=b/c.png", ["http:", "h", "a.jpg"]),
        ("/data/local-files/?d=x\\y.jpg", ["x", "y.jpg"]),
        ("", []),
    ],
)
def test_parts(path: str, parts: list[str]) -> None:
    assert parts_of(path) == parts
