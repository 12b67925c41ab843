"""What the command line takes: every command with its options and its help."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from recpack import __version__, commands, rec_commands
from recpack.formats import OUTPUT_FORMATS
from recpack.option_groups import (
    access_options,
    image_options,
    label_options,
    policy_options,
    run_options,
    source_options,
    upload_options,
    worker_options,
)

_DEVKIT = "devkit folder, or tar archives of it; also s3://bucket/…, and other formats: see --from"
_REC = ".rec file, path or s3://…"

Command = Callable[[argparse.Namespace], object]
"""Runs a command; what it returns is printed as JSON with ``--json``."""
Adder = Callable[[str, Command, str, str], argparse.ArgumentParser]
"""Adds a command: its name, what runs it, its help and an example."""


def parser_of(backend: str) -> argparse.ArgumentParser:
    """The whole parser. ``backend``: of the workers, unless asked for another."""
    parser = argparse.ArgumentParser(
        prog="recpack",
        description="Data sets for object detection to MXNet RecordIO: fast, exact, validated.",
    )
    parser.add_argument("--version", action="version", version=f"recpack {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Command, help: str, example: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.set_defaults(run=run, code=0)
        sub.add_argument("--quiet", action="store_true", help="print nothing but errors")
        sub.add_argument(
            "--json", action="store_true", help="print one JSON object on standard output"
        )
        return sub

    for making in (_convert, _list, _pack, _check):
        making(command).set_defaults(backend=backend)
    _inspect(command)
    _verify(command).set_defaults(backend=backend)
    for finished in (_index, _merge, _unpack, _preview, _cleanup, _download, _demo):
        finished(command)
    return parser


def _convert(command: Adder) -> argparse.ArgumentParser:
    sub = command(
        "convert", commands.run_convert, "convert a data set into .rec, .idx, .lst and manifest",
        "recpack convert VOCdevkit out/train.rec --year 2007,2012 --set trainval",
    )  # fmt: skip
    sub.add_argument("devkit", nargs="+", metavar="DEVKIT", help=_DEVKIT)
    sub.add_argument(
        "output", metavar="OUT.rec",
        help="path or s3://bucket/key.rec; also x.manifest, or a folder with / behind its name",
    )  # fmt: skip
    sub.add_argument(
        "--to", dest="output_format", choices=OUTPUT_FORMATS,
        help="the output's format (default: what its name says)",
    )  # fmt: skip
    sub.add_argument(
        "--images-url", metavar="s3://…",
        help="where an augmented manifest's images are (default: where they were read)",
    )  # fmt: skip
    source_options(sub)
    label_options(sub)
    policy_options(sub)
    image_options(sub)
    sub.add_argument(
        "--im2rec-pixels", action="store_true",
        help="resize large photographs from full size, to im2rec's very pixels; slower",
    )  # fmt: skip
    upload_options(sub)
    run_options(sub)
    sub.add_argument(
        "--split", metavar="F/F",
        help="write x_train.rec and x_val.rec (and x_test.rec) for x.rec, by class, like 0.8/0.2",
    )  # fmt: skip
    sub.add_argument("--dry-run", action="store_true", help="scan and judge, write nothing")
    return sub


def _list(command: Adder) -> argparse.ArgumentParser:
    sub = command(
        "list", commands.run_list, "write only the rows of a data set",
        "recpack list VOCdevkit train.lst --year 2007 --precision 4 --no-shuffle",
    )  # fmt: skip
    sub.add_argument("devkit", nargs="+", metavar="DEVKIT", help=_DEVKIT)
    sub.add_argument("output", metavar="OUT.lst", help="file to write")
    source_options(sub)
    label_options(sub)
    policy_options(sub)
    sub.add_argument("--center-crop", action="store_true", help="as convert --center-crop")
    access_options(sub)
    run_options(sub)
    sub.add_argument("--dry-run", action="store_true", help="scan and judge, write nothing")
    return sub


def _pack(command: Adder) -> argparse.ArgumentParser:
    sub = command(
        "pack", commands.run_pack, "pack an existing .lst and its image root, as im2rec does",
        "recpack pack train.lst VOCdevkit train.rec",
    )  # fmt: skip
    sub.add_argument("list", metavar="LIST", help=".lst file")
    sub.add_argument(
        "root", metavar="ROOT", help="folder (or tar) that the list's paths are relative to"
    )
    sub.add_argument("output", metavar="OUT.rec", help="path or s3://bucket/key.rec")
    sub.add_argument(
        "--classes",
        metavar="C",
        help="names for the manifest: voc, a file, or a,b,c (default: ids)",
    )
    policy_options(sub, only_errors=True)
    image_options(sub)
    upload_options(sub)
    run_options(sub)
    return sub


def _check(command: Adder) -> argparse.ArgumentParser:
    sub = command(
        "check", commands.run_check,
        "find everything that is wrong with a data set, write nothing",
        "recpack check VOCdevkit --year 2007 --report check.html",
    )  # fmt: skip
    sub.add_argument("devkit", nargs="+", metavar="DEVKIT", help=_DEVKIT)
    sub.add_argument(
        "--report", metavar="FILE", help="write all of it as JSON, or to FILE.html as a page"
    )
    source_options(sub)
    label_options(sub)
    policy_options(sub)
    access_options(sub)
    worker_options(sub.add_argument_group("the run"))
    return sub


def _inspect(command: Adder) -> argparse.ArgumentParser:
    sub = command(
        "inspect", rec_commands.run_inspect, "show what is in a .rec",
        "recpack inspect train.rec --record 0",
    )  # fmt: skip
    sub.add_argument("rec", metavar="REC", help=_REC)
    sub.add_argument("--record", type=int, metavar="N", help="show the record at position N")
    access_options(sub)
    return sub


def _verify(command: Adder) -> argparse.ArgumentParser:
    sub = command(
        "verify", rec_commands.run_verify, "compare a .rec with its manifest",
        "recpack verify s3://bucket/prefix/train/train.rec",
    )  # fmt: skip
    sub.add_argument("rec", metavar="REC", help=_REC)
    sub.add_argument(
        "--deep", action="store_true",
        help="read all of it, also on S3, where the stored checksum is compared by default",
    )  # fmt: skip
    sub.add_argument(
        "--reader", metavar="NAME",
        help="what sagemaker, mxnet, gluoncv or dali demands of each record",
    )  # fmt: skip
    sub.add_argument(
        "--against", nargs=2, metavar=("LIST", "ROOT"),
        help="compare each record with its row and its file",
    )  # fmt: skip
    sub.add_argument("--jobs", type=int, metavar="N", help="workers (default: all cores)")
    access_options(sub)
    return sub


def _index(command: Adder) -> None:
    sub = command(
        "index", rec_commands.run_index, "make a lost .idx again", "recpack index train.rec"
    )
    sub.add_argument("rec", metavar="REC", help=_REC)
    _replacing(sub)


def _merge(command: Adder) -> None:
    sub = command(
        "merge", rec_commands.run_merge, "several .rec files into one, images untouched",
        "recpack merge all.rec voc2007.rec voc2012.rec",
    )  # fmt: skip
    sub.add_argument("output", metavar="OUT.rec", help="path or s3://bucket/key.rec")
    sub.add_argument("rec", nargs="+", metavar="REC", help=".rec files, paths or s3://…")
    _replacing(sub)


def _unpack(command: Adder) -> None:
    sub = command(
        "unpack", rec_commands.run_unpack, "back to images, annotations and a list",
        "recpack unpack train.rec unpacked",
    )  # fmt: skip
    sub.add_argument("rec", metavar="REC", help=_REC)
    sub.add_argument("folder", metavar="DIR", help="an empty folder, or none yet")
    _replacing(sub)


def _replacing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    access_options(parser)


def _preview(command: Adder) -> None:
    sub = command(
        "preview", rec_commands.run_preview, "draw records with their boxes on one sheet",
        "recpack preview train.rec sheet.png --count 25",
    )  # fmt: skip
    sub.add_argument("rec", metavar="REC", help=_REC)
    sub.add_argument("output", metavar="OUT.png", help="picture to write (.png, .jpg)")
    sub.add_argument("--records", metavar="N,…", help="these positions (default: by chance)")
    sub.add_argument("--count", type=int, default=16, metavar="N", help="default: %(default)s")
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice")
    access_options(sub)


def _cleanup(command: Adder) -> None:
    sub = command(
        "s3-cleanup", rec_commands.run_s3_cleanup,
        "abort the uploads that killed runs left open below an S3 prefix (and those of runs that "
        "are still going)",
        "recpack s3-cleanup s3://bucket/prefix --dry-run",
    )  # fmt: skip
    sub.add_argument("prefix", metavar="PREFIX", help="s3://bucket/prefix")
    sub.add_argument("--all", action="store_true", help="also uploads that others began")
    sub.add_argument("--dry-run", action="store_true", help="list them, abort nothing")
    access_options(sub)


def _download(command: Adder) -> None:
    sub = command(
        "download", commands.run_download, "fetch the archives of Pascal VOC, and prove them",
        "recpack download voc2007 voc2012 archives",
    )  # fmt: skip
    sub.add_argument("name", nargs="+", metavar="NAME", help="voc2007, voc2007-test, voc2012")
    sub.add_argument("folder", metavar="DIR", help="where to put them")
    sub.add_argument("--mirror", metavar="URL", help="a folder of the archives elsewhere")


def _demo(command: Adder) -> None:
    sub = command(
        "demo", commands.run_demo,
        "make a small devkit, convert it, also into S3 on loopback, read it back, draw it",
        "recpack demo recpack-demo",
    )  # fmt: skip
    sub.add_argument(
        "folder", nargs="?", default="recpack-demo", metavar="DIR", help="default: %(default)s"
    )
    sub.add_argument("--overwrite", action="store_true", help="replace what DIR holds of a demo")
