from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recpack
from recpack.errors import AnnotationError, ConfigError, DataError
from recpack.sources.selection import Selection
from recpack.sources.voc.layout import Devkit, read_image_set
from recpack.sources.voc.layout import open_devkit as open_tree_devkit
from recpack.sources.voc.parse import parse_annotation
from recpack.storage.files import text_lines
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.open import open_tree
from tests.support.datasets import CLASSES, Picture, write_voc
from tests.support.devkits import box_xml, xml


def test_an_annotation_as_the_devkits_have_it() -> None:
    found = parse_annotation(
        b"""<annotation>
        <folder>VOC2012</folder><filename>2012_000001.jpg</filename>
        <source><database>The VOC2007 Database</database></source>
        <size><width>486</width><height>500</height><depth>3</depth></size>
        <object><name>person</name><pose>Unspecified</pose><truncated>0</truncated>
        <difficult>1</difficult>
        <bndbox><xmin>174</xmin><ymin>101</ymin><xmax>349</xmax><ymax>351</ymax></bndbox>
        <part><name>head</name>
        <bndbox><xmin>169</xmin><ymin>104</ymin><xmax>209</xmax><ymax>146</ymax></bndbox></part>
        </object>
        <object><bndbox><ymax>20.5</ymax><xmax>45.70000076293945</xmax><ymin>2</ymin>
        <xmin> 1e1 </xmin></bndbox>
        <attributes><attribute><name>colour</name><value>red</value></attribute></attributes>
        <name> dog </name></object></annotation>"""
    )
    assert (found.filename, found.width, found.height) == ("2012_000001.jpg", 486, 500)
    assert found.names == ["person", "dog"]
    assert found.boxes == [174, 101, 349, 351, 10, 2, 45.70000076293945, 20.5]
    assert found.difficult == [1, 0]
    assert found.objects == [1, 2]
    assert found.defects == []


@given(st.permutations(["name", "difficult", "bndbox", "pose"]), st.permutations(range(4)))
def test_the_order_of_tags_is_free(outer: list[str], inner: list[int]) -> None:
    tags = ["xmin", "ymin", "xmax", "ymax"]
    parts = {
        "name": "<name>cat</name>",
        "difficult": "<difficult>1</difficult>",
        "bndbox": "<bndbox>" + "".join(f"<{tags[i]}>{i}</{tags[i]}>" for i in inner) + "</bndbox>",
        "pose": "<pose>Left</pose>",
    }
    text = xml(10, 10, "<object>" + "".join(parts[tag] for tag in outer) + "</object>")
    found = parse_annotation(text.encode())
    assert (found.names, found.boxes, found.difficult) == (["cat"], [0, 1, 2, 3], [1])


def test_several_boxes_in_one_object_are_several_boxes() -> None:
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
    found = parse_annotation(xml(9, 9, f"<object><name>a</name>{box}{box}</object>").encode())
    assert (found.names, found.objects, len(found.boxes)) == (["a", "a"], [1, 1], 8)


@pytest.mark.parametrize(
    ("objects", "defect"),
    [
        (box_xml("a", ("x", 1, 2, 3)), ("number-bad", 1, "bndbox/xmin", "x")),
        (box_xml("a", (1, "nan", 2, 3)), ("number-bad", 1, "bndbox/ymin", "nan")),
        (box_xml("a", (1, 1, "inf", 3)), ("number-bad", 1, "bndbox/xmax", "inf")),
        (box_xml("a", (1, 1, 2, "1_0")), ("number-bad", 1, "bndbox/ymax", "1_0")),
        (box_xml("a", (1, 1, 2, "45,7")), ("number-bad", 1, "bndbox/ymax", "45,7")),
        (box_xml("a", (1, 1, 2, "")), ("number-bad", 1, "bndbox/ymax", "")),
        (
            "<object><name>a</name><bndbox><xmin>1</xmin></bndbox></object>",
            ("number-bad", 1, "bndbox/ymin", "missing"),
        ),
        ("<object><name>a</name></object>", ("box-missing", 1, "", "")),
        (box_xml("", (1, 1, 2, 2)), ("name-missing", 1, "", "")),
        (box_xml("a", (1, 1, 2, 2), "Unspecified"), ("flag-text", 1, "difficult", "Unspecified")),
    ],
)
def test_a_defect_names_object_field_and_value(
    objects: str, defect: tuple[str, int, str, str]
) -> None:
    found = parse_annotation(xml(9, 9, objects, box_xml("b", (1, 2, 3, 4))).encode())
    assert [(d.code, d.object, d.field, d.value) for d in found.defects] == [defect]
    assert found.names[-1] == "b"
    assert len(found.names) == (2 if defect[0] == "flag-text" else 1)


