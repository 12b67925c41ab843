"""Each message that the page on messages quotes is what recpack says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from recpack.problems import CATALOGUE
from recpack.sources.recognise import _REMEDIES
from recpack.storage.files import Claim
from tests.cli.test_cli import run
from tests.sources.test_layouts import ROW, STUDIO, XML, coco, images, lay
from tests.support.devkits import box_xml, xml

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
AUTO = ("--classes", "auto")


def voc(*objects: str, size: tuple[int, int] = (60, 40)) -> dict[str, str]:
    return images("images/a.jpg") | {"Annotations/a.xml": xml(*size, *objects)}


CAT = (6, 4, 30, 20)
ROTATED = box_xml("cat", CAT).replace(
    "</object>",
    "<attributes><attribute><name>rotation</name><value>30.0</value></attribute></attributes></object>",
)
DATA: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "no VOC<year> folder, no Annotations folder and no *.xml": ({"README": ""}, ()),
    "which recpack does not read": ({"p.json": str(STUDIO).replace("'", '"')}, ()),
    "has the image sets": (
        images("a.jpg") | dict.fromkeys(("x.json", "y.json"), coco("a.jpg")),
        (),
    ),
    "no such image set; choose with --set from": (
        voc() | {"ImageSets/Main/train.txt": "a\n"},
        ("--set", "trian"),
    ),
    "no data.yaml or classes.txt with the class names": (
        images("images/a.jpg") | {"labels/a.txt": ROW},
        (),
    ),
    "Pascal VOC's list": (voc(box_xml("racoon", CAT)), ()),
    "is not in the chosen classes": (voc(box_xml("cat", CAT)), ("--classes", "dog")),
    "the image is missing": (voc() | {"Annotations/b.xml": XML}, AUTO),
    "the annotation file is missing": (
        voc() | images("images/b.jpg") | {"ImageSets/Main/train.txt": "a\nb\n"},
        AUTO,
    ),
    "all boxes of the image are between 0 and 1: ratios, not pixels": (
        voc(box_xml("cat", (0.1, 0.1, 0.5, 0.5))),
        AUTO,
    ),
    "the box edges look like pixels": (
        images("images/a.jpg") | {"labels/a.txt": "0 30 20 10 10\n", "classes.txt": "cat\n"},
        (),
    ),
    "the boxes fit <size>, but not the image": (
        voc(box_xml("cat", (60, 40, 300, 200)), size=(600, 400)),
        AUTO,
    ),
    "the box is rotated, and a label can't hold that": (voc(ROTATED), AUTO),
    "part of the box is outside the image": (voc(box_xml("cat", (6, 4, 90, 20))), AUTO),
    "the path is not there as written; the only image that ends like it is used": (
        images("images/a.jpg") | {"x.json": coco("C:\\photos\\a.jpg")},
        (),
    ),
    "no sample is left": (voc(), AUTO),
}  # fmt: skip


@pytest.mark.parametrize("message", DATA)
def test_messages_of_data_sets(
    message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, options = DATA[message]
    run("convert", lay(tmp_path / "in", files), tmp_path / "a.rec", *options)
    assert message in capsys.readouterr().err


FILES: dict[str, tuple[str, ...]] = {
    "no such folder or archive": ("convert", "nothere", "b.rec"),
    "it is compressed (gzip), so its files can't be read separately":
        ("convert", "data.tar.gz", "b.rec"),
    "the image file is truncated": ("convert", "broken", "b.rec", *AUTO),
    "exists; choose another name or replace it with --overwrite": ("convert", "flowers", "c.rec"),
    "the output's name must end in .rec": ("convert", "flowers", "b"),
    "is not empty; name another folder, or use --overwrite": ("unpack", "c.rec", "flowers"),
    "another run is writing it; wait for its end": ("convert", "flowers", "claimed.rec"),
    "the file is truncated or damaged": ("verify", "cut.rec"),
    "there is no index beside it; make one": ("verify", "moved.rec"),
    "this lies beside a .rec; give the name of the .rec": ("inspect", "c.lst"),
    "the label is not a detection label": ("verify", "c.rec", "--reader", "sagemaker"),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    lay(folder, images("flowers/rose/a.jpg", "flowers/tulip/b.jpg"))
    shutil.make_archive(str(folder / "data"), "gztar", folder / "flowers")
    rec = folder / "c.rec"
    assert run("convert", folder / "flowers", rec, "--quiet") == 0
    (folder / "cut.rec").write_bytes(rec.read_bytes()[:1000])
    (folder / "moved.rec").write_bytes(rec.read_bytes())
    picture = lay(folder / "broken", voc(box_xml("cat", CAT))) / "images/a.jpg"
    picture.write_bytes(picture.read_bytes()[:-400])
    return folder


@pytest.mark.parametrize("message", FILES)
def test_messages_of_files(
    message: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    with Claim(files / "claimed.rec"):
        assert run(*FILES[message]) in (1, 2)
    assert message in capsys.readouterr().err


S3 = {
    "there is no such bucket": {},
    "no AWS credentials were found": {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
}


@pytest.mark.parametrize("message", S3)
def test_messages_of_s3(
    message: str, files: Path, moto: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    for name in S3[message]:
        monkeypatch.delenv(name)
    assert run("convert", files / "flowers", "s3://nosuchbucket/a.rec") == 1
    assert message in capsys.readouterr().err


IN_SOURCE = {  # what no test can cheaply make happen
    "access denied; use credentials that have this permission": "recpack/storage/s3/retry.py",
    "the bucket is in another region; set AWS_REGION": "recpack/storage/s3/retry.py",
    "not installed; pip install 'recpack[ssd]'": "train/local.py",
    "recpack.torch needs PyTorch: pip install 'recpack[torch]'": "recpack/torch/__init__.py",
}


def test_each_message_of_the_page_is_made_above() -> None:
    shown = re.findall(
        r"^### `(.*)`$", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE
    )
    assert sorted(shown) == sorted([*DATA, *FILES, *S3, *IN_SOURCE])
    for message, file in IN_SOURCE.items():
        assert message in (ROOT / file).read_text()


@pytest.mark.parametrize("page", ["roboflow", "label-studio", "cvat", "gluoncv"])
def test_the_pages_of_other_tools_quote_messages(page: str) -> None:
    text = (ROOT / f"docs/howto/{page}.md").read_text().partition("## What goes wrong")[2]
    shown = re.findall(r"^\| `(.*?)` \|", text, re.MULTILINE)
    assert len(shown) >= 2
    made = {*DATA, *FILES, *(f"is {name}, which recpack does not read" for name in _REMEDIES)}
    assert set(shown) <= made | {code.what for code in CATALOGUE.values()}
