"""HTML for notebooks and pages."""

from __future__ import annotations

import xml.dom.minidom

import pytest

from recpack.markup import (
    Box,
    figure,
    folded,
    section,
    side_by_side,
    svg_picture,
    table,
    text,
)

BAD = "<script>alert('x')</script>&\"\n\x1b[31m\u202eabc"


def parsed(markup: str) -> xml.dom.minidom.Document:
    """Markup that is well-formed XML too, so nothing in it broke out of its place."""
    return xml.dom.minidom.parseString(f"<body>{markup}</body>")


@pytest.mark.parametrize(
    "markup",
    [
        svg_picture(b"\xff\xd8", (40, 30), [Box(0.1, 0.2, 0.3, 0.4, BAD, (9, 9, 9))], BAD),
        table([(BAD, 1)], [BAD, "n"]),
        section(BAD, "<p>body</p>"),
        folded(BAD, "<p>body</p>"),
        side_by_side([figure("<i>picture</i>", BAD)]),
    ],
    ids=["picture", "table", "section", "folded", "side by side"],
)
def test_texts_of_strangers_are_texts(markup: str) -> None:
    assert not parsed(markup).getElementsByTagName("script")
    assert "\x1b" not in markup
    assert "\u202e" not in markup


def test_a_picture_has_its_boxes_the_small_ones_on_top() -> None:
    boxes = [
        Box(0.1, 0.1, 0.2, 0.2, "small", (17, 17, 17), 'data-c="3"'),
        Box(0.7, 0.7, 0, 0, "inverted", (34, 34, 34)),
        Box(0, 0, float("nan"), 1, "none", (51, 51, 51)),
        Box(0, 0, float("inf"), 1, "none", (51, 51, 51)),
        Box(0, 0, 0.5, 0.5, "", (68, 68, 68)),
        Box(-1e300, 0, 1e300, 1, "wide", (85, 85, 85)),
    ]
    found = parsed(svg_picture(b"\x89PNG", (400, 300), boxes))
    drawn = [one.getAttribute("stroke") for one in found.getElementsByTagName("rect")]
    assert [one for one in drawn if one] == ["#555555", "#222222", "#444444", "#111111"]
    names = [one.firstChild.data for one in found.getElementsByTagName("text")]  # type: ignore[union-attr]
    assert names == ["wide", "inverted", "small"]
    groups = found.getElementsByTagName("g")
    assert [one.getAttribute("data-c") for one in groups] == ["", "", "", "3"]
    assert "style=" not in found.toxml()  # a page can forbid it
    (image,) = found.getElementsByTagName("image")
    assert image.getAttribute("href") == "data:image/png;base64,iVBORw=="


def test_names_are_shown_where_there_is_room() -> None:
    boxes = [Box(0, 0, 0.5, 0.5, f"cat {number}", (9, 9, 9)) for number in range(400)]
    for count, shown in ((12, 12), (13, 0), (400, 0)):
        found = parsed(svg_picture(b"", (320, 240), boxes[:count]))
        assert len(found.getElementsByTagName("text")) == shown
        assert len(found.getElementsByTagName("title")) == min(count, 300)


def test_a_table_shows_numbers_as_people_read_them() -> None:
    markup = table([("a", 1234567), ("b", 0.5)], ["name", "number"])
    cells = [one.firstChild.data for one in parsed(markup).getElementsByTagName("td")]  # type: ignore[union-attr]
    assert cells == ["a", "1,234,567", "b", "0.5"]


def test_texts_are_cut_and_keep_no_secrets() -> None:
    assert len(text("x" * 5000)) == 200
    assert "hunter" not in text("https://me:hunter@host/x")
