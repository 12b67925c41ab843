"""COCO files: as pycocotools and supervision read them, and what is wrong with them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recpack
from recpack.records.inspect import image_header
from recpack.sources.open import open_dataset
from recpack.sources.selection import Selection
from recpack.storage.s3.client import S3Client
from tests.support.datasets import CLASSES, Picture, write_coco
from tests.support.devkits import make_voc

OPTIONS = {"shuffle": None, "negatives": "keep", "jobs": 1}
TWO = [
    Picture(60, 40, [(0, 1, 2, 30, 40), (2, 0, 0, 60, 40)]),
    Picture(50, 50, [(1, 5.5, 5, 20.25, 30)]),
]


def changed(root: Path, change: Any) -> Path:
    """A COCO data set whose document was changed."""
    write_coco(root, TWO)
    path = root / "annotations" / "instances_train2017.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(change(document) or document))
    return root


def boxes_of(rec: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Class ids, and boxes as ratios, record by record."""
    with recpack.RecordReader(rec) as records:
        return [(record.boxes[:, 0].astype(int), record.boxes[:, 1:5]) for record in records]


def test_it_is_what_pycocotools_reads(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    random = np.random.RandomState(0)
    found = []
    for _ in range(40):
        width, height = random.randint(8, 90, 2).tolist()
        boxes: list[tuple[Any, ...]] = []
        for _ in range(random.randint(0, 6)):
            left, top = random.uniform(0, width - 2), random.uniform(0, height - 2)
            right, bottom = random.uniform(left + 1, width), random.uniform(top + 1, height)
            edges = (round(edge, 2) for edge in (left, top, right, bottom))
            boxes.append((int(random.randint(3)), *edges))
        found.append(Picture(width, height, boxes))
    root = write_coco(tmp_path / "coco", found)
    recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = coco.COCO(root / "annotations" / "instances_train2017.json")
    ids = sorted(theirs.getCatIds())
    assert [theirs.loadCats(id_)[0]["name"] for id_ in ids] == list(CLASSES)
    rows = (tmp_path / "a.lst").read_text().splitlines()
    names = [row.rpartition("/")[2] for row in rows]
    images = {image["file_name"]: image for image in theirs.loadImgs(theirs.getImgIds())}
    assert sorted(names) == sorted(images)
    checked = 0
    for name, (class_ids, ratios) in zip(names, boxes_of(tmp_path / "a.rec"), strict=True):
        image = images[name]
        expected = theirs.loadAnns(theirs.getAnnIds(imgIds=image["id"]))
        sides = np.array([image["width"], image["height"]])
        left_top = np.array([one["bbox"][:2] for one in expected]).reshape(-1, 2)
        size = np.array([one["bbox"][2:] for one in expected]).reshape(-1, 2)
        wanted = np.concatenate([left_top / sides, (left_top + size) / sides], 1)
        kept = class_ids >= 0  # an image without objects has one of -1
        assert [ids[id_] for id_ in class_ids[kept]] == [one["category_id"] for one in expected]
        assert np.array_equal(ratios[kept], wanted.astype(np.float32))
        checked += len(expected)
    assert checked > 60


@pytest.mark.parametrize("which", ["coco", "yolo"])
def test_it_is_what_supervision_writes_and_reads(tmp_path: Path, which: str) -> None:
    """Pascal VOC → another format by supervision → recpack, beside supervision itself."""
    supervision = pytest.importorskip("supervision")
    root = make_voc(tmp_path / "voc", {"2007": 12}) / "VOC2007"
    made = supervision.DetectionDataset.from_pascal_voc(
        str(root / "JPEGImages"), str(root / "Annotations")
    )
    out = tmp_path / which
    if which == "coco":
        document = out / "annotations" / "instances_train.json"
        made.as_coco(str(out / "train"), str(document))
        theirs = supervision.DetectionDataset.from_coco(str(out / "train"), str(document))
    else:
        places = [str(out / name) for name in ("images", "labels", "data.yaml")]
        made.as_yolo(*places)
        theirs = supervision.DetectionDataset.from_yolo(*places)
        with (out / "data.yaml").open("a") as file:
            file.write("train: images\n")
    result = recpack.convert(out, tmp_path / "a.rec", **OPTIONS)
    assert list(result.manifest.classes) == list(made.classes) == list(theirs.classes)
    found = {Path(path).name: boxes for path, _, boxes in theirs}
    with recpack.RecordReader(tmp_path / "a.rec") as records:
        headers = [image_header(record) for record in records]
    names = [row.rpartition("/")[2] for row in (tmp_path / "a.lst").read_text().splitlines()]
    assert sorted(names) == sorted(found)
    for name, header, (ids, ours) in zip(names, headers, boxes_of(tmp_path / "a.rec"), strict=True):
        assert header is not None
        ratios = found[name].xyxy / np.array([header.width, header.height] * 2)
        assert found[name].class_id.tolist() == ids.tolist()
        # it keeps what lies outside the image; its YOLO has five decimals
        assert np.abs(np.clip(ratios, 0, 1) - ours).max() < 1e-5


def test_where_images_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, folder in enumerate(
        ["train2017", "images/train2017", "images", "annotations", "."]
    ):
        root = write_coco(tmp_path / str(number), TWO)
        target = root / folder
        target.mkdir(parents=True, exist_ok=True)
        for image in list((root / "train2017").iterdir()):
            image.rename(target / image.name)
        recpack.convert(root, root / "a.rec", **OPTIONS)
        recpack.convert(root / "annotations/instances_train2017.json", root / "b.rec", **OPTIONS)
        assert (root / "a.rec").read_bytes() == (root / "b.rec").read_bytes()
    root = write_coco(tmp_path / "x", TWO)
    (root / "deep").mkdir()
    (root / "train2017").rename(root / "deep/elsewhere")
    recpack.convert(root, root / "b.rec", **OPTIONS)
    recpack.convert(root, root / "a.rec", images="deep/elsewhere", **OPTIONS)
    assert (root / "b.rec").read_bytes() == (root / "a.rec").read_bytes()
    (root / "deep/elsewhere").rename(tmp_path / "beside")
    with pytest.raises(recpack.DataError, match="name its folder with --images"):
        recpack.convert(root, root / "d.rec", **OPTIONS)
    monkeypatch.chdir(tmp_path)
    document = root / "annotations" / "instances_train2017.json"
    for place in (tmp_path / "beside", "beside", "../" + tmp_path.name + "/beside/"):
        recpack.convert(root, root / "b.rec", images=place, overwrite=True, **OPTIONS)
        recpack.convert(document, root / "c.rec", images=place, overwrite=True, **OPTIONS)
        for name in ("b.rec", "c.rec"):
            assert (root / name).read_bytes() == (root / "a.rec").read_bytes()
    with pytest.raises(recpack.DataError, match="nowhere: no such folder"):
        recpack.convert(root, root / "d.rec", images="nowhere", **OPTIONS)


def test_exports_of_roboflow(tmp_path: Path) -> None:
    """A file of its own in each set's folder, beside the images."""
    for name in ("train", "valid"):
        made = write_coco(tmp_path / "made" / name, TWO)
        (tmp_path / "in" / name).mkdir(parents=True)
        document = made / "annotations" / "instances_train2017.json"
        document.rename(tmp_path / "in" / name / "_annotations.coco.json")
        for image in (made / "train2017").iterdir():
            image.rename(tmp_path / "in" / name / image.name)
    result = recpack.convert(tmp_path / "in", tmp_path / "a.rec", **OPTIONS)
    assert result.manifest.num_samples == 2
    both = recpack.convert(tmp_path / "in", tmp_path / "b.rec", set="train,valid", **OPTIONS)
    assert both.manifest.num_samples == 4
    assert "valid/000.jpg" in (tmp_path / "b.lst").read_text()
    found = recpack.check(tmp_path / "in", jobs=1, set="all")
    assert found.image_sets == {"train": 2, "valid": 2}


def test_several_sets(tmp_path: Path) -> None:
    root = write_coco(tmp_path, TWO)
    document = root / "annotations" / "instances_train2017.json"
    (root / "annotations" / "instances_val2017.json").write_bytes(document.read_bytes())
    (root / "annotations" / "captions_val2017.json").write_text("{}")
    assert open_dataset(root, Selection(), S3Client()).image_sets == ["train2017"]
    with pytest.raises(recpack.DataError, match="choose with --set from: train2017, val2017"):
        recpack.convert(root, tmp_path / "a.rec", set="test2017", **OPTIONS)
    document.unlink()
    (root / "annotations" / "instances_test2017.json").write_text("{}")
    with pytest.raises(recpack.ConfigError, match="sets test2017, val2017; choose"):
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)


