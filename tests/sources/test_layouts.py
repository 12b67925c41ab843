"""Layouts as exporters write them are found without options; formats that recpack does not read
are recognised by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import recpack
from recpack.data.classes import VOC_CLASSES
from recpack.sources.coco import coco_files
from recpack.sources.recognise import kind_of
from recpack.sources.selection import Selection
from recpack.sources.voc import is_here
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import put
from recpack.storage.trees.open import open_tree
from tests.support.devkits import box_xml, jpeg, xml
from tests.support.s3server import S3Server

JPEG = jpeg(60, 40)
XML = xml(60, 40, box_xml("cat", (6, 4, 30, 20)))
ROW = "0 0.3 0.3 0.4 0.4\n"
LABEL = "2\t5\t0.0\t0.1\t0.1\t0.5\t0.5"
OPTIONS: dict[str, Any] = {"shuffle": None, "jobs": 1, "classes": "auto"}


def coco(*names: str) -> str:
    """A COCO file of images with one cat each; keys in the order of the real ones."""
    return json.dumps({
        "info": {},
        "images": [
            {"id": number, "file_name": name, "width": 60, "height": 40}
            for number, name in enumerate(names)
        ],
        "annotations": [
            {"id": 1 + number, "image_id": number, "category_id": 3, "bbox": [6, 4, 24, 16]}
            for number in range(len(names))
        ],
        "categories": [{"id": 3, "name": "cat"}],
    })  # fmt: skip


def lay(root: Path, files: Mapping[str, str]) -> Path:
    """Write files; those that end in .jpg are images."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG if name.endswith(".jpg") else text.encode())
    return root


def read(path: Path) -> bytes:
    return path.read_bytes()


def images(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "")


