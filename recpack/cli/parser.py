"""The parser of the command line: every command, with options from its settings."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from recpack._version import __version__
from recpack.command_line import Parser, suggest

if TYPE_CHECKING:
    from recpack.settings import Field, Settings

_DEVKIT = "devkit folder or its archives (tar, zip), also on s3://…; other formats: see --from"
_REC = ".rec file: path or s3://…"


class Command(NamedTuple):
    """A command: its function (``module:function`` of this package), its help and an example, a
    function that adds the arguments without a setting, and its settings (``module:class``).
    Function and settings are imported only when the user types the command."""

    name: str
    run: str
    help: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    settings: str


def _import(name: str) -> Any:
    module, _, name = name.partition(":")
    return getattr(import_module(f"recpack.{module}"), name)


def _devkit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("devkit", nargs="+", metavar="DEVKIT", help=_DEVKIT)


def _detect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", nargs="+", metavar="PATH",
        help="folder, archives of one data set, or file; also on s3://…",
    )  # fmt: skip


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--report", metavar="FILE.json", help="write all problems to a file")


def _convert(parser: argparse.ArgumentParser) -> None:
    _devkit(parser)
    parser.add_argument(
        "output", metavar="OUT.rec",
        help="path or s3://bucket/key.rec; also x.manifest, or a folder (its name ends in /)",
    )  # fmt: skip
    _report(parser)


def _list(parser: argparse.ArgumentParser) -> None:
    _devkit(parser)
    parser.add_argument("output", metavar="OUT.lst", help="file to write")
    _report(parser)


def _pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("list", metavar="LIST", help=".lst file")
    parser.add_argument(
        "root", metavar="ROOT", help="folder (or archive) that the list's paths are relative to"
    )
    parser.add_argument("output", metavar="OUT.rec", help="path or s3://bucket/key.rec")
    _report(parser)


def _check(parser: argparse.ArgumentParser) -> None:
    _devkit(parser)
    parser.add_argument(
        "--report", metavar="FILE", help="write the result as JSON, or to FILE.html as a page"
    )


def _rec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rec", metavar="REC", help=_REC)


def _inspect(parser: argparse.ArgumentParser) -> None:
    _rec(parser)
    parser.add_argument("--record", type=int, metavar="N", help="show the record at position N")


def _merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="OUT.rec", help="path or s3://bucket/key.rec")
    parser.add_argument("rec", nargs="+", metavar="REC", help=".rec files, paths or s3://…")


def _rewrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rec", metavar="IN.rec", help=_REC)
    parser.add_argument("output", metavar="OUT.rec", help="path or s3://bucket/key.rec")


def _split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rec", metavar="IN.rec", help=_REC)
    parser.add_argument(
        "output", nargs="?", metavar="OUT.rec", help="what the parts are named after (default: IN)"
    )


def _unpack(parser: argparse.ArgumentParser) -> None:
    _rec(parser)
    parser.add_argument("folder", metavar="DIR", help="a new or empty folder")


def _preview(parser: argparse.ArgumentParser) -> None:
    _rec(parser)
    parser.add_argument("output", metavar="OUT.png", help="picture to write (.png, .jpg)")


def _cleanup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prefix", metavar="PREFIX", help="s3://bucket/prefix")


def _download(parser: argparse.ArgumentParser) -> None:
    names = ("voc2007", "voc2007-test", "voc2012")
    suggest(parser.add_argument("name", nargs="+", metavar="NAME", help=", ".join(names)), names)
    parser.add_argument("folder", metavar="DIR", help="folder to write to")


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", default="recpack-demo", metavar="DIR", help="default: %(default)s"
    )


def _explain(parser: argparse.ArgumentParser) -> None:
    from recpack.problems import CATALOGUE

    codes = parser.add_argument(
        "codes", nargs="*", metavar="CODE", help="a problem code (default: list all)"
    )
    suggest(codes, CATALOGUE)


COMMANDS = (
    Command(
        "convert", "cli.datasets:run_convert",
        "convert a data set into .rec, .idx, .lst and manifest",
        "recpack convert VOCdevkit out/train.rec --year 2007,2012 --set trainval",
        _convert, "options:ConvertOptions",
    ),
    Command(
        "list", "cli.datasets:run_list", "write only the rows of a data set",
        "recpack list VOCdevkit train.lst --year 2007 --precision 4 --no-shuffle",
        _list, "options:ListOptions",
    ),
    Command(
        "pack", "cli.datasets:run_pack", "pack an existing .lst and its image root, as im2rec does",
        "recpack pack train.lst VOCdevkit train.rec",
        _pack, "options:PackOptions",
    ),
    Command(
        "check", "cli.datasets:run_check",
        "find all problems of a data set, write nothing",
        "recpack check VOCdevkit --year 2007 --report check.html",
        _check, "options:CheckOptions",
    ),
    Command(
        "detect", "cli.detect:run_detect",
        "say what a path is, and the commands to convert and check it",
        "recpack detect VOCdevkit",
        _detect, "options:DetectSettings",
    ),
    Command(
        "inspect", "cli.records:run_inspect", "show what is in a .rec",
        "recpack inspect train.rec --record 0",
        _inspect, "records.settings:InspectSettings",
    ),
    Command(
        "verify", "cli.records:run_verify", "compare a .rec with its manifest",
        "recpack verify s3://bucket/prefix/train/train.rec",
        _rec, "records.settings:VerifySettings",
    ),
    Command(
        "index", "cli.records:run_index", "rebuild a missing .idx", "recpack index train.rec",
        _rec, "records.settings:ReplaceSettings",
    ),
    Command(
        "merge", "cli.records:run_merge", "join several .rec files into one, images unchanged",
        "recpack merge all.rec voc2007.rec voc2012.rec",
        _merge, "records.settings:MergeSettings",
    ),
    Command(
        "shuffle", "cli.records:run_shuffle",
        "write the records in a random order, images unchanged",
        "recpack shuffle train.rec shuffled.rec --seed 3",
        _rewrite, "options:ShuffleSettings",
    ),
    Command(
        "split", "cli.records:run_split",
        "split a .rec by class into train, val (and test), images unchanged",
        "recpack split all.rec --fractions 0.8/0.2",
        _split, "options:SplitSettings",
    ),
    Command(
        "filter", "cli.records:run_filter",
        "keep the objects of some classes, or large ones, images unchanged",
        "recpack filter all.rec pets.rec --classes cat,dog --min-box 16",
        _rewrite, "options:FilterSettings",
    ),
    Command(
        "unpack", "cli.records:run_unpack", "turn a .rec back into images, annotations and a list",
        "recpack unpack train.rec unpacked",
        _unpack, "records.settings:ReplaceSettings",
    ),
    Command(
        "preview", "cli.records:run_preview", "draw records with their boxes on one sheet",
        "recpack preview train.rec sheet.png --count 25",
        _preview, "records.settings:PreviewSettings",
    ),
    Command(
        "s3-cleanup", "cli.datasets:run_s3_cleanup",
        "abort the uploads that killed runs left open below an S3 prefix (also the uploads of "
        "runs that still work)",
        "recpack s3-cleanup s3://bucket/prefix --dry-run",
        _cleanup, "options:CleanupSettings",
    ),
    Command(
        "download", "cli.datasets:run_download",
        "download the archives of Pascal VOC and verify their checksums",
        "recpack download voc2007 voc2012 archives",
        _download, "options:DownloadSettings",
    ),
    Command(
        "demo", "cli.datasets:run_demo",
        "make a small devkit, convert it to a file and to a local S3 server, verify, draw it",
        "recpack demo recpack-demo",
        _demo, "sinks.settings:Replace",
    ),
    Command(
        "explain", "cli.explain:run_explain",
        "tell what a problem code means, and what to do",
        "recpack explain box-outside",
        _explain, "settings:NoSettings",
    ),
)  # fmt: skip


GROUPS = {
    "make": ("convert", "list", "pack"),
    "look": ("detect", "check", "inspect", "verify", "preview"),
    "change": ("index", "merge", "shuffle", "split", "filter", "unpack"),
    "S3 and downloads": ("s3-cleanup", "download"),
    "learn": ("demo", "explain", "help", "completion"),
}
"""The commands, as the help shows them."""

_USUAL = (
    "source_format", "set", "classes", "split", "resize", "on_error", "overwrite", "jobs",
    "dry_run",
)  # fmt: skip
"""The options that the help shows first, where a command has many."""
_MANY = 12


def parser_of(backend: str, arguments: Sequence[str] | None = None) -> Parser:
    """The parser. ``backend`` is the default of ``--backend``. With ``arguments``, only the command
    that they name gets its options, because making the options of all takes time."""
    parser = Parser(
        prog="recpack",
        description="Convert data sets for object detection and image classification to MXNet "
        "RecordIO.",
        example="recpack demo\n  recpack convert VOCdevkit train.rec",
        groups=GROUPS,
    )
    parser.add_version(__version__)
    # without prog, argparse formats the usage to find it, which takes time
    subparsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", prog="recpack"
    )
    for command in COMMANDS:
        needed = arguments is None or command.name in arguments
        sub = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.help[0].upper() + command.help[1:] + ".",
            example=command.example,
            add_help=needed,
        )
        if needed:
            _fill(sub, command, backend)
    parser.add_help_commands(subparsers, partial(parser_of, backend))
    return parser


def _fill(parser: Parser, command: Command, backend: str) -> None:
    from recpack.settings import options_of, rooms

    kind: type[Settings] = _import(command.settings)
    parser.set_defaults(run=_import(command.run), code=0, settings=kind)
    parser.general.add_argument(
        "-q", "--quiet", action="store_true", help="print nothing but errors"
    )
    parser.general.add_argument(
        "--json", action="store_true", help="print one JSON object on standard output"
    )
    command.arguments(parser)
    many = sum(1 for _ in options_of(kind)) > _MANY
    groups: dict[str, argparse._ActionsContainer] = {}
    for room, options in rooms(kind):
        for one in options:
            group: argparse._ActionsContainer = parser
            if not (many and one.name in _USUAL):
                if room.title not in groups:
                    groups[room.title] = parser.add_argument_group(room.title)
                group = groups[room.title]
            default = backend if one.name == "backend" else one.default
            _add(group, one, default)


def _add(group: argparse._ActionsContainer, one: Field, default: object) -> None:
    help = one.option.help
    if default not in (None, False) and "default" not in help:
        help += " (default: %(default)s)"
    common: dict[str, Any] = {"dest": one.name, "default": default, "help": help}
    if one.kinds == (bool,):
        group.add_argument(one.flag, action="store_true", **common)
        return
    if one.choices:
        common["choices"] = one.choices
    else:
        common["metavar"] = one.option.metavar
    if one.kinds == (int,):
        common["type"] = int
    if one.length > 1:
        common |= {"nargs": one.length, "metavar": tuple((one.option.metavar or "").split())}
    if one.off is None:
        action = group.add_argument(*filter(None, (one.option.short, one.flag)), **common)
        if one.option.words:
            suggest(action, one.option.words)
        return
    pair = group.add_mutually_exclusive_group()
    pair.add_argument(one.flag, **common)
    no = "--no-" + one.flag.removeprefix("--")
    pair.add_argument(
        no, dest=one.name, action="store_const", const=None, default=default, help=one.off
    )