@pytest.mark.parametrize("difficult", [None, ""])
def test_missing_flags_are_0(difficult: str | None) -> None:
    text = xml(9, 9, box_xml("a", (1, 2, 3, 4), difficult))
    assert parse_annotation(text.encode()).difficult == [0]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "annotation-malformed"),
        (b"<annotation>", "annotation-malformed"),
        (b"not xml", "annotation-malformed"),
        (b"<html/>", "annotation-not-voc"),
        (b"<annotation/>" + b" " * (17 << 20), "annotation-too-large"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>', "annotation-dtd"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "annotation-dtd"),
        (
            '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a []><annotation/>'.encode("utf-16"),
            "annotation-dtd",
        ),
        (  # no byte-order mark, and no byte string that looks like a document type
            '<?xml version="1.0" encoding="UTF-16LE"?><!DOCTYPE a []><annotation/>'.encode(
                "utf-16-le"
            ),
            "annotation-dtd",
        ),
        (
            '<?xml version="1.0" encoding="utf-7"?><!DOCTYPE a []><annotation/>'.encode("utf-7"),
            "annotation-dtd",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        parse_annotation(data)
    assert caught.value.code == code


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        found = parse_annotation(data)
    except AnnotationError:
        return
    assert len(found.boxes) == 4 * len(found.names)


def make(root: Path, *files: str) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def open_devkit(path: Path, options: Selection) -> Devkit:
    return open_tree_devkit(open_tree(path, S3Client()), options)


def test_years_and_sets_pair_as_in_the_aws_tool(tmp_path: Path) -> None:
    for year in ("2007", "2012"):
        make(tmp_path, f"VOC{year}/Annotations/{year}.xml", f"VOC{year}/JPEGImages/{year}.jpg")
        for name in ("trainval", "val"):
            file = tmp_path / f"VOC{year}/ImageSets/Main/{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{year}{name}\n")

    def ids(**options: str) -> list[str]:
        return [
            id_ for s in open_devkit(tmp_path, Selection(**options)).image_sets for id_ in s.ids
        ]

    assert ids() == ["2007trainval", "2012trainval"]
    assert ids(year="2012,2007") == ["2012trainval", "2007trainval"]
    assert ids(year="2012", set="val, trainval") == ["2012val", "2012trainval"]
    assert ids(year="2012,2007", set="val,trainval") == ["2012val", "2007trainval"]
    with pytest.raises(ConfigError, match="3 image sets"):
        ids(year="2007,2012", set="a,b,c")
    with pytest.raises(DataError, match="no folder VOC2010; the years are 2007, 2012"):
        ids(year="2010")
    with pytest.raises(DataError, match="choose with --set from: trainval, val"):
        ids(set="test")


def test_plain_folders(tmp_path: Path) -> None:
    voc = make(tmp_path / "one", "Annotations/b.xml", "Annotations/a.xml", "JPEGImages/a.jpg",
               "Annotations/._a.xml", "Annotations/.DS_Store", "Annotations/notes.txt")  # fmt: skip
    (found,) = open_devkit(voc, Selection()).image_sets
    assert (list(found.ids), found.annotations, found.images) == (
        ["a", "b"],
        "Annotations",
        "JPEGImages",
    )
    side = make(tmp_path / "two", "a.xml", "a.jpg")
    (found,) = open_devkit(side, Selection()).image_sets
    assert (list(found.ids), found.annotations, found.images) == (["a"], ".", ".")
    other = make(tmp_path / "three", "labels/a.xml", "photos/a.jpg")
    devkit = open_devkit(other, Selection(images="photos", annotations="labels"))
    assert str(devkit.root) == str(other)
    assert [(s.annotations, s.images, list(s.ids)) for s in devkit.image_sets] == [
        ("labels", "photos", ["a"])
    ]
    elsewhere = open_devkit(voc, Selection(images=other / "photos", annotations=other / "labels"))
    assert str(elsewhere.root) == str(other / "photos")
    assert [(s.annotations, s.images) for s in elsewhere.image_sets] == [("../labels", ".")]


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ((), {}, "it is empty"),
        (("x/a", "y/b"), {}, "no VOC<year> folder, no Annotations folder"),
        (("VOCdevkit/VOC2007/x",), {}, "give the folder in it"),
        (("Annotations/a.xml",), {}, "JPEGImages: no such folder"),
        (("Annotations/a.txt", "JPEGImages/a"), {}, "has no annotations"),
        (("Annotations/a.xml", "JPEGImages/a"), {"set": "val"}, "there is no"),
        (("x/a",), {"images": "x", "annotations": "y"}, "annotations: no folder y"),
    ],
)
def test_a_folder_that_is_none_is_explained(
    tmp_path: Path, files: tuple[str, ...], options: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        open_devkit(make(tmp_path, *files), Selection(**options))
    with pytest.raises(DataError, match="no such folder"):
        open_devkit(tmp_path / "nowhere", Selection())


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\r\n\r\n b \r\n", ["a", "b"]),
        ("\ufeffa\nb", ["a", "b"]),
        ("a  1\nb -1\nc  0\n", ["a", "c"]),
        ("my photo\nmy photo 2  1\n", ["my photo", "my photo 2"]),
        ("holiday 1\n", ["holiday 1"]),  # names an annotation, so the 1 is no flag
        ("a\t1\n", ["a"]),
        ("a 2\n", ["a 2"]),
        ("# a comment\n#b 1\na\n", ["a"]),
        ("a.jpg 1\nb.JPG -1\nc.xml\nv1.2\n", ["a", "c", "v1.2"]),
        ("shot.jpg\n#7\n", ["shot.jpg", "#7"]),  # names annotations
        ("1\n0\n-1\n", ["1", "0", "-1"]),
    ],
)
def test_image_sets(tmp_path: Path, text: str, ids: list[str]) -> None:
    file = tmp_path / "trainval.txt"
    file.write_bytes(text.encode())
    for name in ("holiday 1.xml", "shot.jpg.xml", "#7.xml"):
        (tmp_path / name).touch()
    found = read_image_set(text_lines(file), lambda name: (tmp_path / name).exists())
    assert list(found) == ids