THREE = ("train", "valid", "test")
FOUND: dict[str, tuple[dict[str, str], dict[str, str], list[str]]] = {
    "voc of roboflow": (
        images(*(f"{name}/a.jpg" for name in THREE)) | {f"{name}/a.xml": XML for name in THREE},
        {},
        ["train/a.jpg"],
    ),
    "a set of it": (images("a.jpg") | {"a.xml": XML}, {}, ["a.jpg"]),
    "another set of it": (
        images(*(f"{name}/a.jpg" for name in THREE)) | {f"{name}/a.xml": XML for name in THREE},
        {"set": "test,valid"},
        ["test/a.jpg", "valid/a.jpg"],
    ),
    "a voc folder for each set": (
        images("train/images/a.jpg", "val/images/b.jpg")
        | {"train/annotations/a.xml": XML, "val/annotations/b.xml": XML},
        {},
        ["train/images/a.jpg"],
    ),
    "sets in both folders": (
        images("images/train/a.jpg", "images/test/b.jpg")
        | {"annotations/train/a.xml": XML, "annotations/test/b.xml": XML},
        {},
        ["images/train/a.jpg"],
    ),
    "voc of label studio": (
        images("images/a.jpg") | {"Annotations/a.xml": XML},
        {},
        ["images/a.jpg"],
    ),
    "voc of kaggle": (images("Images/a.jpg") | {"annotations/a.xml": XML}, {}, ["Images/a.jpg"]),
    "one folder has the images": (
        images("photos/a.jpg") | {"annotations/a.xml": XML, "docs/README": ""},
        {},
        ["photos/a.jpg"],
    ),
    "images beside the folder": (images("a.jpg") | {"Annotations/a.xml": XML}, {}, ["a.jpg"]),
    "voc of fiftyone": (images("data/a.jpg") | {"labels/a.xml": XML}, {}, ["data/a.jpg"]),
    "xml files in labels": (
        images("images/a.jpg") | {"labels/a.xml": XML},
        {},
        ["images/a.jpg"],
    ),
    "another case in a year": (
        images("VOC2007/images/a.jpg") | {"VOC2007/annotations/a.xml": XML},
        {},
        ["VOC2007/images/a.jpg"],
    ),
    "voc of cvat": (
        images("JPEGImages/a.jpg")
        | {"Annotations/a.xml": XML, "ImageSets/Main/default.txt": "a\n", "labelmap.txt": "# cat"},
        {},
        ["JPEGImages/a.jpg"],
    ),
    "no trainval": (
        images("JPEGImages/a.jpg")
        | {"Annotations/a.xml": XML}
        | {f"ImageSets/Main/{name}.txt": "a\n" for name in ("train", "val")},
        {},
        ["JPEGImages/a.jpg"],
    ),
    "lists in ImageSets itself": (
        images("JPEGImages/a.jpg", "JPEGImages/b.jpg")
        | {"Annotations/a.xml": XML, "Annotations/b.xml": XML, "ImageSets/trainval.txt": "b\n"},
        {},
        ["JPEGImages/b.jpg"],
    ),
    "lists of vott": (
        images("JPEGImages/a.jpg", "JPEGImages/b.jpg")
        | {"Annotations/a.xml": XML, "Annotations/b.xml": XML}
        | {"ImageSets/Main/cat_train.txt": "a.jpg 1\nb.jpg -1\n"}
        | {"ImageSets/Main/cat_val.txt": "b.jpg 1\na.jpg -1\n"},
        {"set": "cat_train"},
        ["JPEGImages/a.jpg"],
    ),
    "coco of roboflow": (
        images(*(f"{name}/a.jpg" for name in THREE))
        | {f"{name}/_annotations.coco.json": coco("a.jpg") for name in THREE},
        {},
        ["train/a.jpg"],
    ),
    "coco of label studio": (
        images("images/a.jpg") | {"result.json": coco("images/a.jpg")},
        {},
        ["images/a.jpg"],
    ),
    "coco of fiftyone": (images("data/a.jpg") | {"labels.json": coco("a.jpg")}, {}, ["data/a.jpg"]),
    "a set of it in a folder": (
        images("train/data/a.jpg") | {"train/labels.json": coco("a.jpg")},
        {},
        ["train/data/a.jpg"],
    ),
    "coco beside its images": (
        images("a.jpg", "b.jpg") | {"x.json": coco("a.jpg", "b.jpg"), "package.json": "{}"},
        {},
        ["a.jpg", "b.jpg"],
    ),
    "images anywhere": (
        images("pictures of cats/a.jpg") | {"Annotations/cats.json": coco("a.jpg")},
        {},
        ["pictures of cats/a.jpg"],
    ),
    "two coco files": (
        images("images/a.jpg", "images/b.jpg")
        | {"train.json": coco("a.jpg"), "test.json": coco("b.jpg")},
        {},
        ["images/a.jpg"],
    ),
    "coco's keypoints": (
        images("images/train/a.jpg", "images/val/b.jpg")
        | {"annotations/person_keypoints_train.json": coco("a.jpg")}
        | {"annotations/person_keypoints_val.json": coco("b.jpg")}
        | {"annotations/captions_train.json": "{}"},
        {},
        ["images/train/a.jpg"],
    ),
    "coco's stuff": (
        images("val2017/a.jpg") | {"annotations/stuff_val2017.json": coco("a.jpg")},
        {},
        ["val2017/a.jpg"],
    ),
    "darknet, yolo of cvat": (
        images("obj_train_data/a.jpg", "obj_train_data/in/b.jpg")
        | {"obj_train_data/a.txt": ROW, "obj_train_data/in/b.txt": ROW, "obj.names": "cat\n"}
        | {"obj.data": "classes = 1\ntrain = data/train.txt\nvalid=data/valid.txt\n"
            "names = data/obj.names\nbackup = backup/\n"}
        | {"train.txt": "data/obj_train_data/a.jpg\ndata/obj_train_data/in/b.jpg\n"},
        {},
        ["obj_train_data/a.jpg", "obj_train_data/in/b.jpg"],
    ),
    "yolo of cvat": (
        images("images/train/a.jpg")
        | {"labels/train/a.txt": ROW, "train.txt": "data/images/train/a.jpg\n"}
        | {"data.yaml": "path: .\ntrain: train.txt\nnames:\n  0: cat\n"},
        {},
        ["images/train/a.jpg"],
    ),
    "darknet of roboflow": (
        images("train/a.jpg", "valid/b.jpg")
        | {"train/a.txt": ROW, "valid/b.txt": ROW}
        | {"train/_darknet.labels": "cat\n", "valid/_darknet.labels": "cat\n"},
        {},
        ["train/a.jpg"],
    ),
    "another name of val": (
        images("images/train/a.jpg", "images/v/b.jpg")
        | {"labels/train/a.txt": ROW, "labels/v/b.txt": ROW}
        | {"data.yaml": "train: images/train\nvalidation: images/v\nnames: [cat]"},
        {"set": "val"},
        ["images/v/b.jpg"],
    ),
    "yolo of fiftyone": (
        images("data/a.jpg")
        | {"data/a.txt": ROW, "obj.names": "cat\n", "images.txt": "data/a.jpg\n"},
        {},
        ["data/a.jpg"],
    ),
    "yolo of label studio": (
        images("images/a.jpg")
        | {"labels/a.txt": ROW, "classes.txt": "cat\n"}
        | {"notes.json": '{"categories": [{"id": 0, "name": "cat"}], "info": {"year": 2026}}'},
        {},
        ["images/a.jpg"],
    ),
    "yolo without names": (
        images("a.jpg") | {"a.txt": ROW, "README.dataset.txt": "text"},
        {"classes": "cat"},
        ["a.jpg"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_layouts_that_are_found(name: str, tmp_path: Path) -> None:
    files, options, expected = FOUND[name]
    root = lay(tmp_path / "in", files)
    result = recpack.convert(root, tmp_path / "a.rec", **OPTIONS | options)
    assert list(result.manifest.classes) == ["cat"]
    rows = (tmp_path / "a.lst").read_text().splitlines()
    assert [row.partition("\t")[2] for row in rows] == [f"{LABEL}\t{name}" for name in expected]


@pytest.mark.parametrize("name", FOUND)
def test_a_folder_around_a_layout_changes_nothing(name: str, tmp_path: Path) -> None:
    """An archiver wrote it, and perhaps its system's own files beside it."""
    files, options, _ = FOUND[name]
    root = lay(tmp_path / "in", {f"deep/dataset/{file}": text for file, text in files.items()})
    recpack.convert(root / "deep/dataset", tmp_path / "a.rec", **OPTIONS | options)
    lay(root, {".DS_Store": "x", "__MACOSX/deep/._dataset": "x", "deep/.DS_Store": "x"})
    shutil.make_archive(str(tmp_path / "b"), "zip", root)
    shutil.make_archive(str(tmp_path / "c"), "tar", root / "deep")
    for path in (root, root / "deep", tmp_path / "b.zip", tmp_path / "c.tar"):
        recpack.convert(path, tmp_path / "x.rec", overwrite=True, **OPTIONS | options)
        for ending in (".rec", ".lst"):
            assert read(tmp_path / f"x{ending}") == read(tmp_path / f"a{ending}"), path
        if path.is_file():  # nobody can name the folder in it
            recpack.pack(tmp_path / "a.lst", path, tmp_path / "y.rec", overwrite=True, jobs=1)
            assert read(tmp_path / "y.rec") == read(tmp_path / "a.rec")
            recpack.verify(tmp_path / "a.rec", against=(tmp_path / "a.lst", path), jobs=1)


OWN, AUTO = ["truck", "my: cat", "cat"], {"classes": "auto"}
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\n"


@pytest.mark.parametrize(
    ("labelmap", "options", "classes"),
    [
        (f"{LABELMAP}truck:0,0,9::\nmy: cat:9,0,0:head,hand:\n\ncat:0,9,0::", {}, OWN),
        (f"{LABELMAP}truck:0,0,9::\nmy: cat:9,0,0:head,hand:\n\ncat:0,9,0::", AUTO, ["cat"]),
        (f"{LABELMAP}truck:0,0,9::\ncat:0,9,0::", {"classes": "voc"}, VOC_CLASSES),
        (f"{LABELMAP}dog:0,0,9::\ncat:0,9,0::", {}, VOC_CLASSES),
        ("truck\ncat\n", {}, VOC_CLASSES),
        ("\udcff", {}, VOC_CLASSES),
    ],
)
def test_the_labelmap_of_cvat(
    labelmap: str, options: dict[str, str], classes: list[str], tmp_path: Path
) -> None:
    """Its names are the classes where Pascal VOC's do not hold them all, also of archives."""
    root = lay(tmp_path / "in", images("JPEGImages/a.jpg") | {"Annotations/a.xml": XML})
    (root / "labelmap.txt").write_text(labelmap, errors="surrogateescape")
    archive = shutil.make_archive(str(tmp_path / "task 7-pascal voc 1.1"), "zip", root)
    for path in (root, archive):
        result = recpack.convert(path, tmp_path / "a.rec", overwrite=True, jobs=1, **options)
        assert list(result.manifest.classes) == list(classes)
        assert result.manifest.objects["cat"] == 1
    unread = () if labelmap.startswith(f"{LABELMAP}truck") else ("labelmap.txt",)
    assert recpack.detect(root).unread == unread
    assert ("--classes" in recpack.detect(archive).commands["convert"]) is False


def test_a_labelmap_that_can_not_be_read(tmp_path: Path) -> None:
    """Without it the class ids would be others, in silence."""
    root = lay(tmp_path / "in", images("JPEGImages/a.jpg") | {"Annotations/a.xml": XML})
    (tmp_path / "labelmap.txt").write_text(f"{LABELMAP}truck:0,0,9::\n")
    (root / "labelmap.txt").symlink_to(tmp_path / "labelmap.txt")
    with pytest.raises(recpack.DataError, match=r"labelmap\.txt is a symlink.*--follow-links"):
        recpack.convert(root, tmp_path / "a.rec", jobs=1)
    (root / "labelmap.txt").unlink()
    with (root / "labelmap.txt").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(recpack.DataError, match=r"in/labelmap\.txt: can't be read: .*bytes"):
        recpack.convert(root, tmp_path / "a.rec", jobs=1)
    assert not (tmp_path / "a.rec").exists()


LABELME = {"version": "5", "shapes": [{"label": "cat", "points": [[6, 4]]}], "imagePath": "a.jpg"}
VIA = {"a.jpg42": {"filename": "a.jpg", "regions": [{"shape_attributes": {"name": "rect"}}]}}
CREATEML = [{"image": "a.jpg", "annotations": [{"label": "cat", "coordinates": {"x": 18}}]}]
PANOPTIC = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"segments_info": []}]}
CAPTIONS = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"caption": "A cat"}]}
STUDIO = [{"id": 1, "annotations": [{"id": 1, "completed_by": 1, "result": []}]}]
SUPERVISELY = {"size": {"width": 60}, "objects": [{"id": 1, "classTitle": "cat"}]}
DATUMARO = {"info": {}, "categories": {"label": {"labels": [{"name": "cat"}]}}, "items": []}
STUDIO_BRUSH = [{"id": 1, "annotations": [{"result": [{"value": {"rle": [1] * 40_000}}]}]}]
LABELME_XML = (
    "<annotation><filename>a.jpg</filename><object><name>cat</name><polygon><pt><x>6</x><y>4</y>"
    "</pt></polygon></object></annotation>"
)
KITTI = "Car 0.00 0 -1.57 6.0 4.0 30.0 20.0 1.4 1.6 3.6 1 1 1 1\n"
DOTA = "6 4 30 4 30 20 6 20 small-vehicle 0\n"
VOTT = {"asset": {"name": "a.jpg"}, "regions": [{"type": "RECTANGLE", "tags": ["cat"]}]}
CVAT = '<?xml version="1.0"?>\n<!-- x -->\n<annotations><version>1.1</version></annotations>'


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.json", LABELME, "a.json is LabelMe's JSON"),
        ("images/a.json", LABELME, "a.json is LabelMe's JSON"),
        ("via.json", VIA, "via.json is a project of VIA.*Export Annotations"),
        ("x.json", {"_via_settings": {}, "_via_img_metadata": VIA}, "a project of VIA"),
        ("via.csv", "filename,file_size,region_count\n", "via.csv is a project of VIA"),
        ("train/_annotations.csv", "filename,xmin\n", r"_annotations.csv is a table"),
        ("train/_annotations.createml.json", CREATEML, "CreateML's JSON"),
        ("annotations/panoptic_train.json", PANOPTIC, "panoptic JSON.*use instances_"),
        ("annotations/x.json", PANOPTIC, "panoptic JSON"),
        ("annotations/captions_train.json", CAPTIONS, "captions.*use instances_"),
        ("annotations/image_info_test.json", {"images": []}, "list of images"),
        ("project-1.json", STUDIO, "Label Studio's JSON.*Export"),
        ("ann/a.jpg.json", SUPERVISELY, "Supervisely's JSON"),
        ("annotations/default.json", DATUMARO, "Datumaro's JSON"),
        ("a-asset.json", VOTT, "VoTT's JSON"),
        ("detections.json", [{"image_id": 1, "category_id": 3, "score": 0.5}], "COCO's results"),
        ("annotations.xml", CVAT, "annotations.xml is CVAT's XML.*PASCAL VOC 1.1"),
        ("train/x.tfrecord", "x", "TFRecord"),
        ("positive/a.bboxes.tsv", "6\t4\t30\t20", "TSV"),
        ("data/train.parquet", "PAR1", "Parquet"),
        ("project.json", STUDIO_BRUSH, "Label Studio's JSON"),
        ("meta.json", {"classes": [{"title": "cat", "shape": "rectangle"}]}, "Supervisely's JSON"),
        ("samples.json", {"samples": [{"a": {"_cls": "Detections"}}]}, "FiftyOne's own format"),
        ("metadata.json", {"sample_fields": [{"ftype": "fiftyone"}]}, "FiftyOne's own format"),
        (
            "labels.json",
            {"classes": ["cat"], "labels": {"a.b": [{"bounding_box": [0]}]}},
            "FiftyOne",
        ),
        (
            "d.json",
            [{"file_name": "a.jpg", "annotations": [{"bbox_mode": 0}]}],
            "Detectron2's list",
        ),
        ("export.ndjson", {"data_row": {"id": "c"}, "projects": {}}, "Labelbox's JSON"),
        ("tasks.json", [{"task_id": "5", "response": {"annotations": []}}], "Scale's JSON"),
        ("labels.json", [{"label_hash": "x", "data_units": {}}], "Encord's JSON"),
        ("p.json", {"images": [{"labels": [{"class_name": "cat"}]}]}, "Hasty's JSON"),
        ("annotations/a.json", {"version": "2.0", "item": {}, "annotations": []}, "V7's Darwin"),
        ("labels.json", [{"name": "a.jpg", "labels": [{"box2d": {"x1": 6}}]}], "BDD100K's JSON"),
        ("Annotations/a.xml", LABELME_XML, r"LabelMe's XML.*datum convert .* -if label_me"),
        ("label_2/a.txt", KITTI, "KITTI's labels.*-if kitti"),
        ("gt/gt.txt", "1,1,6,4,24,16,1,1,1.0\n", "MOT's tracks.*-if mot_seq"),
        ("labelTxt/a.txt", f"imagesource:x\ngsd:0.1\n{DOTA}", "DOTA's labels"),
        ("labelTxt/a.txt", DOTA, "DOTA's labels"),
        ("Annotations/a.txt", ROW, "rows of YOLO; rename Annotations to labels"),
        ("Labels/a.txt", ROW, "rows of YOLO; rename Labels to labels"),
    ],
)
def test_formats_that_are_not_read(
    tmp_path: Path, file: str, content: object, message: str
) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    root = lay(tmp_path / "in", images("images/a.jpg") | {file: text})
    with pytest.raises(recpack.DataError, match=message):
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    if not file.endswith(".txt"):  # a file of rows is no data set
        with pytest.raises(recpack.DataError, match=message):
            recpack.convert(root / file, tmp_path / "a.rec", **OPTIONS)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"out/x.manifest": "{}"}, r"in/out/x.manifest: .* give its own path"),
        ({"labels.json.gz": "x"}, r"labels.json.gz: it is compressed: run gunzip -k"),
        ({"images/b.jpg": ""}, "no Annotations folder"),  # and not: give the folder in it
        # Label Studio's YOLO without images: its notes are no annotation
        ({"labels/a.txt": ROW, "classes.txt": "cat", "notes.json": '{"categories": []}'},
         "put the images into a folder images"),
        ({"data.json": '{"what": 1}', "package.json": '{"name": ""}'}, "no Annotations folder"),
    ],
)  # fmt: skip
def test_what_to_do_with_it(tmp_path: Path, files: dict[str, str], message: str) -> None:
    root = lay(tmp_path / "in", files)
    with pytest.raises(recpack.DataError, match=message):
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)


