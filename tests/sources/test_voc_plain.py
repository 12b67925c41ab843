"""The quick way through an annotation gives what the XML parser gives, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recpack.data.annotation import Annotation
from recpack.errors import AnnotationError
from recpack.sources.voc import parse_plain
from recpack.sources.voc.parse import parse_annotation
from recpack.sources.voc.parse_plain import read_plain
from recpack.sources.voc.parse_xml import parse_xml
from tests.support.devkits import box_xml, xml

PLAIN = xml(500, 375, box_xml("cat", (1, 2, 30.5, 40)), box_xml("dog", (5, 6, 70, 80)))


def by_xml(data: bytes) -> Annotation | None:
    try:
        return parse_xml(data)
    except AnnotationError:
        return None


def compare(data: bytes) -> bool:
    """Whether the quick way took it; if so, both ways must agree."""
    for forms in parse_plain._forms.values():
        # a full one would take few new sequences of tags
        if len(forms) >= parse_plain._MAX_FORMS:
            forms.clear()
    found = read_plain(data)
    assert found is None or found == by_xml(data)
    return found is not None


# ---- documents, plain ones with now and then something else strewn in


def mostly(plain: st.SearchStrategy[str], odd: Sequence[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 60).flatmap(lambda n: st.sampled_from(odd) if n == 60 else plain)


space = st.sampled_from(["", "", " ", "\n", "\n\t\t", "\r\n", "\t \n"])
text = mostly(
    st.text(st.sampled_from("abcXYZ019 _-.,:;!'\"/=%\n\t"), max_size=8),
    [
        "a&amp;b", "&#65;", "&lt;", "<![CDATA[x]]>", "<!-- c -->", "<?p i?>", "ä", "a\x0bb", "\x00",
        "]]>", "a>b", "a\rb", "\r\n", "<b/>", "<name>n</name>", "</object>", "&nothing;", "\x1c",
        "\x7f",
    ],
)  # fmt: skip
number = mostly(
    st.one_of(
        st.integers(-3, 600).map(str),
        st.floats(0, 600).map(lambda value: f"{value:.3f}"),
        st.sampled_from([" 7 ", "\n8\n", "5.", "007", "9" * 15, "-0", "1." + "3" * 15]),
    ),
    [
        "", ".5", "+5", "1e2", "1_0", "nan", "inf", "0x10", "--1", "-", "1 2", "9" * 16, "9" * 400,
        "1." + "3" * 30, "１", "1\x0b", "7\r",
    ],
)  # fmt: skip
flag = mostly(
    st.sampled_from(["0", "1", " 1 ", "\n0"]), ["", "2", "01", "true", "Unspecified", "1\r"]
)
tag = mostly(
    st.sampled_from(["pose", "truncated", "part", "attributes", "x.y-z_1", "names", "objects"]),
    [
        "name", "object", "bndbox", "difficult", "filename", "size", "width", "xmin", "annotation",
        "x:y", "9x", "x" * 70,
    ],
)  # fmt: skip
attribute = mostly(st.just(""), [' a="b"', " ", ' a="b" a="c"', " a=b"])


@st.composite
def element(draw: st.DrawFn, name: str, content: str) -> str:
    closing = draw(mostly(st.just(name), ["", name.upper(), name + " "]))
    if not content and draw(st.integers(0, 3)) == 0:
        return f"<{name}/>"
    return f"<{name}{draw(attribute)}>{content}</{closing}>" + draw(space)


@st.composite
def other(draw: st.DrawFn, depth: int = 3) -> str:
    inner = draw(text)
    if depth and draw(st.booleans()):
        inner += "".join(draw(st.lists(other(depth - 1), max_size=2))) + draw(text)
    return draw(element(draw(tag), inner or "x"))


@st.composite
def box(draw: st.DrawFn) -> str:
    edges = draw(st.permutations(["xmin", "ymin", "xmax", "ymax"]))
    if draw(st.integers(0, 40)) == 40:
        edges = draw(st.lists(st.sampled_from(edges), max_size=5))
    inner = "".join([draw(element(edge, draw(number))) for edge in edges])
    return draw(element("bndbox", draw(space) + inner))


@st.composite
def objects(draw: st.DrawFn) -> str:
    children = [draw(element("name", "cat" + draw(text))), draw(box())]
    children += draw(st.lists(element("difficult", draw(flag)), max_size=2))
    children += draw(st.lists(other(), max_size=2))
    if draw(st.integers(0, 20)) == 20:
        children.append(draw(st.one_of(box(), element("name", draw(text)))))
    return draw(
        element("object", draw(space) + "".join(draw(st.permutations(children))) + draw(space))
    )


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    sides = [draw(element(side, draw(number))) for side in ("width", "height", "depth")]
    size = "".join(draw(st.permutations(sides)))
    children = [
        draw(element("filename", draw(text))),
        draw(element("size", draw(space) + size)),
        *draw(st.lists(objects(), max_size=3)),
        *draw(st.lists(other(), max_size=3)),
    ]
    if draw(st.booleans()):
        children = draw(st.permutations(children))
    body = draw(space) + "".join(children)
    root = draw(mostly(st.just("annotation"), ["Annotation", "annotations"]))
    opening = root + draw(
        mostly(st.sampled_from(["", ' verified="yes"', " verified='no'"]), [' a="b"', " "])
    )
    declaration = draw(
        mostly(
            st.sampled_from([
                "", '<?xml version="1.0"?>', "<?xml version='1.0' encoding='UTF-8'?>\n", "\n",
                '<?xml version="1.0" encoding="utf-8" ?>\r\n',
            ]),
            [
                ' <?xml version="1.0"?>', "\ufeff", "<!-- c -->", '<?xml version="1.1"?>', "x",
                '<?xml version="1.0" encoding="utf-16"?>', "<!DOCTYPE annotation []>",
                '<?xml version="1.0" standalone="yes"?>', "<?xml version=\"1.0'?>",
                '<?xml version="1.0"encoding="utf-8"?>',
            ],
        )
    )  # fmt: skip
    end = draw(
        mostly(
            st.sampled_from(["", "\n", " \r\n"]), ["x", "<a/>", "<!-- c -->", "\x00", "\x0b", "\f"]
        )
    )
    return f"{declaration}<{opening}>{body}</{root}>{end}".encode()


@given(documents())
@example(PLAIN.encode())
def test_it_agrees_with_the_xml_parser_on_all_that_it_takes(data: bytes) -> None:
    compare(data)


@given(st.data())
def test_it_agrees_on_plain_annotations_with_a_byte_wrong(data: st.DataObject) -> None:
    document = bytearray(PLAIN.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(document) - 1))
        byte = data.draw(st.one_of(st.sampled_from(b"<>/&\r\n\0 \"'=-.x9_"), st.integers(0, 255)))
        change = data.draw(st.sampled_from(["replace", "insert", "remove"]))
        if change == "replace":
            document[at] = byte
        elif change == "insert":
            document.insert(at, byte)
        elif len(document) > 1:
            del document[at]
    compare(bytes(document))


def test_no_beginning_of_a_file_passes_for_the_whole() -> None:
    whole = PLAIN.encode().rstrip()
    assert compare(whole)
    for length in range(len(whole)):
        assert not compare(whole[:length])


FULL = """<?xml version="1.0" encoding="UTF-8"?>
<annotation verified="yes">
  <folder>VOC2012</folder><filename>a b.jpg</filename>
  <source><database>d</database><owner><flickrid>f</flickrid><name>?</name></owner></source>
  <object>
    <name>person</name><pose>Left</pose><truncated>1</truncated><occluded>0</occluded>
    <bndbox><xmax>40</xmax><xmin>-1</xmin><ymax>50.25</ymax><ymin> 2 </ymin></bndbox>
    <difficult>1</difficult>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin></bndbox></part>
    <attributes><attribute><name>colour</name><value>red</value></attribute></attributes>
  </object>
  <object><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>
    <name>dog</name></object>
  <segmented>0</segmented>
  <size><width>500</width><height>375</height><depth>3</depth></size>
