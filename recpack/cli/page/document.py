"""The page as a whole: its head, the numbers, and the sections."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from itertools import islice

from recpack.cli.page.classes import Keys, bar, class_table
from recpack.cli.page.problems import problem_section
from recpack.cli.page.samples import Examples
from recpack.cli.terminal import scope_text, verdict
from recpack.data.statistics import Spread
from recpack.options import CheckOptions
from recpack.pipeline.check import Check
from recpack.settings import options_of
from recpack.sources.base import Dataset
from recpack.workers.settings import Workers

_MOST = 200
"""The most bars of a plot, and the most groups of equal images."""


def page(check: Check, dataset: Dataset, workers: Workers) -> str:
    """The whole page. ``workers`` shrink its pictures."""
    return "\n".join(_lines(check, dataset, workers)) + "\n"


def _lines(check: Check, dataset: Dataset, workers: Workers) -> Iterator[str]:
    style, script = (_asset(f"page.{kind}") for kind in ("css", "js"))
    # only the style and the script of this file are run, whatever is in a name, and no network
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    yield '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
    name = escape(", ".join(check.names))
    yield f"<title>{name}: recpack check</title><style>{style}</style></head><body>"
    keys = Keys(check.classes)
    examples = Examples(check, keys)
    yield from _head(check)
    yield from class_table(check, keys, examples.classes)
    yield from _plots(check)
    yield from examples.section(dataset, workers)
    yield from problem_section(check.problems, dataset, keys, workers)
    yield from _duplicates(check)
    yield f"</main><footer>recpack {check.recpack_version}</footer>"
    yield f"<script>{script}</script></body></html>"


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The source expression of a Content-Security-Policy."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _head(check: Check) -> Iterator[str]:
    scope = check.scope
    sets = ", ".join(scope.sets)
    yield '<div class="top"><div class="inner"><strong>recpack check</strong>'
    yield '<nav aria-label="Sections"></nav>'
    yield '<button type="button" id="theme" hidden></button></div></div>'
    yield f"<header><h1>{escape(', '.join(check.names))}</h1>"
    yield f'<p class="about">{escape(scope.format)} · {escape(sets)} · recpack '
    yield f"{check.recpack_version}</p>"
    yield f"<pre><code>{_whole(_command(check))}</code></pre></header><main>"
    style, mark = ("bad", "✗") if check.refused else ("good", "✓")
    yield f'<p class="verdict {style}"><span aria-hidden="true">{mark}</span> '
    yield f"<span><b>{escape(verdict(check))}</b> {_whole(scope_text(check.samples, scope))}"
    yield '</span></p><dl class="facts">'
    for name, value in _facts(check).items():
        yield f"<div><dt>{name}</dt><dd>{value}</dd></div>"
    yield "</dl>"


def _whole(text: str) -> str:
    """As HTML that ends no line between the dashes of an option."""
    return re.sub(r"--[\w-]+", r'<span class="whole">\g<0></span>', escape(text))


def _command(check: Check) -> str:
    """The command that made the page, without folders of its machine."""
    words = ["recpack", "check", *check.names]
    for one in options_of(CheckOptions):
        if one.name in check.options:
            value = check.options[one.name]
            if value is None:
                words.append(one.flag.replace("--", "--no-", 1))
                continue
            words.append(one.flag)
            if value is not True:
                words.append(str(value) if isinstance(value, (str, int)) else ",".join(value))
    return shlex.join(words)


def _facts(check: Check) -> dict[str, str]:
    facts = {"annotations": f"{check.annotations:,}", "samples": f"{check.samples:,}"}
    if check.labels == "boxes":
        facts["objects"] = f"{check.objects:,}"
    if check.labels != "numbers":
        facts["classes"] = f"{sum(map(bool, check.classes.values())):,}"
    return facts | {
        "image width": _range(check.image_widths),
        "image height": _range(check.image_heights),
        "label width": f"{check.label_width:,}",
        "equal images": f"{sum(map(len, check.duplicates)):,}",
        "problems": f'<a href="#problems">{len(check.problems):,}</a>',
    }


def _range(spread: Spread) -> str:
    if spread.low == spread.high:
        return f"{spread.low:,.6g}"
    middle = f"<small>median {spread.median:,.6g}</small>"
    return f"{spread.low:,.6g}–{spread.high:,.6g} {middle}"


def _plots(check: Check) -> Iterator[str]:
    noun = "Objects" if check.labels == "boxes" else "Classes"
    near = check.nearest_classes
    unknown = {
        name + (f" ({near[name]}?)" if name in near else ""): count
        for name, count in check.unknown_classes.items()
    }
    yield '<section id="numbers"><h2>Numbers</h2><div class="plots">'
    yield from _plot("Unknown classes", unknown)
    yield from _plot("Samples by image set", check.image_sets)
    yield from _plot(f"{noun} per image", check.objects_per_image)
    yield from _plot("Box side, pixels", check.box_sides)
    yield from _plot("Box aspect, width / height", check.aspects)
    yield "</div></section>"


def _plot(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    """A bar chart; nothing without counts."""
    if not any(counts.values()):
        return
    most = max(counts.values())
    more = f" <small>the first {_MOST} of {len(counts):,}</small>" if len(counts) > _MOST else ""
    yield f'<div class="card"><table class="plot"><caption>{title}{more}</caption><tbody>'
    for name, count in islice(counts.items(), _MOST):
        yield f'<tr><th scope="row">{escape(name)}</th><td>{bar(count / most)}</td>'
        yield f"<td>{count:,}</td></tr>"
    yield "</tbody></table></div>"


def _duplicates(check: Check) -> Iterator[str]:
    if not check.duplicates:
        return
    count = len(check.duplicates)
    yield f'<section id="equal"><h2>Equal images <small>{count:,}</small></h2><ul class="card">'
    for group in check.duplicates[:_MOST]:
        yield f"<li>{escape(' = '.join(group))}</li>"
    if count > _MOST:
        yield f"<li>… and {count - _MOST:,} more</li>"
    yield "</ul></section>"