def test_json_beside_that_of_images(tmp_path: Path) -> None:
    document = {"file": "a.jpg", "annotations": [], "categories": []}
    broken = images("a.jpg") | {"a.json": json.dumps(document), "notes.json": '{"x": 1}'}
    found = recpack.check(lay(tmp_path / "in", broken), jobs=1)
    assert [(one.code, one.file) for one in found.problems if one.severity == "error"] == [
        ("json-malformed", "notes.json")
    ]


def test_images_that_were_not_exported(tmp_path: Path) -> None:
    root = lay(tmp_path / "in", {"Annotations/a.xml": XML, "README": ""})
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    assert str(caught.value).endswith("--images FOLDER --annotations Annotations")
    lay(tmp_path / "pictures", images("a.jpg"))
    choice = {"images": tmp_path / "pictures", "annotations": "Annotations"}
    result = recpack.convert(root, tmp_path / "a.rec", **choice, **OPTIONS)
    assert result.manifest.num_samples == 1


@pytest.mark.parametrize("file", ["x/a.jpg", "train/a.jpg", "images/a.jpg"])
def test_images_alone_are_no_classes(tmp_path: Path, file: str) -> None:
    root = lay(tmp_path / "in", images(file, "val/b.jpg", "masks/c.jpg"))
    with pytest.raises(recpack.DataError, match="no Annotations folder"):
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)


