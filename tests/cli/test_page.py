"""The page of ``check``, in a real browser and as text."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lxml import html
from PIL import Image

import recpack
from recpack.cli.report import write_report
from recpack.options import CheckOptions
from recpack.pipeline.check import check, check_dataset
from recpack.pipeline.prepare import open_source
from recpack.workers.settings import Workers
from tests.cli.test_cli import run
from tests.pipeline.test_check import everything_wrong
from tests.sources.test_wild import Case, lay_out
from tests.support.browser import Page
from tests.support.datasets import WRITERS, Picture, make_classes
from tests.support.devkits import box_xml, jpeg, xml
from tests.support.faces import make_faces


def report(path: Path, page: Path, *options: object) -> str:
    """The page of a data set."""
    run("check", path, "--quiet", "--report", page, *options)
    return page.read_text()


def shown(browser: Page, selector: str) -> int:
    """How many elements can be seen."""
    selector = json.dumps(selector)
    count = f"[...document.querySelectorAll({selector})].filter(one => one.offsetParent).length"
    return int(browser.run(count))


def choose(browser: Page, selector: str, value: str) -> None:
    """Choose in a list, as the keyboard does."""
    browser.run(
        f"(() => {{ const list = document.querySelector({json.dumps(selector)});"
        f"list.value = [...list.options].find(one => one.text === {json.dumps(value)}).value;"
        "list.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


@pytest.mark.slow
def test_the_page_in_a_browser(tmp_path: Path, browser: Page) -> None:
    devkit = everything_wrong(tmp_path / "d")
    classes = ["--classes", "dog,cat,cow", "--set", "all"]
    more = xml(60, 40, *[box_xml("dog", (10 + i, 2, 50, 30)) for i in range(3)])
    (devkit / "Annotations" / "clean.xml").write_text(more)
    page = tmp_path / "check.html"
    text = report(devkit, page, *classes)
    browser.look(1200)
    browser.open(page.as_uri())

    assert browser.run("document.querySelector('h1').textContent") == "d"
    body = browser.run("document.body.innerText")
    assert "recpack check d --set all --classes dog,cat,cow" in body
    assert recpack.__version__ in browser.run("document.querySelector('.about').textContent")

    # the filters of the samples
    samples = shown(browser, "#samples figure")
    assert 2 < samples == text.count("<figure data-classes")
    browser.click('#classes a[data-show="0"]')
    dogs = shown(browser, "#samples figure")
    assert 0 < dogs < samples
    assert browser.run("document.querySelector('#samples output').value") == (
        f"{dogs} of {samples} pictures"
    )
    bright = "#samples figure:not([hidden]) g:not(.dim)"
    assert browser.run(f"document.querySelectorAll('{bright}').length") == 3 * dogs
    choose(browser, "#samples select", "all classes")
    assert shown(browser, "#samples figure") == samples
    browser.click("#samples [data-toggle]")
    assert shown(browser, "#samples figure") == samples
    assert browser.run("document.querySelector('#samples g').getBoundingClientRect().width") == 0

    # the filters of the problems
    groups = shown(browser, "#problems details")
    pictures = shown(browser, "#problems figure")
    assert groups > 20 < pictures
    browser.click('#problems input[value="error"]')
    browser.click('#problems input[value="note"]')
    assert 0 < shown(browser, "#problems details") < groups
    assert shown(browser, '#problems details[data-severity="error"]') == 0
    assert (
        0
        < shown(browser, '#problems figure[data-severity~="warning"]')
        == shown(browser, "#problems figure")
    )
    browser.click('#problems input[value="error"]')
    browser.click('#problems input[value="note"]')
    choose(browser, '#problems [name="codes"]', "image-truncated")
    assert shown(browser, "#problems details") == 1
    assert shown(browser, "#problems figure") == 4
    choose(browser, '#problems [name="codes"]', "all codes")
    choose(browser, '#problems [name="classes"]', "Cat")  # an unknown class has its choice too
    assert shown(browser, "#problems figure") == shown(browser, "#problems details") == 1
    choose(browser, '#problems [name="classes"]', "all classes")
    browser.type('#problems [name="file"]', "CASE59")
    assert shown(browser, "#problems figure") == 1
    assert shown(browser, "#problems tbody tr") == 1  # its group has opened
    name = browser.run("document.querySelector('#problems figure:not([hidden]) b').innerText")
    assert "case59" in name

    # the table is sorted
    def column() -> list[str]:
        rows = "[...document.querySelectorAll('.classes tbody tr')]"
        return list(browser.run(f"{rows}.map(row => row.cells[0].innerText.trim())"))

    assert column() == ["dog", "cat"]
    browser.click(".classes th:nth-child(2) button")
    assert column() == ["cat", "dog"]
    head = "document.querySelector('.classes th:nth-child(2)')"
    assert browser.run(f"{head}.ariaSort") == "descending"
    browser.click(".classes th:nth-child(2) button")
    assert column() == ["dog", "cat"]
    browser.click(".classes th:nth-child(1) button")
    assert column() == ["cat", "dog"]

    # light and dark: as the system has it, and by the switch
    def paper() -> str:
        return str(browser.run("getComputedStyle(document.body).backgroundColor"))

    light = paper()
    browser.click("#theme")
    dark = paper()
    assert light != dark
    assert browser.run("document.getElementById('theme').textContent") == "Light"
    browser.look(1200, scheme="dark")
    browser.open(page.as_uri())
    assert paper() == dark

    for width in (360, 800, 1400):
        browser.look(width)
        assert browser.run("document.documentElement.scrollWidth") <= width

    requests = [url for url in browser.requests if not url.startswith("data:")]
    assert set(requests) == {page.as_uri()}
    assert browser.complaints == []


@pytest.mark.slow
def test_what_is_drawn(tmp_path: Path, browser: Page) -> None:
    devkit = lay_out(tmp_path / "d", Case(xml(60, 40, box_xml("kat", (6, 4, 30, 20)))))
    page = tmp_path / "check.html"
    report(devkit, page, "--classes", "cat")
    browser.look(600, 2400)
    browser.open(page.as_uri())
    browser.screenshot(tmp_path / "shot.png")
    colours = np.array(Image.open(tmp_path / "shot.png").convert("RGB")).reshape(-1, 3).astype(int)
    (stroke,) = set(re.findall(r'data-c="0"><title>.*?stroke="(#\w+)"', page.read_text()))
    for colour in (stroke, "#ff2d20"):  # a box, and one with a problem
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(colours - wanted).max(1) < 12).sum() > 50


@pytest.mark.slow
def test_without_its_script_all_is_shown(tmp_path: Path, browser: Page) -> None:
    page = tmp_path / "check.html"
    text = report(everything_wrong(tmp_path / "d"), page, "--set", "all")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.look(1200)
    browser.open(page.as_uri())
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert shown(browser, "figure") == text.count("<figure") > 20
    assert shown(browser, "details") == text.count("<details") > 20
    assert shown(browser, "form, button") == 0


def test_one_file_that_loads_nothing(tmp_path: Path) -> None:
    devkit = everything_wrong(tmp_path / "d")
    text = report(devkit, tmp_path / "r.html", "--set", "all")
    assert set(re.findall(r'(?:href|src)="([^":#]*:)', text)) == {"data:"}
    assert "default-src 'none'" in text
    assert os.fspath(tmp_path) not in text
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", text)
    assert len(pictures) > 20
    for picture in pictures:
        assert max(Image.open(io.BytesIO(base64.b64decode(picture))).size) <= 320


def test_the_page_shows_nothing_from_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    devkit = lay_out(tmp_path / "d", Case(image=None))
    (devkit / "JPEGImages" / "clean.jpg").unlink()
    for name in ("odd", "clean"):
        (devkit / "JPEGImages" / f"{name}.jpg").symlink_to(tmp_path / "secret.jpg")
    text = report(devkit, tmp_path / "r.html")
    assert "path-unsafe" in text
    assert "data:image" not in text


HOSTILE = "</script><script>alert(1)</script>'\"><b onclick=x>"


@pytest.mark.slow
def test_names_from_strangers_are_text_on_the_page(tmp_path: Path, browser: Page) -> None:
    name = HOSTILE.replace("/", "÷")  # a slash is none of a file's name
    folder = tmp_path / "d"
    for number in range(3):
        path = folder / f"{name} {number}" / f"{name}.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(jpeg(60, 40, number % 2))
    devkit = lay_out(tmp_path / "v", Case(xml(60, 40, box_xml(
        HOSTILE.replace("<", "&lt;").replace(">", "&gt;"), (6, 4, 30, 20)
    ))))  # fmt: skip
    for data, options in ((folder, []), (devkit, []), (devkit, ["--classes", "auto"])):
        text = report(data, tmp_path / "r.html", *options)
        assert text.count("<script") == text.count("</script") == 1
        assert "onclick=x>" not in text
        browser.open((tmp_path / "r.html").as_uri())
        wanted = name if data == folder else HOSTILE
        assert wanted[:20] in browser.run("document.body.innerText")
        assert browser.run("document.querySelectorAll('[onclick]').length") == 0
    assert browser.complaints == []


def test_samples_of_every_class(tmp_path: Path) -> None:
    boxes = [[(0, 4, 4, 20, 20)]] * 30 + [[(1, 1, 2, 30, 20), (2, 8, 8, 24, 24)]] * 2
    devkit = WRITERS["voc"](tmp_path / "d", [Picture(40, 30, box) for box in boxes])
    found = check(devkit, jobs=1, classes="dog,cat,a bird,cow")
    paths = list(found.examples.paths)
    numbers = [int(Path(path).stem) for path in paths]
    assert numbers == [1, 5, 9, 13, 16, 20, 24, 28, 30, 31]  # cats from all over the data set
    side = pytest.approx(522**0.5)
    assert {name: vars(one) for name, one in found.class_sides.items()} == {
        "dog": {"low": side, "median": side, "high": side},
        "cat": {"low": 16, "median": 16, "high": 16},
        "a bird": {"low": 16, "median": 16, "high": 16},
    }
    assert found.class_side_counts["cat"] == [0, 0, 30, 0, 0, 0, 0, 0, 0]
    text = report(devkit, tmp_path / "r.html", "--classes", "dog,cat,a bird,cow")
    assert "In no sample: cow." in text
    assert text.count('<figure data-classes="1"') == 8
    assert text.count('<figure data-classes="0 2"') == 2


def test_many_classes_have_a_limit(tmp_path: Path) -> None:
    data = jpeg(16, 16)
    for number in range(330):
        folder = tmp_path / "d" / f"c{number:03}"
        folder.mkdir(parents=True)
        (folder / "x.jpg").write_bytes(data + bytes([number % 256, number // 256]))
    text = report(tmp_path / "d", tmp_path / "r.html")
    assert text.count("<figure") == 320
    assert "320 of 330, which show 320 of 330 classes" in text
    assert text.count('<th scope="row"><a href="#samples"') == 320
    assert len(text) < 1 << 20


def faces(root: Path) -> Path:
    return make_faces(root / "faces")


def classes(root: Path) -> Path:
    make_classes(root)
    return root / "flowers"


def tags(root: Path) -> Path:
    make_classes(root)
    return root / "tags.csv"


def numbers(root: Path) -> Path:
    make_classes(root)
    path = root / "numbers.csv"
    path.write_text("image,price,age\nflowers/rose/0.jpg,1.5,3\nflowers/rose/1.jpg,2.25,9\n")
    return path


@pytest.mark.parametrize(
    ("make", "options", "pictures", "words"),
    [
        (classes, [], 24, '<figure data-classes="1"'),
        (tags, [], 19, '<figure data-classes="0 2"'),
        (numbers, [], 2, "</b>2.25 9"),
        (faces, ["--from", "identities"], 6, "cy/old"),
    ],
)
def test_labels_without_boxes(
    tmp_path: Path, make: Callable[[Path], Path], options: list[str], pictures: int, words: str
) -> None:
    path = make(tmp_path)
    text = report(path, tmp_path / "r.html", *options)
    assert text.count("<figure") == text.count("data:image/jpeg") == pictures
    assert words in text
    assert f"<h1>{path.name}</h1>" in text
    assert "median</th>" not in text


def test_frequent_problems_hide_no_other(tmp_path: Path) -> None:
    devkit = WRITERS["voc"](tmp_path / "d", [Picture(40, 30, [(0, 4, 4, 20, 20)])] * 80)
    for number in range(79):
        path = devkit / "Annotations" / f"{number:03}.xml"
        path.write_text(path.read_text().replace("<xmin>", "<xmin>-"))
    path = devkit / "Annotations" / "079.xml"
    path.write_text(path.read_text().replace("<width>40", "<width>41"))
    text = report(devkit, tmp_path / "r.html")
    pictures = text.partition("Images with problems")[2]
    assert pictures.count("<figure") == 60
    assert 'data-codes="size-mismatch' in pictures


def test_the_same_page_by_any_workers(tmp_path: Path, devkit: Path) -> None:
    options = CheckOptions(jobs=1, year="2007")
    dataset = open_source(devkit, options)
    found = check_dataset(dataset, options)
    pages = []
    for workers in (None, Workers(jobs=2, backend="fork"), Workers(jobs=2, backend="threading")):
        write_report(tmp_path / "r.html", found, dataset, workers)
        pages.append((tmp_path / "r.html").read_text())
    assert pages[0] == pages[1] == pages[2]
    assert "recpack check" in pages[0]


def test_a_report_names_what_it_is_about(tmp_path: Path) -> None:
    devkit = WRITERS["voc"](tmp_path / "a b", [Picture(40, 30, [(0, 4, 4, 20, 20)])])
    names = tmp_path / "names.txt"
    names.write_text("cat\n")
    words = ["--classes", names, "--no-shuffle", "--strict", "--jobs", "1", "--negatives", "keep"]
    text = report(devkit, tmp_path / "r.html", *words)
    report(devkit, tmp_path / "r.json", *words)
    assert "<h1>a b</h1>" in text
    command = "recpack check 'a b' --classes names.txt --no-shuffle --negatives keep --strict"
    (shown,) = html.fromstring(text).xpath("//header//code")
    assert shown.text_content() == command
    assert [one.text for one in shown] == re.findall("--[a-z-]+", command)  # kept in one line
    saved = json.loads((tmp_path / "r.json").read_text())
    assert (saved["names"], saved["recpack_version"]) == (["a b"], recpack.__version__)
    assert saved["options"] == {
        "classes": "names.txt", "shuffle": None, "negatives": "keep", "strict": True
    }  # fmt: skip
    assert check(devkit, classes={"cat": 0}, set=("all",)).options == {
        "set": ["all"], "classes": {"cat": 0}
    }  # fmt: skip
