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
        svg_picture(b"\xff\xd8", (40, 30), [Box(1, 2, 3, 4, BAD, (9, 9, 9))]),
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
        Box(5, 5, 9, 9, "small", (17, 17, 17)),
        Box(30, 20, 0, 0, "inverted", (34, 34, 34)),
        Box(0, 0, float("nan"), 1, "none", (51, 51, 51)),
        Box(0, 0, float("inf"), 1, "none", (51, 51, 51)),
        Box(0, 0, 20, 20, "", (68, 68, 68)),
    ]
    found = parsed(svg_picture(b"\x89PNG", (40, 30), boxes))
    drawn = [one.getAttribute("stroke") for one in found.getElementsByTagName("rect")]
    assert [one for one in drawn if one] == ["#222222", "#444444", "#111111"]
    names = [one.firstChild.data for one in found.getElementsByTagName("text")]  # type: ignore[union-attr]
    assert names == ["inverted", "small"]
    (image,) = found.getElementsByTagName("image")
    assert image.getAttribute("href") == "data:image/png;base64,iVBORw=="


def test_a_table_shows_numbers_as_people_read_them() -> None:
    markup = table([("a", 1234567), ("b", 0.5)], ["name", "number"])
    cells = [one.firstChild.data for one in parsed(markup).getElementsByTagName("td")]  # type: ignore[union-attr]
    assert cells == ["a", "1,234,567", "b", "0.5"]


def test_texts_are_cut_and_keep_no_secrets() -> None:
    assert len(text("x" * 5000)) == 200
    assert "hunter" not in text("https://me:hunter@host/x")