def test_the_folder_in_it(tmp_path: Path) -> None:
    lay(tmp_path / "in", images("dataset/images/a.jpg") | {"dataset/annotations/a.xml": XML})
    lay(tmp_path / "in", {"LICENSE": ""})
    with pytest.raises(recpack.DataError, match=r"give the folder in it, .*in/dataset"):
        recpack.convert(tmp_path / "in", tmp_path / "a.rec", **OPTIONS)
    lay(tmp_path / "zip", {f"deep/{path}": "1" for path in ("dataset/images/a.jpg", "dataset/x")})
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "zip")
    with pytest.raises(recpack.DataError, match="of what its folder deep holds"):
        recpack.convert(archive, tmp_path / "a.rec", **OPTIONS)


def test_a_head_is_enough() -> None:
    """Real files are larger than what is read of them, and cut anywhere."""
    text = coco(*(f"images/{number}.jpg" for number in range(100))).encode()
    cuts = range(60, len(text), 97)
    assert {kind_of("x.json", text[:cut]) for cut in cuts} == {"coco"}
    labels = json.dumps(LABELME | {"imageData": "x" * 9000}).encode()
    assert kind_of("x.json", labels[:5000]) == "LabelMe's JSON"
    assert kind_of("captions_x.json", text) == "coco"  # its boxes are seen
    for head in (b"", b"{", b"}]}", b'"', b"\xff\xfe{", b'{"a": "\\', b"[" * 70_000):
        assert kind_of("x.json", head) == ""