def test_crowds_are_difficult(tmp_path: Path) -> None:
    def crowd(document: Any) -> None:
        document["annotations"][0]["iscrowd"] = 1

    root = changed(tmp_path, crowd)
    kept = recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    dropped = recpack.convert(root, tmp_path / "b.rec", difficult="drop", **OPTIONS)
    assert sum(kept.manifest.objects.values()) == 3
    assert sum(dropped.manifest.objects.values()) == 2
    (problem,) = dropped.problems
    assert (problem.code, problem.object, problem.file) == (
        "difficult-dropped", 1, "train2017/000.jpg",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("place", "key", "value", "code", "number"),
    [
        ("annotations", "bbox", None, "box-missing", 1),
        ("annotations", "bbox", [1, 2, 3], "box-missing", 1),
        ("annotations", "category_id", 99, "class-undefined", 1),
        ("annotations", "category_id", "seven", "class-undefined", 1),
        ("annotations", "category_id", None, "class-missing", 1),
        ("annotations", "image_id", 7, "image-unlisted", 1),
        ("images", "file_name", "../../etc/passwd", "path-unsafe", 0),
        ("images", "file_name", "none.jpg", "image-missing", 0),
        ("annotations", "attributes", {"occluded": False, "rotation": 90.0}, "box-rotated", 1),
        ("annotations", "attributes", {"rotation": "-12.5"}, "box-rotated", 1),
    ],
)
def test_errors_that_are_told(
    tmp_path: Path, place: str, key: str, value: object, code: str, number: int
) -> None:
    """Whatever the classes are: no option invents one."""

    def change(document: Any) -> None:
        document[place][0][key] = value

    root = changed(tmp_path / "in", change)
    for classes in (None, "auto", ",".join(CLASSES)):
        with pytest.raises(recpack.DataError) as caught:
            recpack.convert(root, tmp_path / "a.rec", classes=classes, **OPTIONS)
        told = [(one.code, one.object) for one in caught.value.problems if one.severity == "error"]
        assert told[0] == (code, number)
    result = recpack.convert(root, tmp_path / "a.rec", on_error="skip", **OPTIONS)
    assert code in {one.code for one in result.problems}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "JSON|truncated"),
        ("[]", "Expected `object`"),
        ('{"info": ' + "[" * 100_000, "maximum recursion|truncated"),
        ('{"images": [], "categories": []}', "missing required field `annotations`"),
        ('{"images": [], "categories": [], "annotations": []}', "there are no annotations"),
        (
            '{"images": [{"id": 1}], "categories": [], "annotations": []}',
            r"images\[0\]: Object missing required field `file_name`",
        ),
        (
            '{"images": [], "categories": [], "annotations": [{"image_id": 1, "bbox": ["a"]}]}',
            r"annotations\[0\].bbox\[0\]: Expected `float`",
        ),
        (
            '{"images": [], "categories": [{"id": 1, "name": " "}], "annotations": []}',
            "category 1 has no name",
        ),
        (
            '{"images": [], "categories": [{"id": 1, "name": "a"}, {"id": "b", "name": "b"}], '
            '"annotations": []}',
            "numbers and strings",
        ),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "instances_x.json"
    path.write_text(text)
    with pytest.raises(recpack.DataError, match=message) as caught:
        recpack.convert(path, tmp_path / "a.rec", **OPTIONS)
    assert "instances_x" in str(caught.value) or "no annotations" in message


