"""The pages that ``make docs`` built, in a browser without network: nothing is cut off or lost at
three widths, light and dark, and the search finds what people type."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from lxml import html

from recpack.problems import CATALOGUE

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/_build/html"


def is_built() -> bool:
    """Whether the pages were built since their sources changed."""
    made = PAGES / "search.html"
    sources = [ROOT / "recpack/problems.py", *(ROOT / "docs").glob("[!_]*/**/*")]
    newest = max(path.stat().st_mtime for path in (*sources, *(ROOT / "docs").glob("*.*")))
    return made.exists() and newest <= made.stat().st_mtime


pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not is_built(), reason="make docs was not run since the last change"),
]
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
HARNESS = """<!doctype html><meta charset="utf-8"><body><script>
const load = (url, width) => new Promise(resolve => {
  const frame = document.createElement("iframe");
  frame.style.cssText = `border:0;height:900px;width:${width}px`;
  frame.onload = () => resolve(frame);
  frame.src = url;
  document.body.append(frame);
});
const later = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));
const scrolls = one => one.tagName != "ARTICLE" &&
  (["auto", "scroll"].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
(async () => {
  const wide = [], found = {};
  for (const page of PAGES) {
    const frame = await load(page, 380);
    for (const width of [380, 800, 1400]) {
      frame.style.width = `${width}px`;
      const element = [...frame.contentDocument.querySelectorAll("article *")].find(
        one => one.getBoundingClientRect().right > width + 1 && !scrolls(one.parentElement));
      if (element) wide.push([page, width, element.outerHTML.slice(0, 200)]);
    }
    frame.remove();
  }
  for (const words of QUERIES) {
    const frame = await load(`search.html?q=${encodeURIComponent(words)}`, 1000);
    const text = () => frame.contentDocument.querySelector("#search-results").textContent;
    for (let turn = 0; turn < 100 && !text().includes("Search finished"); turn++) await later(100);
    const links = frame.contentDocument.querySelectorAll("ul.search li > a");
    found[words] = [...links].map(link => link.getAttribute("href"));
    frame.remove();
  }
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify({wide, found});
  document.body.append(result);
})();
</script>"""


def pages() -> list[str]:
    return sorted(str(path.relative_to(PAGES)) for path in PAGES.rglob("*.html")
                  if "_static" not in path.parts)  # fmt: skip


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/harness.html":
            return super().do_GET()
        text = HARNESS.replace("PAGES", json.dumps(pages())).replace(
            "QUERIES", json.dumps([*FOUND])
        )
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

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
def test_nothing_is_cut_off_and_the_search_finds(server: str, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run")  # fmt: skip
    dom = subprocess.run(
        [browser, *flags, f"--user-data-dir={tmp_path}", "--virtual-time-budget=600000",
         "--dump-dom", f"{server}/harness.html"],
        capture_output=True, check=True, timeout=300, text=True,
    ).stdout  # fmt: skip
    (text,) = html.fromstring(dom).xpath("//pre[@id='result']/text()")
    result = json.loads(text)
    assert len(pages()) > 60
    assert result["wide"] == []
    missed = {
        words: links for words, links in result["found"].items()
        if not any(link.startswith(f"{FOUND[words]}.html") for link in links)
    }  # fmt: skip
    assert missed == {}


def test_two_dashes_stay_two() -> None:
    """And quotes stay straight: commands are copied out of sentences and headings too."""
    ran = 0
    for page in pages():
        text = html.fromstring((PAGES / page).read_bytes()).find("body").text_content()
        assert not re.search("[–—“”‘’]", text), page
        ran += text.count("--")
    assert ran > 500


def test_every_code_has_its_place() -> None:
    ids = html.fromstring((PAGES / "reference/problems.html").read_bytes()).xpath("//section/@id")
    assert not CATALOGUE.keys() - set(ids)


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
