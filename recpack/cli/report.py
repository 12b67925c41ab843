"""A check as text for a terminal, as JSON, and as one HTML page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from recpack.formats.manifest import Manifest
from recpack.pipeline.check import Check
from recpack.problems import CATALOGUE, Problem
from recpack.sources.base import Dataset
from recpack.storage.files import write_lines

PAGES = (".html", ".htm")
_BAR = 30
_EXAMPLES = 3


def write_report(path: Path, check: Check, dataset: Dataset) -> None:
    """Write a page to ``.html``, JSON to any other name; whole or not at all.

    Raises SinkError when it can't be written.
    """
    if path.suffix in PAGES:
        from recpack.cli.page import page

        write_text(path, page(check, dataset))
    else:
        write_text(path, json.dumps(check.as_dict(), indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a report, whole or not at all; names of no encoding with escapes (valid in JSON)."""
    write_lines(path, [text.encode("utf-8", "backslashreplace").decode()])


def problem_report(problems: Iterable[Problem]) -> str:
    """The problems of a conversion as JSON."""
    listed = [problem.as_dict() for problem in problems]
    counts = Counter(problem["code"] for problem in listed)
    report = {"problem_counts": dict(counts.most_common()), "problems": listed}
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def text_report(check: Check, block: str = "█") -> Iterator[str]:
    """The lines of a terminal's report, its bars made of ``block``."""
    drawn = partial(bars, block=block)
    yield f"{check.annotations:,} annotations, {check.samples:,} samples, {check.objects:,} objects"
    yield f"label width {check.label_width}"
    yield f"image width  {check.image_widths}"
    yield f"image height {check.image_heights}"
    if len(check.image_sets) > 1:
        yield from drawn("samples by image set", check.image_sets)
    present = {name: count for name, count in check.classes.items() if count}
    absent = [name for name, count in check.classes.items() if not count]
    yield from drawn("objects by class", present, check.class_images)
    if absent:
        yield f"  no object of: {', '.join(absent)}"
    yield from drawn("unknown classes", check.unknown_classes)
    for name, near in check.nearest_classes.items():
        yield f"  {name}: did you mean {near}?"
    yield from drawn("objects an image", check.objects_per_image)
    yield from drawn("box side (square root of the area, pixels)", check.box_sides)
    yield from drawn("box aspect (width / height)", check.aspects)
    if check.duplicates:
        yield ""
        yield f"duplicates: {len(check.duplicates):,} groups of images with equal bytes"
        for group in check.duplicates[:_EXAMPLES]:
            yield "  " + " = ".join(group[:4]) + (" = …" if len(group) > 4 else "")
    yield ""
    yield from problem_lines(check.problems)
    yield ""
    yield "convert would stop here" if check.refused else "convert would go through"


def problem_lines(problems: list[Problem]) -> Iterator[str]:
    """Problems grouped by code, each group with its count, its meaning and some examples."""
    if not problems:
        yield "no problems"
        return
    for severity in ("error", "warning", "note"):
        groups: dict[str, list[Problem]] = {}
        for problem in problems:
            if problem.severity == severity:
                groups.setdefault(problem.code, []).append(problem)
        for code, found in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
            what, remedy, _ = CATALOGUE[code]
            done = Counter(problem.action for problem in found)
            actions = ", ".join(
                f"{count:,} {'refused' if action == 'error' else action}"
                for action, count in done.most_common()
            )
            yield f"{severity}  {code}: {what}; {actions}"
            yield f"    remedy: {remedy}"
            for problem in found[:_EXAMPLES]:
                where = problem.file + (f", object {problem.object}" if problem.object else "")
                value = f": {problem.field} {problem.value}".rstrip() if problem.value else ""
                yield f"    {where}{value}"
            if len(found) > _EXAMPLES:
                yield f"    … and {len(found) - _EXAMPLES:,} more"


def bars(
    title: str,
    counts: Mapping[str, int],
    images: Mapping[str, int] | None = None,
    *,
    block: str,
) -> Iterator[str]:
    """A bar for each count; with ``images`` a second column tells in how many images."""
    if not any(counts.values()):
        return
    yield ""
    yield title
    width = max(map(len, counts))
    most = max(counts.values())
    for name, count in counts.items():
        bar = block * round(count / most * _BAR)
        beside = f" in {images[name]:,} images" if images is not None else ""
        yield f"  {name:<{width}}  {bar:<{_BAR}}  {count:,}{beside}"


def manifest_rows(manifest: Manifest) -> list[tuple[str, str]]:
    """What a manifest says, for ``terminal.print_table``."""
    rows = [("samples", f"{manifest.num_samples:,}")]
    if manifest.rec["bytes"] is not None:
        rows.append(("bytes", f"{manifest.rec['bytes']:,}"))
    present = {name: count for name, count in manifest.objects.items() if count}
    counts = ", ".join(f"{name} {count:,}" for name, count in list(present.items())[:20])
    rows += [
        ("classes", f"{len(manifest.classes)}"),
        ("objects", f"{sum(present.values()):,} ({counts})" if present else "0"),
        ("label width", f"{manifest.label_width}"),
    ]
    for action, codes in manifest.problems.items():
        rows.append((action, ", ".join(f"{count:,} {code}" for code, count in codes.items())))
    return rows
