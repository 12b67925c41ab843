"""The pages that ``make docs`` built, in a browser without network: nothing is cut off or lost at
three widths, and the search finds what people type."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pytest
from lxml import html

from recpack.problems import CATALOGUE
from tests.support.browser import Page
from tests.support.missing import missing

ROOT = Path(__file__).parents[1]
WIDTHS = (380, 800, 1400)
PAGES = ROOT / "docs/_build/html"


def is_built() -> bool:
    """Whether the pages were built since their sources changed."""
    made = PAGES / "search.html"
    sources = [ROOT / "recpack/problems.py", *(ROOT / "docs").glob("[!_]*/**/*")]
    newest = max(path.stat().st_mtime for path in (*sources, *(ROOT / "docs").glob("*.*")))
    return made.exists() and newest <= made.stat().st_mtime


pytestmark = pytest.mark.once
FOUND = {  # what people type, and a page that must be among the results
    "roboflow": "howto/roboflow",
    "label studio": "howto/label-studio",
    "cvat": "howto/cvat",
    "gluoncv": "howto/gluoncv",
    "im2rec --recursive": "howto/im2rec",
    "num_samples": "reference/outputs",
    "set_epoch": "reference/python",
    "prepare_dataset.py": "why",
    "box-outside": "reference/problems",
    "--box-policy": "reference/options",
    "install": "install",
    "no AWS credentials": "troubleshooting",
    "compressed gzip": "troubleshooting",
    "recordio": "formats",
}
CUT_OFF = """(() => {
  const scrolls = one => one.tagName != "ARTICLE" &&
    (["auto", "scroll"].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
  return [...document.querySelectorAll("article *")].find(one =>
    one.getBoundingClientRect().right > innerWidth + 1 && !scrolls(one.parentElement))?.outerHTML;
})()"""
RESULTS = """(async () => {
  const text = () => document.querySelector("#search-results").textContent;
  for (let turn = 0; turn < 200 && !text().includes("Search finished"); turn++)
    await new Promise(resolve => setTimeout(resolve, 50));
  return [...document.querySelectorAll("ul.search li > a")].map(link => link.getAttribute("href"));
})()"""


@pytest.fixture(autouse=True, scope="module")
def built() -> None:
    if not is_built():
        missing("pages of the last change", "make docs")


def pages() -> list[str]:
    return sorted(str(path.relative_to(PAGES)) for path in PAGES.rglob("*.html")
                  if "_static" not in path.parts)  # fmt: skip


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    handler = partial(_Handler, directory=os.fspath(PAGES))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
def test_nothing_is_cut_off_or_from_elsewhere(server: str, browser: Page) -> None:
    assert len(pages()) > 60
    for page in pages():
        browser.look(WIDTHS[0])
        browser.open(f"{server}/{page}")
        for width in WIDTHS:
            browser.look(width)
            assert browser.run(CUT_OFF) is None, (page, width)
            assert browser.run("document.documentElement.scrollWidth") <= width, (page, width)
    assert [url for url in browser.requests if not url.startswith((server, "data:"))] == []


@pytest.mark.slow
def test_the_search_finds(server: str, browser: Page) -> None:
    for words, wanted in FOUND.items():
        browser.open(f"{server}/search.html?q={quote(words)}")
        links = browser.run(RESULTS)
        assert any(link.startswith(f"{wanted}.html") for link in links), (words, links)


def test_two_dashes_stay_two() -> None:
    """And quotes stay straight: commands are copied out of sentences and headings too."""
    ran = 0
    for page in pages():
        text = html.fromstring((PAGES / page).read_bytes()).find("body").text_content()
        assert not re.search("[–—“”‘’]", text), page
        ran += text.count("--")
    assert ran > 500


def test_no_line_ends_between_the_dashes_of_an_option() -> None:
    text = (PAGES / "howto/s3.html").read_text()
    assert '<span class="pre whole">--' in text
    assert '<span class="pre">--' not in text
    assert ".whole" in (PAGES / "_static/custom.css").read_text()


def test_every_code_has_its_place_and_leads_there() -> None:
    ids = html.fromstring((PAGES / "reference/problems.html").read_bytes()).xpath("//section/@id")
    assert not CATALOGUE.keys() - set(ids)
    linked = set()
    for page in pages():
        tree = html.fromstring((PAGES / page).read_bytes())
        for code in tree.xpath("//article//code[not(ancestor::pre)]"):
            if code.text_content() in CATALOGUE and not page.endswith("problems.html"):
                assert code.getparent().get("href").endswith(f"problems.html#{code.text_content()}")
                linked.add(page)
    assert linked >= {"howto/cvat.html", "howto/roboflow.html", "reference/changelog.html"}


def test_code_has_a_button_and_signatures_have_types() -> None:
    page = html.fromstring((PAGES / "reference/python.html").read_bytes())
    assert page.xpath("//script[contains(@src, 'copybutton')]")
    (section,) = page.xpath("//section[@id='data-sets']")
    assert "output: str | PathLike[str] | Sink" in " ".join(section.text_content().split())
    rows = section.xpath("(.//tr[td[1]//span = 'box_policy'])[1]/td")
    assert [cell.text_content().strip() for cell in rows][2:] == [
        "'repair'",
        "inverted boxes, and boxes partly outside the image",
    ]
