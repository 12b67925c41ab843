"""What people see of objects: in a line, in a notebook, in what dir() and completion show."""

from __future__ import annotations

import importlib
import inspect
import io
import os
import pty
import re
import subprocess
import sys
import typing
import xml.dom.minidom
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest

import recpack
import recpack.mxrecordio
from recpack.problem_list import Problems
from recpack.problems import Problem
from tests.support.devkits import jpeg
from tests.support.notebook import run_cells
from train.detections import Detection, Detections, Evaluation
from train.pictures import Picture

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e"
BOX = Problem("box-outside", "warning", HOSTILE, "clipped", 1, "xmax", "700")


@pytest.fixture(scope="module")
def rec(devkit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("rec") / "train.rec"
    recpack.convert(devkit, output, classes="auto")
    return output


def found(image: Any = None) -> Detections:
    many = tuple(Detection(0, HOSTILE, 0.9, (0.1, 0.2, 0.6, 0.7)) for _ in range(200))
    return Detections(many, 60, 40, image)


def objects(devkit: Path, rec: Path) -> Iterator[object]:
    """One of each public kind that people look at, with more in it than anybody wants to see."""
    sink = recpack.MemorySink()
    result = recpack.convert(devkit, sink, classes="auto")
    reader = recpack.RecordReader(rec)
    len(reader)
    yield from (sink, result, result.manifest, result.manifest.rec, reader, reader[0])
    yield recpack.Record(1, 0, 5000, np.ones(5000, np.float32), jpeg())
    yield recpack.Record(1, 0, 2, np.float32([1, 2]), b"")
    checked = recpack.check(devkit, classes="auto")
    yield from (checked, checked.examples, next(iter(checked.examples)))
    yield from (recpack.detect(devkit), recpack.detect(devkit.parent), recpack.detect(rec))
    yield from (recpack.verify(rec), recpack.inspect(rec), Problems([BOX] * 10_000))
    yield recpack.RecordWriter(rec.with_name("w.rec"))
    yield from (recpack.FileSink(rec.with_name("f.rec")), recpack.S3Sink("s3://bucket/x.rec"))
    yield from (found(), Picture(np.zeros((400, 600, 3), np.uint8)))
    yield Evaluation(dict.fromkeys(map(str, range(500)), 0.5))
    names = tuple(map(str, range(5000)))
    service = recpack.train.Service("eu-west-1")
    yield recpack.train.Job("job", service)
    yield recpack.train.Endpoint("endpoint", names, service)
    yield recpack.train.Batch("batch", "m", "s3://b/i/", "s3://b/o/", names, service)


def test_an_object_is_a_line_without_bytes(devkit: Path, rec: Path) -> None:
    seen = 0
    for one in objects(devkit, rec):
        text = repr(one)
        assert len(text) < 300, text
        assert "\n" not in text
        assert type(one).__name__ in text
        assert not re.search(r"\bb['\"]|\\x|0x[0-9a-f]{6}", text), text
        seen += 1
    assert seen > 18


def test_the_line_has_the_numbers_that_matter(rec: Path) -> None:
    reader = recpack.RecordReader(rec)
    size = len(reader[0].image_bytes)
    expected = f"Record(id=0, kind='boxes', boxes={len(reader[0].boxes)}, "
    assert repr(reader[0]) == f"{expected}image_bytes=<{size:,} bytes>, offset=0)"
    assert repr(reader) == f"RecordReader(path={str(rec)!r}, records=120)"
    manifest = recpack.Manifest.read(rec.with_suffix(".json"))
    assert repr(manifest).startswith(f"Manifest(name='train.rec', bytes={rec.stat().st_size}, ")
    problems = Problems([BOX] * 10_000 + [Problem("image-missing", "error", "a.jpg", "error")])
    assert repr(problems) == "Problems(10,001: 10,000 box-outside, 1 image-missing)"
    assert repr(Problems()) == "Problems(0)"
    assert repr(found()[:0]) == "()"
    assert repr(Detections((Detection(3, "cat", 0.987, (0, 0, 1, 1)),), 60, 40)) == (
        "Detections(1: cat 0.99; 60 x 40)"
    )


def parsed(markup: str) -> xml.dom.minidom.Document:
    return xml.dom.minidom.parseString(f"<body>{markup}</body>".replace('%">', '%"/>'))


def test_html_is_sound_small_and_needs_no_network(devkit: Path, rec: Path) -> None:
    shown = {}
    for one in [*objects(devkit, rec), found(jpeg())]:
        if hasattr(one, "_repr_html_"):
            shown[type(one).__name__] = markup = one._repr_html_()
            assert len(markup) < 300_000
            assert not re.search(r"""(src|href|url)\W*["'(]?(?!data:)[a-z]+:""", markup)
            assert not re.search(r"(?<!-)color:|background:(?!none)", markup)  # light and dark
            assert "\x1b" not in markup
            assert not parsed(markup).getElementsByTagName("script")
    assert shown.keys() >= {
        "Check", "Detections", "Evaluation", "Inspection", "Manifest", "Problems", "Record",
        "RecordReader", "Result", "Verification",
    }  # fmt: skip
    assert shown["Problems"].count("<tr>") < 30
    assert "10,000" in shown["Problems"]
    assert shown["RecordReader"].count("<image ") == 6


def test_a_record_shows_its_picture_with_boxes(rec: Path) -> None:
    record = recpack.RecordReader(rec)[0]
    svg = parsed(record._repr_html_())
    outlines = [one for one in svg.getElementsByTagName("rect") if one.getAttribute("stroke")]
    assert len(outlines) == len(record.boxes)
    height, width, _ = record.image().shape
    (view,) = svg.getElementsByTagName("svg")
    shown = [float(edge) for edge in view.getAttribute("viewBox").split()[2:]]
    assert shown[0] / shown[1] == pytest.approx(width / height, rel=0.01)
    assert max(shown) >= 320
    box = min(record.boxes.tolist(), key=lambda box: (box[3] - box[1]) * (box[4] - box[2]))
    assert float(outlines[-1].getAttribute("x")) == pytest.approx(box[1] * shown[0], abs=0.1)
    assert float(outlines[-1].getAttribute("height")) == pytest.approx(
        (box[4] - box[2]) * shown[1], abs=0.2
    )


def test_what_can_not_be_shown_says_why(tmp_path: Path, rec: Path) -> None:
    table = recpack.Record(1, 0, 2, np.float32([1, 2]), b"")
    assert "without an image" in table._repr_html_()
    broken = recpack.Record(1, 0, 0, np.float32([1]), jpeg()[:100])
    assert "no picture: image-" in broken._repr_html_()
    reader = recpack.RecordReader(rec)
    reader.close()
    assert "the reader is closed" in reader._repr_html_()
    gone = found(tmp_path / "gone.jpg")
    assert "<img" not in gone._repr_html_()
    assert "<img" in found(jpeg())._repr_html_()


def encoded(kind: str, pixels: Any) -> bytes:
    return cv2.imencode(kind, pixels)[1].tobytes()


RED = np.zeros((4, 6, 3), np.uint8)
RED[:, :, 2] = 200  # OpenCV's last one is red


@pytest.mark.parametrize(
    ("image", "value"),
    [
        (encoded(".png", RED), [200, 0, 0]),
        (encoded(".png", np.full((4, 6), 90, np.uint8)), [90, 90, 90]),
        (encoded(".png", np.full((4, 6), 256 * 90, np.uint16)), [90, 90, 90]),
        (encoded(".png", np.dstack([RED, np.full((4, 6), 7, np.uint8)])), [200, 0, 0]),
    ],
    ids=["red", "gray", "16 bits", "transparent"],
)
def test_the_pixels_of_a_record(image: bytes, value: list[int]) -> None:
    pixels = recpack.Record(0, 0, 0, np.float32([1]), image).image()
    assert (str(pixels.dtype), pixels.shape) == ("uint8", (4, 6, 3))
    np.testing.assert_array_equal(pixels[2, 2], value)


def test_the_pixels_are_upright() -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    file = io.BytesIO()
    Image.fromarray(RED[:, :, ::-1]).save(file, "jpeg", exif=exif)
    assert recpack.Record(0, 0, 0, np.float32([1]), file.getvalue()).image().shape == (6, 4, 3)


def test_records_without_pixels() -> None:
    table = recpack.Record(7, 0, 2, np.float32([1, 2]), b"", 99)
    with pytest.raises(recpack.RecordError, match="record 7 at byte 99 has no image: it has no im"):
        table.image()
    broken = recpack.Record(7, 0, 0, np.float32([1]), jpeg()[:200], 99)
    with pytest.raises(recpack.RecordError, match="its image can't be decoded: image-") as caught:
        broken.image()
    assert caught.value.offset == 99
    assert isinstance(caught.value.__cause__, recpack.ImageError)


SURFACES: dict[Callable[[], object], str] = {
    lambda: recpack.Record: "boxes class_id flag header_width id id2 image image_bytes is_image "
    "kind label object_width offset stored_label",
    lambda: recpack.RecordReader: "batches close identity index keys locate manifest offsets paths "
    "read_key read_many read_offset size starts",
    lambda: recpack.RecordWriter: "write",
    lambda: recpack.Result: "manifest parts problems scope",
    lambda: recpack.Manifest: "as_dict classes facts format_version from_json header_width "
    "label_width list_checksum num_samples object_width objects options problems read rec "
    "recpack_version rows shards source to_json with_etag",
    lambda: recpack.Check: "annotations as_dict aspects box_sides class_images classes "
    "class_side_counts class_sides duplicates examples fatal image_heights image_sets "
    "image_widths label_width labels names nearest_classes objects objects_per_image options "
    "problems recpack_version refused samples scope unknown_classes",
    lambda: recpack.Detected: "also as_dict classes commands examined fault format image_sets "
    "labels near other_sets path problems text unread",
    lambda: recpack.Verification: "as_dict bytes checksum name proof reader readers records "
    "rules shards",
    lambda: recpack.Inspection: "as_dict box_sides bytes class_images classes faces image_bytes "
    "image_heights image_widths kinds label_kinds label_widths manifest name objects "
    "objects_per_record objects_total records scalar_labels tables",
    lambda: recpack.Problem: "action as_dict code detail field file object severity value",
    lambda: recpack.Progress: "bytes_done count done index stage total unit",
    lambda: recpack.Unpacked: "annotations folder images tables",
    lambda: recpack.ClassMap: "aliases ids names parse read",
    lambda: recpack.mxrecordio: "IRHeader MXIndexedRecordIO MXNetError MXRecordIO pack pack_img "
    "unpack unpack_img",
    lambda: recpack.train: " ".join(["ssd", *recpack.train.__all__]),
    lambda: recpack.train.Job: "command describe history measures metrics model name "
    "new_lines read_log service started status stop wait",
    lambda: recpack.train.Detections: "above count draw image index pixels",
    lambda: recpack.train.Endpoint: "answer classes classify configuration delete name predict "
    "results service wait",
    lambda: recpack.train.Evaluation: "average_precision mean",
}
"""Each public thing, and all public names of it."""


@pytest.mark.parametrize("thing", SURFACES)
def test_the_surface_grows_by_intent_only(thing: Callable[[], object]) -> None:
    one = thing()
    names = set(dir(one)) | set(getattr(one, "__annotations__", {}))
    assert sorted(name for name in names if name[0] != "_") == sorted(SURFACES[thing].split())


def test_dir_shows_what_is_public() -> None:
    for name in ("recpack", "recpack.mxrecordio", "train"):
        module = importlib.import_module(name)
        public = {one for one in dir(module) if one[0] != "_"}
        assert public - {"ssd"} == {one for one in module.__all__ if one[0] != "_"}


def test_no_property_is_a_literal() -> None:
    """jedi, which completes names in IPython, fails for every name of such an object."""
    seen = 0
    for module in (recpack, recpack.train):
        for name in module.__all__:
            for key, member in inspect.getmembers(getattr(module, name)):
                if isinstance(member, property) and member.fget is not None:
                    seen += 1
                    hint = typing.get_type_hints(member.fget).get("return")
                    assert typing.get_origin(hint) is not Literal, f"{name}.{key}"
    assert seen > 20


@pytest.mark.slow
def test_a_notebook(devkit: Path, rec: Path) -> None:
    cells = [
        "import recpack",
        f"recpack.check({str(devkit)!r}, classes='auto', progress=True, jobs=1)",
        f"reader = recpack.RecordReader({str(rec)!r})\nreader",
        "record = reader[0]\nrecord",
        "reader[:3]",
        "try:\n    recpack.convert('nowhere', 'x.rec', progress=True)\n"
        "except recpack.RecpackError as error:\n    display(len(str(error)) > 5)",
    ]
    beginnings = (
        "recpack.con", "recpack.RecordRea", "recpack.train.evaluate_c", "reader.read_", "record.",
        "recpack.convert('a', 'b', clas", "from recpack import Rec",
    )  # fmt: skip
    outputs, completions = run_cells(cells, beginnings)
    bars = [one for one in outputs if "<progress " in one.data.get("text/html", "")]
    assert [one.kind for one in bars] == ["display", *["update"] * (len(bars) - 1)]
    assert len(bars) > 1
    assert 'value="120" max="120"' in bars[-1].html
    results = [one for one in outputs if one.kind == "result"]
    check, reader, record, some = results
    assert check.text.startswith("Check(annotations=120")
    assert check.html.startswith("<div><b>Ready to convert</b><table")
    assert reader.html.count("<svg") == 6
    assert record.html.count("<svg") == 1
    assert some.text.count("Record(id=") == 3
    assert outputs[-1].text == "True"
    assert completions[:4] == [
        ["convert"], ["RecordReader"], ["evaluate_classifier"],
        ["read_key", "read_many", "read_offset"],
    ]  # fmt: skip
    assert {"boxes", "image", "kind"} <= set(completions[4])
    assert "classes=" in completions[5]
    assert {"Record", "RecordReader", "RecordWriter"} <= set(completions[6])


PROGRESS = """
import sys, recpack
recpack.convert(sys.argv[1], sys.argv[2], classes="auto", progress=True, jobs=1)
"""


@pytest.mark.slow
def test_progress_in_a_terminal_and_elsewhere(devkit: Path, tmp_path: Path) -> None:
    def run(name: str, stderr: int) -> None:
        words = [sys.executable, "-c", PROGRESS, str(devkit), str(tmp_path / name)]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
        subprocess.run(words, stderr=stderr, env=environment, check=True)

    ours, theirs = pty.openpty()
    run("a.rec", theirs)
    os.close(theirs)
    screen = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "120/120" in screen
    assert "pack" in screen
    with (tmp_path / "log").open("wb") as log:
        run("b.rec", log.fileno())
    assert (tmp_path / "log").read_bytes() == b""


def test_progress_is_told_to_a_callable(devkit: Path) -> None:
    seen: list[recpack.Progress] = []
    recpack.check(devkit, progress=seen.append)
    assert seen[-1][:3] == ("scan", 120, 120)
    with pytest.raises(recpack.ConfigError, match="progress: must be a function, True"):
        recpack.check(devkit, progress="yes")
