"""``recpack detect``: what a path is, on one screen."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from shlex import join
from typing import TYPE_CHECKING

from recpack.cli.datasets import keywords
from recpack.cli.terminal import print_line, print_table

if TYPE_CHECKING:
    from recpack.pipeline.detected import Detected

_MOST = 8
"""Names of a kind that are told."""
_LABELS = {
    "boxes": "boxes with classes",
    "class": "one class for each image",
    "classes": "several classes for each image",
    "numbers": "numbers",
}


def run_detect(args: argparse.Namespace) -> object:
    from recpack.pipeline.detect import detect

    found = detect(args.path, **keywords(args))
    if not (args.quiet or args.json):
        print_table(list(_rows(found)))
        if found.near:
            print_line("")
            print_line("look at one of these:")
            for path, text in found.near.items():
                print_line(f"  {join(['recpack', 'detect', path])}  # {text}")
        if found.commands:
            print_line("")
            width = max(map(len, found.commands))
            for name, command in found.commands.items():
                print_line(f"{name:<{width}}  {command}")
    args.code = int(bool(found.fault))
    return found.as_dict()


def _rows(found: Detected) -> Iterator[tuple[str, str]]:
    noun = {"rec": "records", "lst": "rows"}.get(found.format or "", "images")
    yield "path", found.path
    yield "format", found.text or "none that recpack reads"
    if found.fault:
        yield "fault", found.fault
    if found.image_sets:
        sets = _counts(found.image_sets) if noun == "images" else ""
        yield noun, f"{sum(found.image_sets.values()):,}" + (f": {sets}" if sets else "")
    if found.other_sets:
        yield "other sets", _counts(found.other_sets)
    if found.labels:
        yield "labels", _LABELS[found.labels]
    if found.classes:
        every = found.examined == sum(found.image_sets.values())
        counted = "objects" if found.labels == "boxes" else noun
        of = "" if every else f"; {counted} of the first {found.examined:,} {noun}"
        yield "classes", f"{len(found.classes):,}: {_counts(found.classes)}{of}"
    if found.problems:
        codes = _counts(found.problems)
        yield "errors", f"{codes} in the first {found.examined:,}; recpack check lists all"
    if found.unread:
        yield "not read", _some(found.unread)
    if found.also:
        yield "also", f"it looks like {' and '.join(found.also)} too: name one with --from"


def _counts(counts: Mapping[str, int | None]) -> str:
    return _some(
        [name if count is None else f"{name} ({count:,})" for name, count in counts.items()]
    )


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _MOST:,} more"] if len(names) > _MOST else []
    return ", ".join([*islice(names, _MOST), *more])
