"""Pascal VOC as it comes: every row of the table of awkward input, on real bytes.

Each case puts one odd sample beside a clean one and says which problems are reported, what the
record holds then, and, with MXNet, that its reader decodes the image to the right shape.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from PIL import Image

import recpack
from recpack.data.samples import Treatment
from recpack.formats.image_codec import can_decode_gif, decode
from tests.cli.test_cli import run
from tests.conftest import Oracle
from tests.pipeline.test_convert import pack
from tests.support.devkits import box_xml, jpeg, xml

CAT = box_xml("cat", (6, 4, 30, 20))
TALL = box_xml("cat", (6, 4, 30, 57))
WIDE = box_xml("cat", (6, 4, 57, 20))
TURNED = [("image-turned", "error"), ("box-outside", "clipped")]
ROW = [7, 0.1, 0.1, 0.5, 0.5]
PLAIN = xml(60, 40, CAT)


def pixels(channels: int = 3, dtype: type = np.uint8) -> Any:
    shape = (40, 60, channels) if channels > 1 else (40, 60)
    return np.random.RandomState(3).randint(0, np.iinfo(dtype).max, shape).astype(dtype)


def encoded(extension: str, array: Any) -> bytes:
    done, data = cv2.imencode(extension, array)
    assert done
    return bytes(data)


def pillow(mode: str, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels()[..., ::-1]).convert(mode).save(data, kind, **options)
    return data.getvalue()


def exif(orientation: int, size: tuple[int, int] = (60, 40)) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = "x" * 9000  # the frame lies far behind
    data = io.BytesIO()
    Image.fromarray(pixels()[..., ::-1]).resize(size).save(data, "JPEG", exif=tags)
    return data.getvalue()


def upside_down() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = 3
    return tags


def turned_right() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = 6
    return tags


def thumbnail_then_cut() -> bytes:
    """Cut in its pixels, but the thumbnail in its Exif block has an end marker of its own."""
    whole = jpeg()
    block = b"Exif\0\0" + jpeg(16, 16)
    segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    return (whole[:2] + segment + whole[2:])[:-200]


@dataclass(frozen=True)
class Case:
    """``annotation`` and ``image`` of the odd sample (None: missing); ``rows`` None: no record."""

    annotation: str | bytes | None = PLAIN
    image: bytes | None = field(default_factory=jpeg)
    name: str = "odd.jpg"
    options: dict[str, Any] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    rows: list[list[float]] | None = field(default_factory=lambda: [ROW])
    shape: tuple[int, int] = (40, 60)
    more: Callable[[Path], object] = bool


def entity(text: str) -> str:
    return f"<!DOCTYPE annotation [{text}]>{PLAIN}"


BOMB = '<!ENTITY a "lol">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
)

ROTATED = (
    "<attributes><attribute><name>occluded</name><value>False</value></attribute><attribute>"
    "<name>rotation</name><value>{}</value></attribute></attributes></object>"
)

CASES: dict[str, Case] = {
    "float coordinates": Case(
        xml(60, 40, box_xml("cat", ("6.000000001", "4.0", "30.0", "2e1")))
    ),
    "part boxes do not count": Case(
        PLAIN.replace(
            "</object>",
            "<part><name>head</name><bndbox><xmin>7</xmin><ymin>5</ymin><xmax>9</xmax>"
            "<ymax>9</ymax></bndbox></part></object>",
        )
    ),
    "several boxes in one object": Case(
        PLAIN.replace(
            "</object>",
            "<bndbox><xmin>0</xmin><ymin>0</ymin><xmax>60</xmax><ymax>40</ymax></bndbox></object>",
        ),
        rows=[ROW, [7, 0, 0, 1, 1]],
    ),
    "nested attributes": Case(
        PLAIN.replace(
            "<object>",
            "<object><attributes><attribute><name>colour</name></attribute></attributes>",
        )
    ),
    "a rotated box": Case(
        PLAIN.replace("</object>", ROTATED.format("90.0")),
        problems=[("box-rotated", "error")], rows=None,
    ),
    "a box rotated by nothing": Case(PLAIN.replace("</object>", ROTATED.format("0.0"))),
    "an attribute that is no angle": Case(PLAIN.replace("</object>", ROTATED.format("left"))),
    "missing flags": Case(xml(60, 40, box_xml("cat", (6, 4, 30, 20), None))),
    "a flag as text": Case(
        xml(60, 40, box_xml("cat", (6, 4, 30, 20), "Unspecified")),
        problems=[("flag-text", "kept")],
    ),
    "a flag as text, strict": Case(
        xml(60, 40, box_xml("cat", (6, 4, 30, 20), "Unspecified")),
        options={"strict": True}, problems=[("flag-text", "error")], rows=None,
    ),
    "no size": Case(
        PLAIN.replace("<width>60</width><height>40</height>", ""),
        problems=[("size-missing", "kept")],
    ),
    "size 0 x 0": Case(xml(0, 0, CAT), problems=[("size-missing", "kept")]),
    "size is text": Case(xml("wide", "high", CAT), problems=[("size-missing", "kept")]),
    "size differs": Case(xml(64, 48, CAT), problems=[("size-mismatch", "kept")]),
    "boxes fit only the size": Case(
        xml(600, 400, box_xml("cat", (60, 40, 300, 200))),
        problems=[("size-rescale", "error")], rows=None,
    ),
    "boxes fit only the size, rescaled": Case(
        xml(600, 400, box_xml("cat", (60, 40, 300, 200))),
        options={"size_mismatch": "rescale"}, problems=[("size-rescale", "rescaled")],
    ),
    "a size off by one": Case(
        xml(61, 41, box_xml("cat", (6, 4, 61, 41))),
        problems=[("size-mismatch", "kept"), ("box-outside", "clipped")],
        rows=[[7, 0.1, 0.1, 1, 1]],
    ),
    "zero-based": Case(xml(60, 40, box_xml("cat", (0, 0, 30, 20))), rows=[[7, 0, 0, 0.5, 0.5]]),
    "one-based": Case(
        xml(60, 40, box_xml("cat", (1, 1, 30, 20))), options={"one_based": True},
        rows=[[7, 0, 0, 0.5, 0.5]],
    ),
    "partly outside": Case(
        xml(60, 40, box_xml("cat", (-3, 4, 70, 20))),
        problems=[("box-outside", "clipped")], rows=[[7, 0, 0.1, 1, 0.5]],
    ),
    "partly outside, dropped": Case(
        xml(60, 40, CAT, box_xml("cat", (-3, 4, 70, 20))), options={"box_policy": "drop"},
        problems=[("box-outside", "dropped box")],
    ),
    "partly outside, an error": Case(
        xml(60, 40, box_xml("cat", (-3, 4, 70, 20))), options={"box_policy": "error"},
        problems=[("box-outside", "error")], rows=None,
    ),
    "wholly outside": Case(
        xml(60, 40, CAT, box_xml("cat", (60, 4, 70, 20))),
        problems=[("box-off-image", "dropped box")],
    ),
    "zero area": Case(
        xml(60, 40, CAT, box_xml("cat", (6, 4, 6, 20))), problems=[("box-empty", "dropped box")]
    ),
    "zero area, an error": Case(
        xml(60, 40, CAT, box_xml("cat", (6, 4, 6, 20))), options={"box_policy": "error"},
        problems=[("box-empty", "error")], rows=None,
    ),
    "inverted": Case(
        xml(60, 40, box_xml("cat", (30, 20, 6, 4))), problems=[("box-inverted", "swapped")]
    ),
    "inverted, dropped, so nothing is left": Case(
        xml(60, 40, box_xml("cat", (30, 20, 6, 4))), options={"box_policy": "drop"},
        problems=[("box-inverted", "dropped box"), ("no-objects", "dropped image")], rows=None,
    ),
    "a wrong filename": Case(
        xml(60, 40, CAT, filename="/home/me/photo.png"), problems=[("filename-differs", "kept")]
    ),
    "only the filename finds it": Case(xml(60, 40, CAT, filename="other.jpg"), name="other.jpg"),
    "an extension in capitals": Case(name="odd.JPG"),
    "a stem in another case": Case(name="Odd.jpeg"),
    "one stem, two images": Case(
        more=lambda folder: (folder / "JPEGImages" / "odd.png").write_bytes(b""),
        problems=[("image-ambiguous", "error")], rows=None,
    ),
    "a PNG by the name of JPEG": Case(
        image=encoded(".png", pixels()), problems=[("extension-wrong", "kept")]
    ),
    "BMP": Case(
        image=encoded(".bmp", pixels()), name="odd.bmp",
        problems=[("image-converted", "re-encoded")],
    ),
    "WebP, lossy": Case(
        image=pillow("RGB", "WEBP", quality=80), name="odd.webp",
        problems=[("image-converted", "re-encoded")],
    ),
    "WebP, lossless with alpha": Case(
        image=pillow("RGBA", "WEBP", lossless=True), name="odd.webp",
        problems=[("image-converted", "re-encoded")],
    ),
    "GIF": Case(
        image=pillow("P", "GIF"), name="odd.gif",
        problems=[("image-converted", "re-encoded")] if can_decode_gif() else
        [("image-unsupported", "error"), ("image-converted", "re-encoded")],
        rows=[ROW] if can_decode_gif() else None,
    ),
    "TIFF": Case(
        image=encoded(".tiff", pixels()), name="odd.tif",
        problems=[("image-converted", "re-encoded")],
    ),
    "CMYK": Case(image=pillow("CMYK", "JPEG"), problems=[("image-converted", "re-encoded")]),
    "gray": Case(image=encoded(".jpg", pixels(1)), problems=[("image-converted", "re-encoded")]),
    "RGBA": Case(
        image=encoded(".png", pixels(4)), name="odd.png",
        problems=[("image-converted", "re-encoded")],
    ),
    "palette PNG": Case(
        image=pillow("P", "PNG"), name="odd.png", problems=[("image-converted", "re-encoded")]
    ),
    "16-bit PNG": Case(
        image=encoded(".png", pixels(3, np.uint16)), name="odd.png",
        problems=[("image-converted", "re-encoded")],
    ),
    "progressive JPEG": Case(image=pillow("RGB", "JPEG", progressive=True)),
    "EXIF 1": Case(image=exif(1)),
    "EXIF 3": Case(image=exif(3), problems=[("image-rotated", "re-encoded")]),
    "EXIF 6, the boxes describe the upright image": Case(
        image=exif(6, (40, 60)), problems=[("image-rotated", "re-encoded")]
    ),
    "EXIF 6, the boxes describe the image as stored": Case(
        image=exif(6), problems=[("image-rotated", "re-encoded")]
    ),
    "EXIF 8 without a size": Case(
        xml(0, 0, CAT), image=exif(8, (40, 60)),
        problems=[("image-rotated", "re-encoded"), ("size-missing", "kept")],
    ),
    "EXIF 6, boxes of the upright image and the size as stored": Case(
        xml(60, 40, TALL), image=exif(6), problems=[("image-rotated", "re-encoded"), *TURNED],
        rows=None,
    ),
    "EXIF 6, boxes as stored and the size of the upright image": Case(
        xml(40, 60, WIDE), image=exif(6), problems=[("image-rotated", "re-encoded"), *TURNED],
        rows=None,
    ),
    "EXIF 6, boxes as stored and no size": Case(
        xml(0, 0, WIDE), image=exif(6), problems=[("image-rotated", "re-encoded"), *TURNED],
        rows=None,
    ),
    "turned after annotation": Case(
        xml(40, 60, TALL), options={"size_mismatch": "rescale"}, problems=TURNED, rows=None
    ),
    "turned after annotation, or size swapped": Case(
        xml(40, 60, CAT), problems=[("image-turned", "kept")]
    ),
    "size swapped": Case(
        xml(40, 60, WIDE), problems=[("size-mismatch", "kept")], rows=[[7, 0.1, 0.1, 57 / 60, 0.5]]
    ),
    "WebP with EXIF": Case(
        xml(40, 60, CAT), image=pillow("RGB", "WEBP", exif=turned_right()), name="odd.webp",
        problems=[("image-rotated", "re-encoded")], rows=[[7, 6 / 40, 4 / 60, 30 / 40, 20 / 60]],
        shape=(60, 40),
    ),
    "an angle in the box": Case(
        PLAIN.replace("</bndbox>", "<angle>0.7</angle></bndbox>"),
        problems=[("box-rotated", "error")], rows=None,
    ),
    "a rotated box of roLabelImg": Case(
        PLAIN.replace("</bndbox>", "<angle>.5</angle></bndbox>").replace("bndbox>", "robndbox>"),
        problems=[("box-rotated", "error")], rows=None,
    ),
    "PNG with EXIF": Case(
        image=pillow("RGB", "PNG", exif=upside_down()),
        name="odd.png", problems=[("image-rotated", "re-encoded")],
    ),
    "unknown class": Case(
        xml(60, 40, CAT, box_xml("Cat", (1, 1, 9, 9))),
        problems=[("class-unknown", "error")], rows=None,
    ),
    "unknown class, skipped": Case(
        xml(60, 40, CAT, box_xml("Cat", (1, 1, 9, 9))), options={"unknown_class": "skip"},
        problems=[("class-unknown", "dropped box")],
    ),
    "unknown class, an alias": Case(
        xml(60, 40, box_xml("Cat", (6, 4, 30, 20))),
        options={"classes": "a,b,c,d,e,f,g,cat=Cat=kitty"},
    ),
    "class names are stripped": Case(xml(60, 40, box_xml("\n cat\t", (6, 4, 30, 20)))),
    "no objects": Case(xml(60, 40), problems=[("no-objects", "dropped image")], rows=None),
    "no objects, kept": Case(xml(60, 40), options={"negatives": "keep"}, rows=[[-1] * 5]),
    "no objects, an error": Case(
        xml(60, 40), options={"negatives": "error"}, problems=[("no-objects", "error")], rows=None
    ),
    "missing image": Case(image=None, problems=[("image-missing", "error")], rows=None),
    "missing annotation": Case(None, problems=[("annotation-missing", "error")], rows=None),
    "truncated JPEG": Case(
        image=jpeg()[:-50], problems=[("image-truncated", "error")], rows=None
    ),
    "truncated JPEG with a thumbnail": Case(
        image=thumbnail_then_cut(), problems=[("image-truncated", "error")], rows=None
    ),
    "JPEG cut in its header": Case(
        image=jpeg()[:100], problems=[("image-truncated", "error")], rows=None
    ),
    "bytes behind the end": Case(image=jpeg() + b"\0" * 1000),
    "truncated PNG": Case(
        image=encoded(".png", pixels())[:-30], name="odd.png",
        problems=[("image-truncated", "error")], rows=None,
    ),
    "a PNG with a flipped byte": Case(
        image=encoded(".png", pixels())[:-40] + b"?" + encoded(".png", pixels())[-39:],
        name="odd.png", problems=[("image-corrupt", "error")], rows=None,
    ),
    "an empty image": Case(image=b"", problems=[("image-unknown", "error")], rows=None),
    "a text by the name of image": Case(
        image=b"<html>404</html>", problems=[("image-unknown", "error")], rows=None
    ),
    "60,000 x 60,000 pixels": Case(
        image=jpeg().replace(b"\0\x28\0\x3c", b"\xea\x60\xea\x60", 1),
        problems=[("image-too-large", "error")], rows=None,
    ),
    "malformed XML": Case(
        PLAIN[:-20], problems=[("annotation-malformed", "error")], rows=None
    ),
    "a coordinate that is no number": Case(
        xml(60, 40, CAT, box_xml("cat", ("six", 4, 30, 20))),
        problems=[("number-bad", "error")], rows=None,
    ),
    "UTF-8 with a mark": Case(b"\xef\xbb\xbf" + PLAIN.encode()),
    "UTF-16": Case(('<?xml version="1.0" encoding="UTF-16"?>' + PLAIN).encode("utf-16")),
    "declared gb2312": Case(
        ('<?xml version="1.0" encoding="gb2312"?>' + xml(60, 40, box_xml("猫", (6, 4, 30, 20))))
        .encode("gb2312"),
        options={"classes": "a,b,c,d,e,f,g,cat=猫"},
    ),
    "declared gb2312, written in its superset": Case(
        ('<?xml version="1.0" encoding="GB2312"?>' + xml(60, 40, box_xml("貓鎔", (6, 4, 30, 20))))
        .encode("gb18030"),
        options={"classes": "a,b,c,d,e,f,g,cat=貓鎔"},
    ),
    "an entity": Case(
        entity('<!ENTITY x "cat">'), problems=[("annotation-dtd", "error")], rows=None
    ),
    "an entity bomb": Case(
        f"<!DOCTYPE annotation [{BOMB}]>" + PLAIN.replace("cat", "&j;"),
        problems=[("annotation-dtd", "error")], rows=None,
    ),
    "an external entity": Case(
        entity('<!ENTITY x SYSTEM "file:///etc/passwd">').replace("cat", "&x;"),
        problems=[("annotation-dtd", "error")], rows=None,
    ),
    "10 million objects": Case(
        b"<annotation>" + b"<object/>" * 10_000_000,
        problems=[("annotation-too-large", "error")], rows=None,
    ),
    "files of the desktop": Case(
        more=lambda folder: [
            (folder / place / name).write_bytes(b"\0\5")
            for place in ("Annotations", "JPEGImages")
            for name in ("._odd.xml", "._odd.jpg", ".DS_Store")
        ]
    ),
    "100 objects": Case(
        xml(60, 40, *[CAT] * 100), rows=[ROW] * 100, problems=[("object-repeated", "kept")] * 99
    ),
    "a link out of the data set": Case(
        image=None,
        more=lambda folder: (folder / "JPEGImages" / "odd.jpg").symlink_to("/etc/hostname"),
        problems=[("path-unsafe", "error")], rows=None,
    ),
    "a link within the data set": Case(
        image=None,
        more=lambda folder: (folder / "JPEGImages" / "odd.jpg").symlink_to("clean.jpg"),
    ),
    "a filename that leaves": Case(
        xml(60, 40, CAT, filename="../../secret.jpg"), image=None,
        problems=[("path-unsafe", "error")], rows=None,
    ),
}  # fmt: skip


def lay_out(root: Path, case: Case) -> Path:
    for name in ("Annotations", "JPEGImages"):
        (root / name).mkdir(parents=True)
    (root / "Annotations" / "clean.xml").write_text(PLAIN)
    (root / "JPEGImages" / "clean.jpg").write_bytes(jpeg(60, 40, 1))
    if case.annotation is not None:
        data = case.annotation
        odd = root / "Annotations" / "odd.xml"
        odd.write_bytes(data if isinstance(data, bytes) else data.encode())
    else:
        listed = root / "ImageSets" / "Main" / "trainval.txt"
        listed.parent.mkdir(parents=True)
        listed.write_text("clean\nodd\n")
    if case.image is not None:
        (root / "JPEGImages" / case.name).write_bytes(case.image)
    case.more(root)
    return root


class Outcome(NamedTuple):
    code: int
    complaint: str


def convert_by_command(devkit: Path, output: Path, options: dict[str, Any]) -> Outcome:
    """The same options on the command line, as a user types them."""
    words: list[str] = []
    for name, value in options.items():
        words.append("--" + name.replace("_", "-"))
        words += [] if value is True else [str(value)]
    complaint = io.StringIO()
    with contextlib.redirect_stderr(complaint):
        code = run("convert", devkit, output, "--no-shuffle", "--jobs", "1", *words)
    return Outcome(code, complaint.getvalue())


def noted(problems: list[recpack.Problem]) -> list[tuple[str, str]]:
    assert all(problem.file == "Annotations/odd.xml" for problem in problems)
    return [(problem.code, problem.action) for problem in problems]


@pytest.mark.parametrize("name", CASES)
def test_a_row_of_the_table(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    case = CASES[name]
    devkit = lay_out(tmp_path / "d", case)
    if any(action == "error" for _, action in case.problems):
        with pytest.raises(recpack.DataError) as caught:
            pack(devkit, **case.options)
        assert noted(caught.value.problems) == case.problems
        assert "Annotations/odd.xml" in str(caught.value)
        refused = convert_by_command(devkit, tmp_path / "out" / "a.rec", case.options)
        assert (refused.code, list((tmp_path / "out").iterdir())) == (1, [])
        assert "Annotations/odd.xml" in refused.complaint
        assert "Traceback" not in refused.complaint
        result, records = pack(devkit, **case.options | {"on_error": "skip"})
        assert [(p.code, p.action) for p in result.problems if p.severity == "error"] == [
            (code, "dropped image") for code, action in case.problems if action == "error"
        ]
    else:
        result, records = pack(devkit, **case.options)
        assert noted(result.problems) == case.problems
    assert [record.id for record in records] == list(range(len(records)))
    clean = [7, 5 / 60, 3 / 40, 0.5, 0.5] if case.options.get("one_based") else ROW
    np.testing.assert_allclose(records[0].boxes, np.array([clean], np.float32), rtol=1e-6)
    assert records[0].image_bytes == jpeg(60, 40, 1)
    assert len(records) == (1 if case.rows is None else 2)
    if case.rows is None:
        return
    odd = records[1]
    np.testing.assert_allclose(odd.boxes, np.array(case.rows, np.float32), rtol=1e-6)
    assert odd.label.tolist()[:2] == [2, 5]
    if not any(action == "re-encoded" for _, action in case.problems):
        assert odd.image_bytes == (case.image or jpeg(60, 40, 1))
    else:
        decoded = Image.open(io.BytesIO(odd.image_bytes))
        assert (decoded.mode, decoded.format) == ("RGB", "JPEG")
        assert decoded.getexif().get(0x0112, 1) == 1
    oracle: Oracle = request.getfixturevalue("oracle")
    shapes = oracle("pixels", devkit / "memory.rec", devkit / "memory.idx")
    assert [shape for shape, _ in shapes] == [[40, 60, 3], [*case.shape, 3]]
    if case.rows[0][0] >= 0:  # an image without objects is nothing for this reader
        labels = oracle("det_iter", devkit / "memory.rec", devkit / "memory.idx")
        assert [row for row in labels[1] if row[0] >= 0] == odd.boxes.tolist()


def test_reencoded_pixels_are_those_that_the_boxes_describe(tmp_path: Path) -> None:
    """EXIF 6 turns the stored image by 90 degrees; <size> says which one was annotated."""
    stored = exif(6)
    upright = decode(stored)
    raw = decode(stored, Treatment.AS_STORED)
    assert upright.shape == (60, 40, 3)
    for size, expected in (((40, 60), upright), ((60, 40), raw)):
        case = Case(xml(*size, box_xml("cat", (4, 4, 30, 30))), image=stored)
        _, records = pack(lay_out(tmp_path / str(size), case), quality=100)
        found = decode(records[1].image_bytes)
        assert found.shape == expected.shape
        difference = np.abs(found.astype(int) - expected.astype(int)).mean()
        assert difference < 12


def test_an_image_that_decodes_no_better_than_it_looks(tmp_path: Path) -> None:
    """Only decoding shows it: found while packing, and still nothing is published."""
    broken = encoded(".bmp", pixels())[:54] + b"\0" * 10
    devkit = lay_out(tmp_path / "d", Case(image=broken, name="odd.bmp"))
    with pytest.raises(recpack.DataError, match="1 file: the image can't be decoded"):
        recpack.convert(devkit, tmp_path / "out" / "a.rec")
    assert list((tmp_path / "out").iterdir()) == []
    result = recpack.convert(devkit, tmp_path / "out" / "a.rec", on_error="skip")
    assert result.manifest.num_samples == 1
    assert result.manifest.problems["dropped image"] == {"image-corrupt": 1}
    quarantined = (tmp_path / "out" / "a.quarantine.tsv").read_text().split("\t")
    assert quarantined[:2] == ["JPEGImages/odd.bmp", "image-corrupt"]


def test_the_quarantine_list(tmp_path: Path) -> None:
    devkit = lay_out(tmp_path / "d", Case(xml(60, 40, box_xml("cat", ("si\tx", 4, 30, 20)))))
    recpack.convert(devkit, tmp_path / "a.rec", on_error="skip")
    assert (tmp_path / "a.quarantine.tsv").read_text() == (
        "Annotations/odd.xml\tnumber-bad\t1\tbndbox/xmin\tsi x\n"
    )
    (devkit / "Annotations" / "odd.xml").write_text(PLAIN)
    recpack.convert(devkit, tmp_path / "a.rec", on_error="skip", overwrite=True)
    assert not (tmp_path / "a.quarantine.tsv").exists()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("../odd", "path-unsafe"),
        ("/etc/passwd", "path-unsafe"),
        ("a/../../odd", "path-unsafe"),
        ("nothing", "annotation-missing"),
        ("x" * 300, "annotation-unreadable"),
        ("pipe", "annotation-unreadable"),
    ],
)
def test_image_sets_from_strangers(tmp_path: Path, line: str, code: str) -> None:
    devkit = lay_out(tmp_path / "d", Case(None))
    os.mkfifo(devkit / "Annotations" / "pipe.xml")
    (devkit / "ImageSets" / "Main" / "trainval.txt").write_text(f"clean\n{line}\n")
    with pytest.raises(recpack.DataError) as caught:
        pack(devkit)
    assert [problem.code for problem in caught.value.problems] == [code]


def test_a_name_of_no_encoding(tmp_path: Path) -> None:
    devkit = lay_out(tmp_path / "d", Case())
    name = os.fsencode(devkit) + b"/%s/caf\xe9.%s"
    Path(os.fsdecode(name % (b"Annotations", b"xml"))).write_text(PLAIN)
    Path(os.fsdecode(name % (b"JPEGImages", b"jpg"))).write_bytes(jpeg())
    output, report = tmp_path / "a.rec", tmp_path / "r.json"
    assert run("convert", devkit, output, "--report", report) == 1
    assert run("convert", devkit, output, "--on-error", "skip", "--report", report) == 0
    quarantined = (tmp_path / "a.quarantine.tsv").read_bytes()
    assert quarantined.startswith(b"Annotations/caf\xe9.xml\tpath-unlistable\t")
    problem = json.loads(report.read_text("utf-8"))["problems"][0]
    assert problem["file"] == "Annotations/caf\udce9.xml"
    assert run("check", devkit, "--report", tmp_path / "r.html") == 1
    assert "caf\\udce9.xml" in (tmp_path / "r.html").read_text("utf-8")


def test_white_space_and_line_breaks_in_names(tmp_path: Path) -> None:
    devkit = lay_out(tmp_path / "d", Case())
    for name in ("my photo", "tab\there"):
        (devkit / "Annotations" / f"{name}.xml").write_text(PLAIN)
        (devkit / "JPEGImages" / f"{name}.jpg").write_bytes(jpeg())
    result, records = pack(devkit, on_error="skip")
    assert [(p.code, p.action, p.file) for p in result.problems] == [
        ("path-white-space", "kept", "Annotations/my photo.xml"),
        ("path-unlistable", "dropped image", "Annotations/tab\there.xml"),
    ]
    assert len(records) == 3


def test_an_id_listed_twice_is_packed_once_and_reported(tmp_path: Path) -> None:
    devkit = lay_out(tmp_path / "d", Case(None))
    (devkit / "ImageSets" / "Main" / "trainval.txt").write_text("clean\nclean\n")
    result, records = pack(devkit)
    assert [(p.code, p.file) for p in result.problems] == [("id-repeated", "Annotations/clean.xml")]
    assert len(records) == 1
    with pytest.raises(recpack.DataError, match="the id is listed more than once"):
        pack(devkit, strict=True)
