from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpack.errors import AnnotationError, ConfigError, DataError
from recpack.sources.selection import Selection
from recpack.sources.voc.layout import Devkit, read_image_set
from recpack.sources.voc.layout import open_devkit as open_tree_devkit
from recpack.sources.voc.parse import parse_annotation
from recpack.storage.files import text_lines
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.open import open_tree
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
        ((), {}, "no VOC<year> folder, no Annotations folder"),
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