def test_a_size_that_is_not_the_images(tmp_path: Path) -> None:
    def change(document: Any) -> None:
        document["images"][0] |= {"width": 120, "height": 80}

    result = recpack.convert(changed(tmp_path / "in", change), tmp_path / "a.rec", **OPTIONS)
    assert [one.code for one in result.problems] == ["size-mismatch"]


def test_names_of_ones_own(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "in", TWO)
    result = recpack.convert(root, tmp_path / "a.rec", classes="dog,cat,a bird", **OPTIONS)
    assert result.manifest.classes == ("dog", "cat", "a bird")
    with pytest.raises(recpack.DataError, match="unknown class 'a bird'"):
        recpack.convert(root, tmp_path / "b.rec", classes="dog,cat", **OPTIONS)


@pytest.mark.parametrize(
    "value", [{"rotation": 0.0}, {"rotation": 180}, {"rotation": "left"}, {"x": 1}, ["a"], "a", 1]
)
def test_attributes_that_turn_no_box(tmp_path: Path, value: object) -> None:
    def change(document: Any) -> None:
        document["annotations"][0]["attributes"] = value

    result = recpack.convert(changed(tmp_path / "in", change), tmp_path / "a.rec", **OPTIONS)
    assert result.problems == []


def test_ids_in_quotes_are_the_numbers(tmp_path: Path) -> None:
    recpack.convert(write_coco(tmp_path / "in", TWO), tmp_path / "a.rec", **OPTIONS)

    def quote(document: Any) -> None:
        for one in document["annotations"]:
            one["category_id"], one["image_id"] = str(one["category_id"]), str(one["image_id"])

    def numbers(document: Any) -> None:
        for one in document["images"]:
            one["id"] = str(one["id"])

    for number, change in enumerate((quote, numbers)):
        root = changed(tmp_path / str(number), change)
        for classes in (None, "auto"):
            recpack.convert(root, root / "b.rec", classes=classes, overwrite=True, **OPTIONS)
        recpack.convert(root, root / "b.rec", overwrite=True, **OPTIONS)
        assert (root / "b.rec").read_bytes() == (tmp_path / "a.rec").read_bytes()


