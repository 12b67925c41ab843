"""Make the documentation: pictures and reference by recpack itself, pages by Sphinx, then look at
every link. ``python docs/make.py``; warnings are errors."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
from lxml import html

import train.cli
from recpack import RecordReader
from recpack.cli.app import main as recpack
from recpack.cli.parser import parser_of
from recpack.explanations import EXPLANATIONS
from recpack.options import Options
from recpack.problems import CATALOGUE
from recpack.settings import rooms

DOCS = Path(__file__).parent
GENERATED = DOCS / "generated"
PAGES = DOCS / "_build" / "html"


def generate() -> None:
    shutil.rmtree(GENERATED, ignore_errors=True)
    (GENERATED / "static").mkdir(parents=True)
    with TemporaryDirectory() as folder:
        demo = Path(folder, "demo")
        run("demo", demo, "--quiet")
        # the README, which no build makes, shows a copy of this: docs/images/sheet.jpg
        sheet = ("--count", 8, "--cell", 230, "--quiet")
        run("preview", demo / "train.rec", GENERATED / "sheet.jpg", *sheet)
        cut_out(demo / "train.rec", demo / "things")
        run("convert", demo / "things", demo / "things.rec", "--quiet")
        run("preview", demo / "things.rec", GENERATED / "things.jpg", *sheet)
        report = str(GENERATED / "static" / "check.html")
        wrong = ["--classes", "ball,box", "--set", "trainval"]  # the report has something to say
        if recpack(["check", f"{demo}/VOCdevkit", *wrong, "--report", report, "--quiet"]) != 1:
            sys.exit("recpack check did not miss the third class")
    (DOCS / "reference" / "commands.md").write_text("\n".join(commands()))
    (DOCS / "reference" / "problems.md").write_text("\n".join(problems()))
    page = ["# Options\n", "Of `convert`; other commands have those that concern them.\n"]
    for title, table in options().items():
        page += [f"## {title[0].upper()}{title[1:]}\n", *table, ""]
        name = title.partition(" (")[0].replace(" ", "-")
        (GENERATED / f"{name}.md").write_text("\n".join(table) + "\n")
    (DOCS / "reference" / "options.md").write_text("\n".join(page))


def cut_out(rec: Path, folder: Path) -> None:
    """The objects of a ``.rec`` as images in a folder for each class."""
    with RecordReader(rec) as records:
        names = records.manifest().classes
        for number, record in enumerate(records):
            picture = cv2.imdecode(np.frombuffer(record.image_bytes, np.uint8), cv2.IMREAD_COLOR)
            for id, *edges in record.boxes:
                left, top, right, bottom = np.round(
                    edges * np.tile(picture.shape[1::-1], 2)
                ).astype(int)
                place = folder / names[int(id)] / f"{number}-{left}-{top}.jpg"
                place.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(place), picture[top:bottom, left:right])


def run(*arguments: object) -> None:
    if code := recpack([str(argument) for argument in arguments]):
        sys.exit(f"recpack {arguments[0]} ended with {code}")


def commands() -> Iterator[str]:
    yield "# Commands\n"
    yield "Exit codes: 0 done, 1 data or destination at fault, 2 usage, 130 interrupted.\n"
    for parser in (parser_of("fork"), train.cli.parser()):
        yield f"## {parser.prog}\n"
        (subparsers,) = (
            action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
        )
        for name, sub in subparsers.choices.items():
            sub.formatter_class = wide
            yield f"### {parser.prog} {name}\n\n```text\n{sub.format_help().rstrip()}\n```\n"


def wide(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=96)


def problems() -> Iterator[str]:
    yield "# Problem codes\n"
    yield "What `check` and `convert` tell of the data, and `recpack explain CODE` in a terminal."
    yield "Codes never change their meaning; an option of the policies can make one more or less"
    yield "severe.\n"
    yield "| code | severity | what it is |\n|---|---|---|"
    for code, (what, _, severity) in CATALOGUE.items():
        yield f"| [{code}](#{code}) | {severity} | {escaped(what)} |"
    for code, (meaning, example, remedies) in EXPLANATIONS.items():
        yield f"\n## {code}\n\n{escaped(meaning)}\n\n```text\n{example}\n```\n"
        for remedy in remedies:
            text, colon, command = remedy.rpartition(": recpack ")
            shown = f"{escaped(text)}: `recpack {command}`" if colon else escaped(remedy)
            yield f"- {shown}"


def options() -> dict[str, list[str]]:
    """The options of ``convert`` as a table for each group, by the group's title."""
    tables: dict[str, list[str]] = {}
    for room, found in rooms(Options):
        for one in found:
            values = ", ".join(f"`{choice}`" for choice in one.choices)
            shown = values or f"`{one.option.metavar or 'yes or no'}`"
            help = one.option.help
            if one.default not in (None, False) and "default" not in help:
                help += f" (default: {one.default})"
            row = f"| `{one.flag}` | `{one.name}` | {shown} | {escaped(help)} |"
            head = ["| option | keyword | value | |", "|---|---|---|---|"]
            tables.setdefault(room.title, head).append(row)
    return tables


def escaped(text: str) -> str:
    for character in "<>|*_[]":
        text = text.replace(character, "\\" + character)
    return text


def broken_links() -> Iterator[str]:
    """Links of the pages to files and headings that are not there."""
    pages = {path: html.fromstring(path.read_bytes()) for path in PAGES.rglob("*.html")}
    anchors = {path: set(page.xpath("//@id | //@name")) for path, page in pages.items()}
    for path, page in pages.items():
        for link in page.xpath("//@href | //@src"):
            parts = urlsplit(unquote(link))
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / parts.path).resolve() if parts.path else path
            if not target.exists():
                yield f"{path.relative_to(PAGES)}: {link}: no such file"
            elif parts.fragment and parts.fragment not in anchors.get(target, {parts.fragment}):
                yield f"{path.relative_to(PAGES)}: {link}: no such heading"


def main() -> int:
    generate()
    shutil.rmtree(DOCS / "_build", ignore_errors=True)
    from sphinx.cmd.build import main as sphinx  # a test of the link check does without

    if code := sphinx(["-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(PAGES)]):
        return code
    broken = list(broken_links())
    print("\n".join(broken) or f"{PAGES}/index.html: every link leads somewhere")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