</annotation>
"""


ATTRIBUTES = (
    "<attributes><attribute><name>rotation</name><value>0.0</value></attribute>"
    "<attribute><name>colour</name><value>red</value></attribute></attributes></object>"
)
STYLES = [
    text.encode()
    for text in (
        PLAIN,
        FULL,
        FULL.replace("\n", "\r\n"),
        PLAIN.replace("</object>", ATTRIBUTES),
        PLAIN.replace("</object>", ATTRIBUTES, 1),
        PLAIN.replace("<difficult>0</difficult>", "", 1),
        PLAIN.replace("><", ">\n\t<"),
        xml(9, 9),
        "<annotation verified='no'><segmented>0</segmented></annotation>",
    )
]


def test_layouts_alternate() -> None:
    for _ in range(3):
        for document in STYLES:
            assert compare(document)


@given(st.sampled_from(STYLES), st.sampled_from(STYLES), st.data())
def test_it_agrees_on_two_annotations_cut_and_joined(
    first: bytes, second: bytes, data: st.DataObject
) -> None:
    assert compare(first)
    assert compare(second)
    head = first[: data.draw(st.integers(0, len(first)))]
    compare(head + second[data.draw(st.integers(0, len(second))) :])


def test_what_it_learns_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    forms: dict[str, list[Any]] = {part: [] for part in parse_plain._forms}
    monkeypatch.setattr(parse_plain, "_forms", forms)
    monkeypatch.setattr(parse_plain, "_refusals", count(1))
    most = parse_plain._MAX_FORMS
    taken = []
    for number in range(3 * most):
        text = PLAIN.replace("<object>", f"<object><a{number}></a{number}>")
        found = read_plain(text.encode())
        assert found is None or found == parse_xml(text.encode())
        taken.append(found is not None)
    assert taken[:most] == [True] * most
    assert sum(taken[most:]) == 2
    assert len(forms["object"]) == most
    # a data set read later is not shut out
    assert any(read_plain(PLAIN.encode()) for _ in range(most))
    long = PLAIN.replace("<folder>", "<a></a>" * 101 + "<folder>")
    assert not compare(long.encode())


@pytest.mark.parametrize("text", [PLAIN, FULL, FULL.replace("\n", "\r\n"), xml(9, 9)])
def test_it_takes_what_the_devkits_and_labelling_tools_write(text: str) -> None:
    assert compare(text.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cat", "c&amp;t"),
        ("cat", "<![CDATA[cat]]>"),
        ("cat", "<!-- a -->cat"),
        ("cat", "kätzchen"),
        ("<name>cat", '<name lang="en">cat'),
        ("<object>", "<object><bndbox/>"),
        ("<xmin>1</xmin>", "<xmin>1e0</xmin>"),
        ("</annotation>", "<a>" * 17 + "</a>" * 17 + "</annotation>"),
        ("</object>", "<name>dog</name></object>"),
        ("</object>", "<bndbox></bndbox></object>"),
        ("</bndbox>", "<angle>90</angle></bndbox>"),
        ("</bndbox>", "<xmin>1</xmin></bndbox>"),
        ("<object>", "<object><object>"),
        ("<object>", "<a>1</a><object>1</object><object>"),
        ("<name>cat</name>", "<name<cat>/name>"),
        ("cat", "c>a>t"),
        ("cat", "c<>t"),
        ("cat", ""),
        ("cat", "c\rt"),
        ("</name>", "</name >"),
        ("</name>", "</name></>"),
        ("</object>", "</object></object>"),
        ("</object>", "</object>]]>"),
        ("</annotation>", "</annotation></annotation>"),
        ("</annotation>", "</annotation>x"),
        ("<annotation>", "<annotation><annotation>"),
        ("<annotation>", "<annotation a='b'>"),
        ("<annotation>", "<?xml version='1.1'?><annotation>"),
        ("<annotation>", " <?xml version='1.0'?><annotation>"),
        ("<xmin>1</xmin>", "<xmin>1_0</xmin>"),
        ("<xmin>1</xmin>", "<xmin>nan</xmin>"),
        ("<xmin>1</xmin>", "<xmin>+5</xmin>"),
        ("<xmin>1</xmin>", "<xmin></xmin>"),
        ("<xmin>1</xmin>", "<xmin>١</xmin>"),
        ("<xmin>1</xmin>", f"<xmin>{'9' * 400}</xmin>"),
        ("<difficult>0", "<difficult>2"),
        ("<difficult>0", "<difficult>"),
    ],
)
def test_what_it_leaves_to_the_xml_parser(old: str, new: str) -> None:
    text = PLAIN.replace(old, new, 1)
    assert text != PLAIN
    assert compare(PLAIN.encode())
    assert not compare(text.encode())
    if (expected := by_xml(text.encode())) is not None:
        assert parse_annotation(text.encode()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<annotation>" + "<a>" * 100_000,
        "<annotation>" + "<a><b><c>" * 50_000,
        "<annotation>" + "<a></a>" * 100_000 + "<object>",
        "<annotation><filename>" + "x" * 900_000,
        "<annotation>" + "<object><name>n</name>" * 40_000,
        "<annotation><a>" + "<b><c>1</c></b>" * 50_000,
        "<annotation><object>" + "<attributes>" * 50_000,
        "<annotation><object>" + "<attributes>rotation</attributes>" * 20_000,
        "<annotation><size>" + "<width>1</width>" * 50_000,
        " " * 1_000_000,
    ],
)
def test_hostile_files_take_no_longer_than_their_length(text: str) -> None:
    # the test fails by never ending: quadratic time would be hours
    assert not compare(text.encode())


@pytest.mark.parametrize(
    ("name", "value", "plain", "rotated"),
    [
        ("rotation", "0.0", True, False),
        ("rotation", "0", True, False),
        ("rotation", "", False, False),
        ("rotation", "-0.000", True, False),
        ("rotation", "180.0", False, False),
        ("rotation", "90.0", False, True),
        ("rotation", "0.01", False, True),
        (" rotation\n", "12", False, True),
        ("rotation", "nan", False, False),
        ("occluded", "90.0", True, False),
        ("rotation", "0</value><value>90", False, False),
        ("a</name><name>rotation", "90", False, False),
        ("rotation</name><a>1</a><name>b", "90", False, True),
    ],
)
def test_rotations_of_cvat(name: str, value: str, plain: bool, rotated: bool) -> None:
    attribute = f"<attribute>\n  <name>{name}</name>\n  <value>{value}</value>\n</attribute>"
    text = PLAIN.replace("</object>", f"<attributes>{attribute}</attributes></object>", 1)
    assert compare(text.encode()) == plain
    found = parse_annotation(text.encode())
    assert [(one.code, one.object) for one in found.defects] == [("box-rotated", 1)] * rotated
    assert found.objects == ([2] if rotated else [1, 2])
