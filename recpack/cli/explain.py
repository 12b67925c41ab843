"""``recpack explain``: what the problem codes mean."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterator

from recpack.display import did_you_mean
from recpack.errors import ConfigError
from recpack.explanations import EXPLANATIONS
from recpack.problems import CATALOGUE

_NARROWEST, _WIDEST = 60, 100


def run_explain(args: argparse.Namespace) -> object:
    args.codes = [code.strip("[]") for code in args.codes]  # as pages write them
    faults = [
        f"{code!r} is no problem code{_near(code)}" for code in args.codes if code not in CATALOGUE
    ]
    if faults:
        raise ConfigError("\n".join([*faults, "all codes: recpack explain"]))
    if not (args.quiet or args.json):
        width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
        print("\n".join(_texts(args.codes, width) if args.codes else _rows(width)))
    return [
        {"code": code, "severity": CATALOGUE[code].severity, **EXPLANATIONS[code]._asdict()}
        for code in args.codes or CATALOGUE
    ]


def _near(code: str) -> str:
    alike = [one for one in CATALOGUE if one.startswith(f"{code}-")]
    return f"; there are {', '.join(alike)}" if len(alike) > 1 else did_you_mean(code, CATALOGUE)


def _rows(width: int) -> Iterator[str]:
    longest = max(map(len, CATALOGUE))
    for code, (what, _, severity) in CATALOGUE.items():
        row = f"{code:<{longest}}  {severity:<7}  {what}"
        yield from textwrap.wrap(row, width, subsequent_indent=" " * (longest + 11))


def _texts(codes: list[str], width: int) -> Iterator[str]:
    for number, code in enumerate(codes):
        meaning, example, remedies = EXPLANATIONS[code]
        if number:
            yield ""
        yield f"{code} ({CATALOGUE[code].severity})"
        yield from textwrap.wrap(meaning, width, initial_indent="  ", subsequent_indent="  ")
        yield f"  example: {example}"
        yield "  what to do:"
        for remedy in remedies:
            text, colon, command = remedy.rpartition(": recpack ")
            text = text + ":" * bool(text) if colon else remedy
            yield from textwrap.wrap(text, width, initial_indent="  - ", subsequent_indent="    ")
            if colon:
                yield f"      recpack {command}"