def told(problems: Sequence[recpack.Problem]) -> list[tuple[str, str, str]]:
    return [(one.code, one.severity, one.file) for one in problems]


OPTIONS: dict[str, Any] = {"shuffle": None, "jobs": 1, "classes": "auto", "overwrite": True}
PICTURES = [Picture(60 + number, 40, [(number, 1, 2, 30, 20)]) for number in range(3)]


def test_images_without_annotation(tmp_path: Path) -> None:
    root, rec = write_voc(tmp_path / "in", PICTURES), tmp_path / "a.rec"
    for name in ("001", "002"):
        (root / f"Annotations/{name}.xml").unlink()
    expected = [
        ("image-unannotated", "warning", f"JPEGImages/{name}.jpg") for name in ("001", "002")
    ]
    for options in ({}, {"negatives": "keep"}):
        found = recpack.convert(root, rec, **OPTIONS, **options)
        assert (told(found.problems), found.manifest.num_samples) == (expected, 1)
        assert found.manifest.problems == {"left out": {"image-unannotated": 2}}
    # the remedy: list them
    sets = root / "ImageSets/Main/trainval.txt"
    sets.parent.mkdir(parents=True)
    sets.write_text("000\n001\n002\n")
    found = recpack.convert(root, rec, **OPTIONS, negatives="keep")
    assert found.manifest.num_samples == 3
    # a list chooses images: the others may belong to other lists
    sets.write_text("000\n")
    assert recpack.convert(root, rec, **OPTIONS).problems == []


def test_images_that_their_annotations_name(tmp_path: Path) -> None:
    root, rec = write_voc(tmp_path / "in", PICTURES), tmp_path / "a.rec"
    for name in ("000", "001", "002"):
        path = root / f"Annotations/{name}.xml"
        (root / f"Annotations/x{name}.xml").write_text(
            path.read_text().replace("<filename>", f"<filename>{name}.jpg")
        )
        path.unlink()
    assert recpack.convert(root, rec, **OPTIONS).problems == []
    (root / "Annotations/x001.xml").unlink()
    (problem,) = recpack.convert(root, rec, **OPTIONS).problems
    assert (problem.code, problem.file) == ("image-unannotated", "JPEGImages")
    assert problem.value == "1 image"