def test_a_set_that_is_missing(tmp_path: Path) -> None:
    """Roboflow's yaml names a test set that was not downloaded; the others are read."""
    sets = "".join(f"{name}: ../{folder}/images\n" for name, folder in zip(
        ("train", "val", "test"), THREE, strict=True))  # fmt: skip
    files = images("train/images/a.jpg") | {"train/labels/a.txt": ROW}
    root = lay(tmp_path / "in", files | {"data.yaml": f"{sets}names: [cat]\n"})
    result = recpack.convert(root, tmp_path / "a.rec", set="train", jobs=1)
    assert (result.manifest.num_samples, result.problems) == (1, [])
    for options, severity in (({}, "note"), ({"set": "all"}, "warning")):
        found = recpack.check(root, jobs=1, **options)
        assert (found.image_sets, found.refused) == ({"train": 1}, False)
        assert [(one.code, one.severity, one.field, one.value) for one in found.problems] == [
            ("set-missing", severity, "val", "../valid/images"),
            ("set-missing", severity, "test", "../test/images"),
        ]
        result = recpack.convert(root, tmp_path / "a.rec", overwrite=True, jobs=1, **options)
        assert (result.manifest.num_samples, result.problems) == (1, found.problems)
    with pytest.raises(recpack.DataError, match=r"data.yaml: ../valid/images: there is no such"):
        recpack.convert(root, tmp_path / "b.rec", set="val")
    (root / "train").rename(root / "valid")
    with pytest.raises(recpack.DataError, match=r"data.yaml: ../train/images: there is no such"):
        recpack.convert(root, tmp_path / "b.rec", jobs=1)


