"""Reports of a check: text for a terminal, JSON, or one HTML page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path

from recpack.cli.terminal import is_page, scope_text, verdict
from recpack.data.classes import VOC_CLASSES
from recpack.display import harmless
from recpack.pipeline.check import Check
from recpack.problem_lines import group_lines, near_hint
from recpack.problems import Problem, count_text
from recpack.sources.base import Dataset
from recpack.storage.files import write_lines
from recpack.workers.settings import Workers

_BAR = 30
_EXAMPLES = 3
_MOST_BARS = 100


def write_report(
    path: Path, check: Check, dataset: Dataset, workers: Workers | None = None
) -> None:
    """Write an HTML page to ``.html``, JSON to any other name; completely or not at all. Without
    ``workers`` this process makes the page's pictures.

    Raises SinkError when it can't be written.
    """
    if is_page(path):
        from recpack.cli.page.document import page

        write_text(path, page(check, dataset, workers or Workers(jobs=1)))
    else:
        write_text(path, json.dumps(check.as_dict(), indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a report, completely or not at all. Control characters, and file names that are not
    text, get escapes, which JSON allows."""
    write_lines(path, [harmless(text).encode("utf-8", "backslashreplace").decode()])


def problem_report(problems: Iterable[Problem], error: str | None = None) -> str:
    """The problems of a conversion as JSON, with the ``error`` that ended it."""
    rows = [problem.as_dict() for problem in problems]
    counts = Counter(problem["code"] for problem in rows)
    report: dict[str, object] = {"problem_counts": dict(counts.most_common()), "problems": rows}
    if error is not None:
        report["error"] = error
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def text_report(check: Check, block: str = "█") -> Iterator[str]:
    """The lines of a report for a terminal; its bars consist of ``block``."""
    chart = partial(bars, block=block)
    boxes = check.labels == "boxes"
    noun = "object" if boxes else "image"
    counts = [(check.annotations, "annotation"), (check.samples, "sample")]
    counts += [(check.objects, "object")] if boxes else []
    yield ", ".join(count_text(count, noun) for count, noun in counts)
    yield f"label width {check.label_width}"
    yield f"image width  {check.image_widths}"
    yield f"image height {check.image_heights}"
    if len(check.image_sets) > 1:
        yield from chart("samples by image set", check.image_sets)
    present = {name: count for name, count in check.classes.items() if count}
    absent = [name for name, count in check.classes.items() if not count]
    yield from chart(f"{noun}s by class", present, check.class_images if boxes else None)
    if absent and check.labels != "numbers":
        names = absent[:_MOST_BARS] + ["…"] * (len(absent) > _MOST_BARS)
        yield f"  no {noun} of: {', '.join(names)}"
    yield from chart("unknown classes", check.unknown_classes)
    for name, near in check.nearest_classes.items():
        # without --classes the names are Pascal VOC's, which nobody typed
        used = check.classes[near] > 0 or tuple(check.classes) == VOC_CLASSES
        yield f"  {name}: {near_hint(name, near, used=used)}"
    yield from chart(f"{'object' if boxes else 'classe'}s per image", check.objects_per_image)
    yield from chart("box side (square root of the area, pixels)", check.box_sides)
    yield from chart("box aspect (width / height)", check.aspects)
    if check.duplicates:
        yield ""
        groups = count_text(len(check.duplicates), "group")
        yield f"duplicates: {groups} of images with equal bytes"
        for group in check.duplicates[:_EXAMPLES]:
            yield "  " + " = ".join(group[:4]) + (" = …" if len(group) > 4 else "")
    yield ""
    yield from problem_lines(check.problems)
    yield ""
    yield verdict(check)
    yield scope_text(check.samples, check.scope)


def problem_lines(problems: list[Problem]) -> Iterator[str]:
    """Problems by code, each code with its counts, its meaning and some examples."""
    if not problems:
        yield "no problems"
        return
    yield from group_lines(problems, _EXAMPLES)
    codes = [code for code, _ in Counter(problem.code for problem in problems).most_common()]
    yield f"more: recpack explain {' '.join(codes)}"


def bars(
    title: str,
    counts: Mapping[str, int],
    images: Mapping[str, int] | None = None,
    *,
    block: str,
) -> Iterator[str]:
    """A bar for each count; ``images`` adds the number of images."""
    if not any(counts.values()):
        return
    yield ""
    yield title
    width = max(map(len, counts))
    most = max(counts.values())
    for name, count in islice(counts.items(), _MOST_BARS):
        bar = block * round(count / most * _BAR)
        spread = f" in {count_text(images[name], 'image')}" if images is not None else ""
        yield f"  {name:<{width}}  {bar:<{_BAR}}  {count:,}{spread}"
    if len(counts) > _MOST_BARS:
        yield f"  … and {len(counts) - _MOST_BARS:,} more"