def test_listed_images_without_annotation_are_background_where_asked_for(tmp_path: Path) -> None:
    root, rec = write_voc(tmp_path / "in", PICTURES), tmp_path / "a.rec"
    sets = root / "ImageSets/Main/trainval.txt"
    sets.parent.mkdir(parents=True)
    sets.write_text("000\n001\n002\n003\n")
    (root / "Annotations/001.xml").unlink()
    missing = [
        ("annotation-missing", "error", f"Annotations/{name}.xml") for name in ("001", "003")
    ]
    with pytest.raises(recpack.DataError, match="or use --negatives keep") as caught:
        recpack.convert(root, rec, **OPTIONS)
    assert told(caught.value.problems) == missing
    skipped = recpack.convert(root, rec, **OPTIONS, on_error="skip")
    assert (told(skipped.problems), skipped.manifest.num_samples) == (missing, 2)
    with pytest.raises(recpack.DataError) as caught:  # 003 has no image either
        recpack.convert(root, rec, **OPTIONS, negatives="keep")
    assert ("annotation-missing", "error", "Annotations/003.xml") in told(caught.value.problems)
    sets.write_text("000\n001\n002\n")
    kept = recpack.convert(root, rec, **OPTIONS, negatives="keep")
    assert told(kept.problems) == [("annotation-missing", "warning", "Annotations/001.xml")]
    with recpack.RecordReader(rec) as reader:
        assert [record.label[2] for record in reader] == [1, -1, 0]


BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
OBJECT = f"<object><name>a</name>{BOX}</object>"


@pytest.mark.parametrize(
    ("objects", "path", "count", "read"),
    [
        (f"<objects>{OBJECT * 2}</objects>", "annotation/objects/object[1]", 2, 0),
        (f"<a><b><c>{OBJECT}</c></b></a>{OBJECT}", "annotation/a/b/c/object", 1, 1),
        (f"{OBJECT}<objects>{OBJECT}</objects>", "annotation/objects/object", 1, 1),
        (
            f"<object><name>a</name>{BOX}<parts>{OBJECT}</parts></object>",
            "annotation/object/parts/object", 1, 1,
        ),
        (
            f"<object><name>a</name>{OBJECT}{BOX}</object>",
            "annotation/object/object", 1, 1,
        ),
        (f"<item><name>a</name>{BOX}</item>", "annotation/item/bndbox", 1, 0),
        (f"<objects>{OBJECT.replace('object>', 'Object>')}</objects>",
         "annotation/objects/Object/bndbox", 1, 0),
    ],
)  # fmt: skip
def test_objects_that_are_elsewhere(objects: str, path: str, count: int, read: int) -> None:
    found = parse_annotation(xml(9, 9, objects).encode())
    (defect,) = found.defects
    assert (defect.code, defect.field) == ("object-nested", path)
    assert defect.value.startswith(f"{count} element")
    assert len(found.names) == read


def test_classes_that_differ_in_their_normalisation(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "in", PICTURES)
    for number, name in enumerate(("caf\u00e9", "cafe\u0301")):
        path = root / f"Annotations/{number:03}.xml"
        path.write_text(path.read_text().replace(f"<name>{CLASSES[number]}<", f"<name>{name}<"))
    (problem,) = recpack.convert(root, tmp_path / "a.rec", **OPTIONS).problems
    assert (problem.code, problem.severity) == ("class-similar", "warning")


def test_classes_that_differ_in_case_or_white_space(tmp_path: Path) -> None:
    root, rec = write_voc(tmp_path / "in", PICTURES), tmp_path / "a.rec"
    for number, name in enumerate(("Traffic Light", "traffic  light", "AB")):
        path = root / f"Annotations/{number:03}.xml"
        text = path.read_text().replace(f"<name>{CLASSES[number]}<", f"<name> {name}\n<")
        path.write_text(text)
    (problem,) = recpack.convert(root, rec, **OPTIONS).problems
    assert (problem.code, problem.severity) == ("class-similar", "warning")
    assert problem.value == "'Traffic Light' (1 object), 'traffic  light' (1 object)"
    assert [one.code for one in recpack.check(root, classes="auto", jobs=1).problems] == [
        problem.code
    ]
    joined = recpack.convert(root, rec, **OPTIONS | {"classes": "AB,Traffic Light=traffic  light"})
    assert (joined.manifest.objects, joined.problems) == ({"AB": 1, "Traffic Light": 2}, [])
