"""The HTML page of a check: one file with its plots and pictures; no network, no script."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from itertools import islice

from recpack.cli.terminal import scope_text, verdict
from recpack.data.annotation import Annotation
from recpack.errors import DataError
from recpack.formats.encoding import Encoding
from recpack.formats.image_codec import decode, encode, shrink
from recpack.pipeline.check import Check
from recpack.problem_lines import remedy
from recpack.problems import CATALOGUE, Problem, Severity, action_text
from recpack.sources.base import Dataset

PICTURES = 60
"""The most problem images that a page shows."""
SIDE = 320
"""Pixels of a picture's longer side."""
_MAX_ROWS = 200

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  color: #1b1f24; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.facts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 1rem 0 }
.facts b { display: block; font-size: 1.4rem }
.verdict { padding: .5rem .8rem; border-radius: .4rem; background: #e6f4ea }
.verdict.bad { background: #fde7e9 }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 1rem }
svg text { font: 12px system-ui, sans-serif; fill: #1b1f24 }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
td, th { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #e4e7eb;
  vertical-align: top; overflow-wrap: anywhere }
.error { color: #b3261e } .warning { color: #8a5300 } .note { color: #57606a }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem }
figure { margin: 0; border: 1px solid #e4e7eb; border-radius: .4rem; overflow: hidden }
figure svg { display: block; width: 100%; background: #f3f4f6 }
figcaption { padding: .5rem .7rem; font-size: .85rem; overflow-wrap: anywhere }
.missing { padding: 3rem 1rem; text-align: center; background: #f3f4f6; color: #57606a }
"""


def page(check: Check, dataset: Dataset) -> str:
    """The whole page."""
    return "\n".join(_lines(check, dataset)) + "\n"


def _lines(check: Check, dataset: Dataset) -> Iterator[str]:
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8"><title>recpack check</title>'
    yield f"<style>{_STYLE}</style></head><body><h1>recpack check</h1>"
    style = "verdict bad" if check.refused else "verdict"
    yield f'<p class="{style}">{verdict(check)}. '
    yield f"{escape(scope_text(check.samples, check.scope))}.</p>"
    yield '<div class="facts">'
    facts = {
        "annotations": f"{check.annotations:,}",
        "samples": f"{check.samples:,}",
        **({"objects": f"{check.objects:,}"} if check.labels == "boxes" else {}),
        "label width": f"{check.label_width}",
        "image width": str(check.image_widths),
        "image height": str(check.image_heights),
        "duplicate groups": f"{len(check.duplicates):,}",
    }
    for name, value in facts.items():
        yield f"<div>{name}<b>{value}</b></div>"
    yield '</div><div class="plots">'
    noun = "Objects" if check.labels == "boxes" else "Images"
    yield _plot(f"{noun} by class", {k: v for k, v in check.classes.items() if v})
    near = check.nearest_classes
    unknown = {
        name + (f" ({near[name]}?)" if name in near else ""): count
        for name, count in check.unknown_classes.items()
    }
    yield _plot("Unknown classes", unknown)
    yield _plot("Samples by image set", check.image_sets)
    noun = "Objects" if check.labels == "boxes" else "Classes"
    yield _plot(f"{noun} per image", check.objects_per_image)
    yield _plot("Box side, pixels", check.box_sides)
    yield _plot("Box aspect, width / height", check.aspects)
    yield "</div>"
    yield from _problem_table(check.problems)
    yield from _pictures(check, dataset)
    if check.duplicates:
        yield "<h2>Images with equal bytes</h2><ul>"
        for group in check.duplicates[:_MAX_ROWS]:
            yield f"<li>{escape(' = '.join(group))}</li>"
        yield "</ul>"
    yield "</body></html>"


def _plot(title: str, counts: Mapping[str, int]) -> str:
    """A bar chart; nothing without counts."""
    if not any(counts.values()):
        return ""
    most = max(counts.values())
    bars = []
    if len(counts) > _MAX_ROWS:
        title += f" (the first {_MAX_ROWS} of {len(counts):,})"
        counts = dict(islice(counts.items(), _MAX_ROWS))
    for row, (name, count) in enumerate(counts.items()):
        y, width = 20 * row, 190 * count / most
        bars.append(
            f'<text x="115" y="{y + 14}" text-anchor="end">{escape(name[:18])}</text>'
            f'<rect x="120" y="{y + 3}" width="{width:.1f}" height="14" fill="#3b6fb6"/>'
            f'<text x="{124 + width:.1f}" y="{y + 14}">{count:,}</text>'
        )
    return (
        f'<section><h2>{escape(title)}</h2><svg viewBox="0 0 380 {20 * len(counts)}" '
        f'role="img" aria-label="{escape(title)}">{"".join(bars)}</svg></section>'
    )


def _problem_table(problems: list[Problem]) -> Iterator[str]:
    yield f"<h2>Problems ({len(problems):,})</h2>"
    if not problems:
        yield "<p>None.</p>"
        return
    groups: dict[tuple[Severity, str], list[Problem]] = {}
    rank = ("error", "warning", "note")
    for problem in sorted(problems, key=lambda p: (rank.index(p.severity), p.code)):
        groups.setdefault((problem.severity, problem.code), []).append(problem)
    for (severity, code), members in groups.items():
        yield (
            f'<details><summary><span class="{severity}">{severity}</span> <b>{code}</b> '
            f"× {len(members):,}: {escape(CATALOGUE[code].what)}. "
            f"<i>{escape(remedy(severity, code))}</i></summary>"
            "<table><tr><th>file</th><th>object</th><th>field</th><th>value</th><th>action</th></tr>"
        )
        for problem in members[:_MAX_ROWS]:
            cells = (
                problem.file, str(problem.object or ""), problem.field, problem.value,
                action_text(problem.action),
            )  # fmt: skip
            yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        if len(members) > _MAX_ROWS:
            yield f'<tr><td colspan="5">… and {len(members) - _MAX_ROWS:,} more</td></tr>'
        yield "</table></details>"


def _pictures(check: Check, dataset: Dataset) -> Iterator[str]:
    by_file: dict[str, list[Problem]] = {}
    rank = ("error", "warning", "note")
    for problem in sorted(check.problems, key=lambda p: rank.index(p.severity)):
        by_file.setdefault(problem.file, []).append(problem)
    if not by_file:
        return
    files = list(by_file)[:PICTURES]
    yield f"<h2>Problem images ({len(files):,} of {len(by_file):,})</h2>"
    yield '<div class="pictures">'
    for file in files:
        yield f"<figure>{_picture(dataset, file, by_file[file])}<figcaption><b>{escape(file)}</b>"
        for problem in by_file[file][:5]:
            value = escape(f"{problem.field} {problem.value}".strip())
            number = f" object {problem.object}" if problem.object else ""
            yield (
                f'<br><span class="{problem.severity}">{problem.code}</span>{number} {value} '
                f"({action_text(problem.action)})"
            )
        yield "</figcaption></figure>"
    yield "</div>"


def _picture(dataset: Dataset, file: str, problems: list[Problem]) -> str:
    """The image with its boxes; boxes with problems are red."""
    annotation, image = dataset.look_up(file)
    placeholder = '<div class="missing">no picture</div>'
    if image is None or any(p.severity == "error" and p.field == "image" for p in problems):
        return placeholder
    try:
        pixels = decode(image)
    except DataError:
        return placeholder
    height, width = pixels.shape[:2]
    small = encode(shrink(pixels, SIDE), Encoding(quality=80)).tobytes()
    source = base64.b64encode(small).decode("ascii")
    bad = {problem.object for problem in problems if problem.object}
    boxes = "".join(_boxes(annotation, bad, (width, height))) if annotation else ""
    return (
        f'<svg viewBox="0 0 {width} {height}"><image width="{width}" height="{height}" '
        f'href="data:image/jpeg;base64,{source}"/>{boxes}</svg>'
    )


def _boxes(annotation: Annotation, bad: set[int], size: tuple[int, int]) -> Iterator[str]:
    stroke = max(size) / 160
    for i, name in enumerate(annotation.names if annotation.boxes else ()):
        left, top, right, bottom = annotation.boxes[4 * i : 4 * i + 4]
        colour = "#e5342b" if annotation.objects[i] in bad else "#16a34a"
        x, y = min(left, right), min(top, bottom)
        label_y = min(max(y - stroke, max(size) / 30), size[1])
        yield (
            f'<rect x="{x:g}" y="{y:g}" width="{abs(right - left):g}" '
            f'height="{abs(bottom - top):g}" fill="none" stroke="{colour}" '
            f'stroke-width="{stroke:.2f}"/><text x="{min(max(x, 0), size[0]):g}" '
            f'y="{label_y:g}" style="font-size:{max(size) / 28:.1f}px;fill:{colour};'
            f'paint-order:stroke;stroke:#fff;stroke-width:{stroke:.2f}px">{escape(name[:40])}</text>'
        )