def test_a_file_of_windows_with_all_in_quotes(tmp_path: Path) -> None:
    """A byte order mark, and numbers that a table wrote as text."""
    write_coco(tmp_path / "a", TWO)
    recpack.convert(tmp_path / "a", tmp_path / "a.rec", **OPTIONS)

    def quote(value: Any) -> Any:
        if isinstance(value, dict):
            ids = ("id", "image_id", "category_id")  # as text they have another order
            return {key: one if key in ids else quote(one) for key, one in value.items()}
        return [quote(one) for one in value] if isinstance(value, list) else str(value)

    root = changed(tmp_path / "b", lambda document: {**document, **quote(document)})
    path = root / "annotations" / "instances_train2017.json"
    path.write_text("\ufeff" + path.read_text())
    assert recpack.convert(root, tmp_path / "b.rec", **OPTIONS).problems == []
    assert (tmp_path / "a.rec").read_bytes() == (tmp_path / "b.rec").read_bytes()


@pytest.mark.parametrize("value", ["nan", "-inf", "1e999", "x", None])
def test_coordinates_that_are_no_numbers(tmp_path: Path, value: object) -> None:
    def put(document: Any) -> None:
        document["annotations"][0]["bbox"][2] = value

    root = changed(tmp_path / "a", put)
    with pytest.raises(recpack.DataError, match=r"annotations\[0\]\.bbox\[2\]: "):
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)


def test_what_is_no_json_is_shown(tmp_path: Path) -> None:
    """Python writes NaN, which JSON does not have."""

    def put(document: Any) -> None:
        document["annotations"][0]["bbox"][2] = float("nan")

    root = changed(tmp_path / "a", put)
    with pytest.raises(recpack.DataError, match=r'….*"bbox": \[1, 2, NaN.*…; repair it'):
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)


def test_a_name_that_is_a_number(tmp_path: Path) -> None:
    def put(document: Any) -> None:
        document["categories"][0]["name"] = 7

    root = changed(tmp_path / "a", put)
    result = recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    assert sorted(result.manifest.classes) == ["7", "cat", "dog"]


def test_a_category_that_only_groups_is_no_class(tmp_path: Path) -> None:
    """As in Roboflow's exports, where the first category has the name of the project."""

    def group(document: Any) -> None:
        for one in document["categories"]:
            one["supercategory"] = "pets"
        document["categories"].insert(0, {"id": 0, "name": "pets", "supercategory": "none"})

    root = changed(tmp_path / "in", group)
    result = recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    assert result.manifest.classes == CLASSES
    (problem,) = result.problems
    assert (problem.code, problem.severity, problem.action, problem.value) == (
        "class-placeholder", "note", "dropped class", "pets",
    )  # fmt: skip
    # its remedy, typed
    classes = ",".join(("pets", *CLASSES))
    result = recpack.convert(root, tmp_path / "b.rec", classes=classes, **OPTIONS)
    assert result.manifest.classes == ("pets", *CLASSES)
    assert result.problems == []


def test_a_category_that_has_objects_is_a_class(tmp_path: Path) -> None:
    def used(document: Any) -> None:
        for one in document["categories"][1:]:
            one["supercategory"] = document["categories"][0]["name"]
        document["annotations"][0]["category_id"] = str(document["categories"][0]["id"])

    def alone(document: Any) -> None:
        document["categories"] = [{"id": 1, "name": "pets", "supercategory": "none"}]
        for one in document["annotations"]:
            one["category_id"] = 1

    def itself(document: Any) -> None:
        for one in document["categories"]:
            one["supercategory"] = CLASSES[1]
        for one in document["annotations"]:
            one["category_id"] = 7

    for number, (change, classes) in enumerate(
        [(used, CLASSES), (alone, ("pets",)), (itself, CLASSES)]
    ):
        root = changed(tmp_path / str(number), change)
        result = recpack.convert(root, root / "a.rec", **OPTIONS)
        assert result.manifest.classes == classes
        assert result.problems == []


