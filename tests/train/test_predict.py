"""One image, or a .rec of them, to an endpoint: what is sent, what is kept when something fails."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import recpack
from tests.support.aws import EXPIRED, REGION, ROLE, THROTTLED, Aws, Fault, serving
from tests.support.devkits import jpeg
from tests.support.hosts import Typed, connect, model, rest, trained
from train.bodies import payload
from train.detections import Detection, Detections
from train.errors import TrainError
from train.pictures import load

pytestmark = pytest.mark.once

ANSWER = b'{"prediction": [[1, 0.9, 0.1, 0.1, 0.5, 0.5], [0, 0.2, 0, 0, 1, 1]]}'


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, typed: Typed) -> Aws:
    """With one endpoint, of cats and dogs."""
    aws = trained()
    aws.answers = [ANSWER]
    connect(monkeypatch, aws)
    rest(monkeypatch, lambda _: None)
    assert typed("deploy", model(), "--role", ROLE, "--endpoint-name", "prod")[0] == 0
    return aws


def test_an_answer_about_a_file_shows_the_file(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cat.jpg").write_bytes(jpeg())
    endpoint = recpack.train.attach_endpoint("prod", connect(monkeypatch, aws))
    found = endpoint.predict(tmp_path / "cat.jpg")
    assert found.image == tmp_path / "cat.jpg"
    np.testing.assert_array_equal(found.draw().pixels, found.draw(jpeg()).pixels)
    assert "<img " in found._repr_html_()
    assert found.above(0.5).image == found.image
    others = endpoint.predict(jpeg())  # many answers must not keep many images
    assert others.image is None
    assert others == found
    with pytest.raises(TrainError, match="draw: give the image"):
        others.draw()


# ---- the images that are sent

PIXELS = np.random.RandomState(0).randint(0, 256, (20, 30, 3), np.uint8)


def encoded(kind: str, mode: str, **options: object) -> bytes:
    image = Image.fromarray(PIXELS[..., ::-1]).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    return encoded("JPEG", "RGB", exif=exif)


OTHERS = {
    "gray jpeg": encoded("JPEG", "L"), "gray png": encoded("PNG", "L"), "rotated": rotated(),
    "16 bits": cv2.imencode(".png", PIXELS.astype(np.uint16) * 257)[1].tobytes(),
    "cmyk": encoded("JPEG", "CMYK"), "alpha": encoded("PNG", "RGBA"),
    "palette": encoded("PNG", "P"), "bitmap": encoded("BMP", "RGB"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_images_are_sent_as_the_training_saw_them(name: str) -> None:
    data = OTHERS[name]
    body, content_type, width, height = payload(data)
    assert body != data
    assert (width, height) == ((20, 30) if name == "rotated" else (30, 20))
    stored = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    assert stored.shape == (height, width, 3)
    assert stored.dtype == np.uint8
    assert Image.open(io.BytesIO(body)).mode == "RGB"
    if content_type == "image/png":
        np.testing.assert_array_equal(stored, load(data))


@pytest.mark.parametrize("data", [jpeg(30, 20), encoded("PNG", "RGB")])
def test_plain_images_are_sent_as_they_are(data: bytes) -> None:
    assert payload(data)[0] == data


def test_damaged_images_are_no_tracebacks(tmp_path: Path) -> None:
    for data in (b"\xff\xd8\xff\xc0", b"\xff\xd8\xff" * 9, b"\x89PNG", rotated()[:40]):
        with pytest.raises(TrainError, match="not an image"):
            payload(data)
    (tmp_path / "x.jpg").write_bytes(b"x")
    with pytest.raises(TrainError, match=r"x\.jpg is not an image"):
        payload(tmp_path / "x.jpg")


# ---- predict


@pytest.fixture
def photo(tmp_path: Path) -> str:
    (tmp_path / "photo.jpg").write_bytes(rotated())
    return str(tmp_path / "photo.jpg")


def test_sizes_are_those_of_the_upright_image(aws: Aws, typed: Typed, photo: str) -> None:
    code, out, _ = typed("predict", "prod", photo)
    assert (code, json.loads(out)[0]["pixels"]) == (0, [2, 3, 10, 15])
    assert aws.asked("InvokeEndpoint")[0]["ContentType"] == "image/jpeg"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("drawn", "no picture has this extension; use .png or .jpg"),
        ("drawn.xyz", "no picture has this extension"),
        ("none/drawn.png", "check the folder"),
        ("folder.png", "check the folder"),
    ],
)
def test_pictures_that_can_not_be_written_are_refused_before_the_call(
    aws: Aws, typed: Typed, photo: str, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    code, out, err = typed("predict", "prod", photo, "--draw", str(tmp_path / name))
    assert (code, out) == (2, "")
    assert message in err
    assert aws.asked("InvokeEndpoint") == []


def test_detections_are_printed_when_drawing_fails(
    aws: Aws, typed: Typed, photo: str, tmp_path: Path
) -> None:
    drawn = tmp_path / "drawn.png"

    def plan(name: str, _: int) -> None:
        if name == "InvokeEndpoint":
            drawn.mkdir()

    aws.plan = plan
    code, out, err = typed("predict", "prod", photo, "--draw", str(drawn))
    assert code == 1
    assert [one["class"] for one in json.loads(out)] == ["dog"]
    assert "drawn.png: can't be written" in err


def test_boxes_that_no_image_has(aws: Aws, typed: Typed, photo: str, tmp_path: Path) -> None:
    aws.answers = [
        b'{"prediction": [[1, 0.9, NaN, 0, 1, 1], [0, 0.8, 0, 0, 1e300, 1], [1, 0.7, 0, 0, 1, 1],'
        b" [1, NaN, 0, 0, 1, 1], [0, 0.6, -Infinity, 0, 1, 1]]}"
    ]
    drawn = tmp_path / "drawn.png"
    code, out, err = typed("predict", "prod", photo, "--draw", str(drawn))
    assert code == 0, err
    rows = json.loads(out, parse_constant=lambda _: pytest.fail("this is not JSON"))
    assert [row["score"] for row in rows] == [0.9, 0.8, 0.7, 0.6]
    assert rows[0]["box"] == [None, 0, 1, 1]
    one = Detections((Detection(1, "dog", 0.7, (0.0, 0.0, 1.0, 1.0)),), 20, 30)
    np.testing.assert_array_equal(load(drawn), one.draw(rotated()).pixels)


@pytest.mark.parametrize("answer", [b'{"prediction": [[Infinity, 1, 0, 0, 1, 1]]}', b"[" * 99999])
def test_answers_that_are_none(aws: Aws, typed: Typed, photo: str, answer: bytes) -> None:
    aws.answers = [answer]
    code, _, err = typed("predict", "prod", photo)
    assert code == 1
    assert "not a list of detections" in err


# ---- evaluate


@pytest.fixture
def rec(tmp_path: Path) -> str:
    """Three records, of two classes."""
    lines = []
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(40 + number, 30))
        lines.append(f"{number}\t2\t5\t{number % 2}\t0.1\t0.1\t0.5\t0.5\t{number}.jpg\n")
    (tmp_path / "val.lst").write_text("".join(lines))
    recpack.pack(tmp_path / "val.lst", tmp_path, tmp_path / "val.rec", jobs=1)
    manifest = json.loads((tmp_path / "val.json").read_text())
    (tmp_path / "val.json").write_text(json.dumps(manifest | {"classes": ["cat", "dog"]}))
    return str(tmp_path / "val.rec")


def test_throttled_calls_are_repeated(aws: Aws, typed: Typed, rec: str) -> None:
    aws.plan = lambda name, number: (
        Fault(THROTTLED) if name == "InvokeEndpoint" and number % 3 else None
    )
    code, out, err = typed("evaluate", "prod", rec)
    assert code == 0, err
    assert json.loads(out)["average_precision"] == {"cat": 0.0, "dog": 0.5}


def test_an_evaluation_goes_on_where_it_ended(
    aws: Aws, typed: Typed, rec: str, tmp_path: Path
) -> None:
    expected = typed("evaluate", "prod", rec)[1]
    kept = tmp_path / "answers.jsonl"
    before = len(aws.asked("InvokeEndpoint"))
    aws.plan = lambda name, _: (
        Fault(EXPIRED) if name == "InvokeEndpoint" and len(aws.asked(name)) > before + 2 else None
    )
    code, out, err = typed("evaluate", "prod", rec, "--resume", str(kept))
    assert (code, out) == (1, "")
    assert f"{kept} has the answers so far" in err
    kept.write_bytes(kept.read_bytes() + b'["cut of')  # as a kill leaves it
    aws.plan = lambda *_: None
    before = len(aws.asked("InvokeEndpoint"))
    assert typed("evaluate", "prod", rec, "--resume", str(kept))[1] == expected
    assert len(aws.asked("InvokeEndpoint")) == before + 1
    assert typed("evaluate", "prod", rec, "--resume", str(kept))[1] == expected
    assert len(aws.asked("InvokeEndpoint")) == before + 1
    lines = kept.read_bytes()
    typed("deploy", model(), "--role", ROLE, "--endpoint-name", "prod", "--update")
    code, _, err = typed("evaluate", "prod", rec, "--resume", str(kept))
    assert code == 1
    assert "choose another file" in err
    assert kept.read_bytes() == lines
    (tmp_path / "other").write_text("a photograph\nor a letter\n")
    code, _, err = typed("evaluate", "prod", rec, "--resume", str(tmp_path / "other"))
    assert code == 1
    assert "these are not answers of evaluate" in err
    assert (tmp_path / "other").read_text() == "a photograph\nor a letter\n"


@pytest.mark.parametrize(
    "row",
    [
        "5", "{}", "[1]", "[" * 200_000, '["d", 9, 9]', '["d", 9, 9, 5]', '["d", 9, 9, [[1]]]',
        '["d", "x", 9, []]', '["d", 1e999, 9, []]', '["d", 9, 9, [["a", 0, 0, 0, 0, 0]]]',
    ],
)  # fmt: skip
@pytest.mark.usefixtures("aws")
def test_a_file_of_other_answers(typed: Typed, rec: str, tmp_path: Path, row: str) -> None:
    kept = tmp_path / "answers.jsonl"
    assert typed("evaluate", "prod", rec, "--resume", str(kept))[0] == 0
    head, *rows = kept.read_text().splitlines()
    digest = json.loads(rows[0])[0]
    kept.write_text("\n".join([head, row.replace('"d"', f'"{digest}"'), *rows[1:], ""]))
    before = kept.read_bytes()
    code, _, err = typed("evaluate", "prod", rec, "--resume", str(kept))
    assert code == 1
    assert f"{kept}: these are not answers of evaluate" in err
    assert kept.read_bytes() == before


@pytest.mark.usefixtures("aws")
def test_answers_are_kept_in_a_file_only(typed: Typed, rec: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", "/dev/full", "/dev/null"):  # /dev/full has no end
        code, _, err = typed("evaluate", "prod", rec, "--resume", str(place))
        assert (code, err) == (1, f"recpack-train evaluate: {place} is not a file; name a file\n")


@pytest.mark.usefixtures("aws")
def test_a_manifest_beyond_any_is_not_read(typed: Typed, rec: str) -> None:
    with Path(rec).with_suffix(".json").open("wb") as file:
        file.truncate(1 << 40)
    code, _, err = typed("evaluate", "prod", rec)
    assert code == 1
    assert "more than 67,108,864 bytes are refused" in err


@pytest.mark.parametrize(
    ("classes", "message"),
    [(["dog", "cat"], "has dog, cat; prod has cat, dog"), (None, "it has no manifest")],
)
def test_another_order_of_classes_is_not_an_ap_of_zero(
    aws: Aws, typed: Typed, rec: str, classes: list[str] | None, message: str
) -> None:
    place = Path(rec).with_suffix(".json")
    manifest = json.loads(place.read_text())
    place.unlink()
    if classes:
        place.write_text(json.dumps(manifest | {"classes": classes}))
    code, _, err = typed("evaluate", "prod", rec)
    assert code == 1
    assert message in err
    assert aws.asked("InvokeEndpoint") == []


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_rec_is_no_traceback(aws: Aws, typed: Typed, rec: str, damage: str) -> None:
    del aws
    if damage == "gone":
        Path(rec).unlink()
    else:
        Path(rec).write_bytes(Path(rec).read_bytes()[:-9])
    code, _, err = typed("evaluate", "prod", rec)
    assert code == 1
    assert "val.rec" in err


def test_the_endpoint_url_is_for_the_records_too(
    typed: Typed, rec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP: one address has the service and the records."""
    aws = trained()
    aws.answers = [ANSWER]
    aws.objects["hosting/data/val/val.rec"] = Path(rec).read_bytes()
    aws.objects["hosting/data/_recpack/val.json"] = Path(rec).with_suffix(".json").read_bytes()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    rest(monkeypatch, lambda _: None)
    with serving(aws) as url:
        place = ("--region", REGION, "--endpoint-url", url)
        code, _, err = typed("deploy", model(), "--role", ROLE, "--endpoint-name", "prod", *place)
        assert code == 0, err
        assert f"recpack-train delete prod --region {REGION} --endpoint-url {url}" in err
        code, out, err = typed("evaluate", "prod", "s3://hosting/data/val/val.rec", *place)
        assert code == 0, err
        assert json.loads(out)["average_precision"]["dog"] > 0
