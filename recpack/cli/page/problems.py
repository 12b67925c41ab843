"""The problems on a page: a table of each code, and pictures of the images that have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import cycle, islice, zip_longest

from recpack.cli.page.classes import Keys
from recpack.cli.page.pictures import Source, Thumbnail, drawn, thumbnails
from recpack.data.annotation import Annotation
from recpack.data.samples import Treatment
from recpack.markup import Box
from recpack.problem_lines import remedy
from recpack.problems import CATALOGUE, Problem, Severity, action_text, count_text
from recpack.sources.base import Dataset
from recpack.workers.settings import Workers

_PICTURES = 60
"""The most problem images that a page shows."""
_SIDE = 320
"""Pixels of a picture's longer side."""
_MOST = 200
"""The most rows of a code."""
_TOLD = 5
"""The most problems below a picture."""
_RANK: tuple[Severity, ...] = ("error", "warning", "note")

Groups = Mapping[tuple[Severity, str], Sequence[Problem]]


def _grouped(problems: Sequence[Problem]) -> Groups:
    """The problems by severity and code, the worst first."""
    groups: dict[tuple[Severity, str], list[Problem]] = {}
    for problem in sorted(problems, key=lambda p: (_RANK.index(p.severity), p.code)):
        groups.setdefault((problem.severity, problem.code), []).append(problem)
    return groups


def problem_section(
    problems: Sequence[Problem], dataset: Dataset, keys: Keys, workers: Workers
) -> Iterator[str]:
    """The section of the problems."""
    yield f'<section id="problems"><h2>Problems <small>{len(problems):,}</small></h2>'
    if not problems:
        yield '<p class="card">None.</p></section>'
        return
    groups = _grouped(problems)
    files = _pictured(groups)
    annotations: dict[str, Annotation] = {}
    figures = list(_figures(files, groups, dataset, annotations, keys, workers))
    names = {name for annotation in annotations.values() for name in annotation.names}
    yield from _tools(groups, keys.choices(names) if names else "")
    yield '<div class="card">'
    for (severity, code), members in groups.items():
        yield from _table(severity, code, members)
    yield "</div>"
    if files:
        total = len({problem.file for problem in problems} - {"."})
        yield f"<h3>Images with problems <small>{len(files):,} of {count_text(total, 'file')}"
        yield f'</small></h3><div class="pictures s{_SIDE}">'
        yield from figures
        yield "</div>"
    yield "</section>"


def _figures(
    files: Sequence[str],
    groups: Groups,
    dataset: Dataset,
    annotations: dict[str, Annotation],
    keys: Keys,
    workers: Workers,
) -> Iterator[str]:
    """A figure for each file. Fills ``annotations``."""
    by_file: dict[str, list[Problem]] = {file: [] for file in files}
    for problem in (problem for members in groups.values() for problem in members):
        if problem.file in by_file:
            by_file[problem.file].append(problem)
    sources = _sources(by_file, dataset, annotations)
    pictures = thumbnails(sources, len(files), _SIDE, workers)
    for (file, members), picture in zip(by_file.items(), pictures, strict=True):
        annotation = annotations.get(file)
        severities = " ".join(dict.fromkeys(problem.severity for problem in members))
        codes = list(dict.fromkeys(problem.code for problem in members))
        yield f'<figure data-severity="{severities}" data-codes="{" ".join(codes)}" '
        yield f'data-classes="{keys.joined(annotation.names if annotation else ())}">'
        boxes = _boxes(annotation, picture, members, keys)
        yield drawn(picture, boxes, f"{file}: {', '.join(codes)}")
        yield from _caption(file, members)


def _sources(
    by_file: Mapping[str, Sequence[Problem]], dataset: Dataset, annotations: dict[str, Annotation]
) -> Iterator[Source]:
    """The images, read when they are needed; none where it is the image that is broken."""
    for file, members in by_file.items():
        annotation, data = dataset.look_up(file)
        if annotation is not None:
            annotations[file] = annotation
        broken = any(one.severity == "error" and one.field == "image" for one in members)
        yield None if broken else data, Treatment.UPRIGHT


def _pictured(groups: Groups) -> list[str]:
    """The files that have a picture: in turn one of each code, so that a frequent one hides no
    other."""
    turns = zip_longest(*groups.values())
    files = (problem.file for turn in turns for problem in turn if problem and problem.file != ".")
    return list(islice(dict.fromkeys(files), _PICTURES))


def _tools(groups: Groups, classes: str) -> Iterator[str]:
    yield '<form class="tools" data-for="problems">'
    severities = {severity: 0 for severity, _ in groups}
    for (severity, _), members in groups.items():
        severities[severity] += len(members)
    for severity, count in severities.items():
        yield (
            f'<label class="{severity}"><input type="checkbox" name="severity" value="{severity}" '
            f"checked> {count_text(count, severity)}</label>"
        )
    codes = "".join(
        f"<option>{code}</option>" for code in dict.fromkeys(code for _, code in groups)
    )
    yield f'<label>Code <select name="codes"><option value="">all codes</option>{codes}</select>'
    yield "</label>"
    if classes:
        yield f'<label>Class in the picture <select name="classes">{classes}</select></label>'
    yield '<label>File <input type="search" name="file"></label>'
    yield '<output aria-live="polite"></output></form>'


def _table(severity: Severity, code: str, members: Sequence[Problem]) -> Iterator[str]:
    text = remedy(severity, code)
    yield (
        f'<details data-severity="{severity}" data-codes="{code}"><summary>'
        f'<span class="{severity}">{severity}</span> <b>{code}</b> <span class="count">'
        f"{len(members):,}</span> <span>{escape(CATALOGUE[code].what)}</span></summary>"
        f"<p>{escape(text[0].upper() + text[1:])}. More: <code>recpack explain {code}</code></p>"
        '<table class="rows"><thead><tr><th scope="col">file</th><th scope="col">object</th>'
        '<th scope="col">field</th><th scope="col">value</th><th scope="col">action</th></tr>'
        "</thead><tbody>"
    )
    for problem in members[:_MOST]:
        cells = (
            problem.file, str(problem.object or ""), problem.field, problem.value,
            action_text(problem.action),
        )  # fmt: skip
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    yield "</tbody></table>"
    if len(members) > _MOST:
        yield f'<p class="hint">… and {len(members) - _MOST:,} more; a .json report has all</p>'
    yield "</details>"


def _boxes(
    annotation: Annotation | None,
    picture: Thumbnail | None,
    members: Sequence[Problem],
    keys: Keys,
) -> Iterator[Box]:
    if annotation is None or picture is None or not annotation.boxes:
        return
    bad = {problem.object for problem in members if problem.object}
    edges = (edge / side for edge, side in zip(annotation.boxes, cycle(picture[1:])))
    for name, number, *four in zip(
        annotation.names, annotation.objects, edges, edges, edges, edges, strict=True
    ):
        yield keys.box(name, four, bad=number in bad)


def _caption(file: str, members: Sequence[Problem]) -> Iterator[str]:
    yield f"<figcaption><b>{escape(file)}</b><ul>"
    for problem in members[:_TOLD]:
        number = f" object {problem.object}" if problem.object else ""
        value = escape(f"{problem.field} {problem.value}".strip())
        yield f'<li><span class="{problem.severity}">{problem.code}</span>{number} {value} '
        yield f"({action_text(problem.action)})</li>"
    if len(members) > _TOLD:
        yield f"<li>… and {len(members) - _TOLD:,} more</li>"
    yield "</ul></figcaption></figure>"