def test_what_groups_in_one_set_is_a_class_if_another_has_objects_of_it(tmp_path: Path) -> None:
    def group(document: Any) -> None:
        document["categories"].sort(key=lambda one: one["id"])
        for one in document["categories"][1:]:
            one["supercategory"] = "cat"

    root = changed(tmp_path, group)  # its objects: cat, a bird, dog
    train = root / "annotations" / "instances_train2017.json"
    document = json.loads(train.read_text())
    document["annotations"] = document["annotations"][1:]
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    options = {**OPTIONS, "images": "train2017"}
    both = recpack.convert(root, root / "a.rec", set="val2017,train2017", **options)
    assert both.manifest.classes == CLASSES
    assert both.problems == []
    val = recpack.convert(root, root / "b.rec", set="val2017", **options)
    assert val.manifest.classes == CLASSES[1:]


def test_an_object_without_a_box_has_the_bounds_of_its_polygon(tmp_path: Path) -> None:
    recpack.convert(write_coco(tmp_path / "in", TWO), tmp_path / "a.rec", **OPTIONS)
    polygons = [[1, 2, 30, 2, 30, 30], [30, 30, 30, 40, 1, 40]]
    for number, box in enumerate(({"bbox": None}, {"bbox": []})):

        def change(document: Any, box: Any = box) -> None:
            document["annotations"][0] |= {**box, "segmentation": polygons}
            document["annotations"][1]["segmentation"] = {"size": [40, 60], "counts": [0, 2400]}

        root = changed(tmp_path / str(number), change)
        result = recpack.convert(root, root / "a.rec", **OPTIONS)
        told = [(one.code, one.severity, one.object) for one in result.problems]
        assert told == [("box-from-polygon", "note", 1)]
        assert (root / "a.rec").read_bytes() == (tmp_path / "a.rec").read_bytes()


@pytest.mark.parametrize(
    "outline", [None, [], [[]], [[1, 2, 3]], [[1, 2, 1, 2]], {"counts": "x"}, [1, 2, 3, 4], "x"]
)
def test_an_object_without_box_and_polygon(tmp_path: Path, outline: object) -> None:
    def change(document: Any) -> None:
        del document["annotations"][0]["bbox"]
        document["annotations"][0]["segmentation"] = outline

    message = r"box-missing: the object has no bounding box; (?s:.)*, object 1: bbox missing"
    with pytest.raises(recpack.DataError, match=message):
        recpack.convert(changed(tmp_path / "in", change), tmp_path / "a.rec", **OPTIONS)


def test_an_image_listed_twice_is_an_error(tmp_path: Path) -> None:
    """Each of its ids has half of the boxes: never two records."""

    def again(document: Any) -> None:
        document["images"].append(document["images"][0] | {"id": 5, "file_name": "./000.jpg"})
        document["annotations"][0]["image_id"] = 5

    root = changed(tmp_path / "in", again)
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    (problem,) = caught.value.problems
    assert (problem.code, problem.file, problem.field, problem.value) == (
        "image-repeated", "train2017/000.jpg", "id", "1000, 5",
    )  # fmt: skip
    result = recpack.convert(root, tmp_path / "a.rec", on_error="skip", **OPTIONS)
    assert result.manifest.num_samples == 1
    assert "train2017/000.jpg\timage-repeated" in (tmp_path / "a.quarantine.tsv").read_text()


def test_an_id_of_two_images_is_an_error(tmp_path: Path) -> None:
    """Whose are its objects? The other image would be one without objects."""
    three = [*TWO, Picture(60, 40, [(0, 1, 2, 30, 40)])]
    root = write_coco(tmp_path / "in", three)
    path = root / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text().replace('"id": 999,', '"id": 1000,'))
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    assert [(one.code, one.file) for one in caught.value.problems][:2] == [
        ("id-repeated", "annotations/instances_train2017.json"),
        ("image-unlisted", "annotations/instances_train2017.json"),
    ]
    result = recpack.convert(root, tmp_path / "a.rec", on_error="skip", **OPTIONS)
    assert result.manifest.num_samples == 1
    told = [(one.file, one.value) for one in result.problems if one.code == "image-repeated"]
    both = "train2017/000.jpg, train2017/001.jpg"
    assert told == [("train2017/000.jpg", both), ("train2017/001.jpg", both)]