def test_a_list_with_images_that_are_missing(tmp_path: Path) -> None:
    """The first image of a list is missing, the others are found all the same."""
    files = images("obj_train_data/b.jpg") | {"obj_train_data/b.txt": ROW, "obj.names": "cat"}
    lists = {"obj.data": "train = x/train.txt", "train.txt": "x/obj_train_data/a.jpg\n"
             "x/obj_train_data/b.jpg\n"}  # fmt: skip
    root = lay(tmp_path / "in", files | lists)
    result = recpack.convert(root, tmp_path / "a.rec", on_error="skip", jobs=1)
    assert result.manifest.num_samples == 1
    assert [one.code for one in result.problems if one.severity == "error"] == ["image-missing"]


def test_on_s3_folders_of_images_are_not_listed(hostile: S3Server) -> None:
    """A look at a folder takes 1000 of its names, whatever it holds."""
    s3 = S3Client(hostile.url, patience=5)
    put(s3, Location("bucket", "in/train2017/_annotations.coco.json"), coco("a").encode())
    (document,) = hostile.objects.values()
    for number in range(3000):
        hostile.objects[f"in/train2017/{number:06}.jpg"] = document
    root = open_tree("s3://bucket/in", s3)
    assert not is_here(root, Selection())
    assert coco_files(root) == {"train2017": "train2017/_annotations.coco.json"}
    assert hostile.calls["list_objects_v2"] < 3000 / 50  # names in an answer of this server
    assert hostile.calls["get_object"] == 1
