"""What the command line takes: every command with its options and its help."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from recpack import __version__, commands, rec_commands
from recpack.formats import OUTPUT_FORMATS, SOURCE_FORMATS

_DEVKIT = "devkit folder, or tar archives of it; also s3://bucket/…"

Command = Callable[[argparse.Namespace], object]
"""Runs a command; what it returns is printed as JSON with ``--json``."""


def parser_of(backend: str) -> argparse.ArgumentParser:
    """The whole parser. ``backend``: of the workers, unless asked for another."""
    parser = argparse.ArgumentParser(
        prog="recpack",
        description="Pascal VOC data sets to MXNet RecordIO: fast, exact, validated.",
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

    convert = command(
        "convert", commands.run_convert, "convert a devkit into .rec, .idx, .lst and manifest",
        "recpack convert VOCdevkit out/train.rec --year 2007,2012 --set trainval",
    )  # fmt: skip
    convert.add_argument("devkit", nargs="+", metavar="DEVKIT", help=_DEVKIT)
    convert.add_argument(
        "output", metavar="OUT.rec",
        help="path or s3://bucket/key.rec; also x.manifest, or a folder with / behind its name",
    )  # fmt: skip
    convert.add_argument(
        "--to", dest="output_format", choices=OUTPUT_FORMATS,
        help="the output's format (default: what its name says)",
    )  # fmt: skip
    convert.add_argument(
        "--images-url", metavar="s3://…",
        help="where an augmented manifest's images are (default: where they were read)",
    )  # fmt: skip
    rows = command(
        "list", commands.run_list, "write only the rows of a devkit",
        "recpack list VOCdevkit train.lst --year 2007 --precision 4 --no-shuffle",
    )  # fmt: skip
    rows.add_argument("devkit", nargs="+", metavar="DEVKIT", help=_DEVKIT)
    rows.add_argument("output", metavar="OUT.lst", help="file to write")
    pack = command(
        "pack", commands.run_pack, "pack an existing .lst and its image root, as im2rec does",
        "recpack pack train.lst VOCdevkit train.rec",
    )  # fmt: skip
    pack.add_argument("list", metavar="LIST", help=".lst file")
    pack.add_argument(
        "root", metavar="ROOT", help="folder (or tar) that the list's paths are relative to"
    )
    pack.add_argument("output", metavar="OUT.rec", help="path or s3://bucket/key.rec")
    check = command(
        "check", commands.run_check, "find everything that is wrong with a devkit, write nothing",
        "recpack check VOCdevkit --year 2007 --report check.html",
    )  # fmt: skip
    check.add_argument("devkit", nargs="+", metavar="DEVKIT", help=_DEVKIT)
    check.add_argument(
        "--report", metavar="FILE", help="write all of it as JSON, or to FILE.html as a page"
    )
    inspect = command(
        "inspect", rec_commands.run_inspect, "show what is in a .rec",
        "recpack inspect train.rec --record 0",
    )  # fmt: skip
    inspect.add_argument("rec", metavar="REC", help=".rec file, path or s3://…")
    inspect.add_argument("--record", type=int, metavar="N", help="show the record at position N")
    verify = command(
        "verify", rec_commands.run_verify, "compare a .rec with its manifest",
        "recpack verify s3://bucket/prefix/train/train.rec",
    )  # fmt: skip
    verify.add_argument("rec", metavar="REC", help=".rec file, path or s3://…")
    verify.add_argument(
        "--deep", action="store_true",
        help="read all of it, also on S3, where the stored checksum is compared by default",
    )  # fmt: skip
    verify.add_argument(
        "--reader", metavar="NAME",
        help="what sagemaker, mxnet, gluoncv or dali demands of each record",
    )  # fmt: skip
    verify.add_argument(
        "--against", nargs=2, metavar=("LIST", "ROOT"),
        help="compare each record with its row and its file",
    )  # fmt: skip
    verify.add_argument("--jobs", type=int, metavar="N", help="workers (default: all cores)")
    index = command(
        "index", rec_commands.run_index, "make a lost .idx again", "recpack index train.rec"
    )
    index.add_argument("rec", metavar="REC", help=".rec file, path or s3://…")
    merge = command(
        "merge", rec_commands.run_merge, "several .rec files into one, images untouched",
        "recpack merge all.rec voc2007.rec voc2012.rec",
    )  # fmt: skip
    merge.add_argument("output", metavar="OUT.rec", help="path or s3://bucket/key.rec")
    merge.add_argument("rec", nargs="+", metavar="REC", help=".rec files, paths or s3://…")
    unpack = command(
        "unpack", rec_commands.run_unpack, "back to images, annotations and a list",
        "recpack unpack train.rec unpacked",
    )  # fmt: skip
    unpack.add_argument("rec", metavar="REC", help=".rec file, path or s3://…")
    unpack.add_argument("folder", metavar="DIR", help="an empty folder, or none yet")
    preview = command(
        "preview", rec_commands.run_preview, "draw records with their boxes on one sheet",
        "recpack preview train.rec sheet.png --count 25",
    )  # fmt: skip
    preview.add_argument("rec", metavar="REC", help=".rec file, path or s3://…")
    preview.add_argument("output", metavar="OUT.png", help="picture to write (.png, .jpg)")
    preview.add_argument("--records", metavar="N,…", help="these positions (default: by chance)")
    preview.add_argument("--count", type=int, default=16, metavar="N", help="default: %(default)s")
    preview.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice")
    for sub in (index, merge, unpack):
        sub.add_argument("--overwrite", action="store_true", help="replace what is there")
    cleanup = command(
        "s3-cleanup", rec_commands.run_s3_cleanup,
        "abort the uploads that killed runs left open below an S3 prefix (and those of runs that "
        "are still going)",
        "recpack s3-cleanup s3://bucket/prefix --dry-run",
    )  # fmt: skip
    cleanup.add_argument("prefix", metavar="PREFIX", help="s3://bucket/prefix")
    cleanup.add_argument("--all", action="store_true", help="also uploads that others began")
    cleanup.add_argument("--dry-run", action="store_true", help="list them, abort nothing")
    download = command(
        "download", commands.run_download, "fetch the archives of Pascal VOC, and prove them",
        "recpack download voc2007 voc2012 archives",
    )  # fmt: skip
    download.add_argument("name", nargs="+", metavar="NAME", help="voc2007, voc2007-test, voc2012")
    download.add_argument("folder", metavar="DIR", help="where to put them")
    download.add_argument("--mirror", metavar="URL", help="a folder of the archives elsewhere")
    demo = command(
        "demo", commands.run_demo,
        "make a small devkit, convert it, also into S3 on loopback, read it back, draw it",
        "recpack demo recpack-demo",
    )  # fmt: skip
    demo.add_argument(
        "folder", nargs="?", default="recpack-demo", metavar="DIR", help="default: %(default)s"
    )
    demo.add_argument("--overwrite", action="store_true", help="replace what DIR holds of a demo")

    for sub in (convert, rows, check):
        _source_options(sub)
        _label_options(sub)
        _policy_options(sub)
    _policy_options(pack, only_errors=True)
    pack.add_argument(
        "--classes",
        metavar="C",
        help="names for the manifest: voc, a file, or a,b,c (default: ids)",
    )
    for sub in (convert, pack):
        _image_options(sub)
    convert.add_argument(
        "--im2rec-pixels", action="store_true",
        help="resize large photographs from full size, to im2rec's very pixels; slower",
    )  # fmt: skip
    rows.add_argument("--center-crop", action="store_true", help="as convert --center-crop")
    for sub in (convert, pack):
        _upload_options(sub)
    for sub in (rows, check, inspect, verify, index, merge, unpack, preview, cleanup):
        _access_options(sub)
    for sub in (convert, rows, pack):
        _run_options(sub)
        sub.add_argument("--report", metavar="FILE.json", help="write all problems to a file")
    _worker_options(check.add_argument_group("the run"))
    for sub in (convert, rows, pack, check, verify):
        sub.set_defaults(backend=backend)
    convert.add_argument(
        "--split", metavar="F/F",
        help="write x_train.rec and x_val.rec (and x_test.rec) for x.rec, by class, like 0.8/0.2",
    )  # fmt: skip
    for sub in (convert, rows):
        sub.add_argument("--dry-run", action="store_true", help="scan and judge, write nothing")
    return parser


def _source_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to read")
    group.add_argument(
        "--from", dest="source_format", choices=SOURCE_FORMATS,
        help="the data set's format (default: what it looks like)",
    )  # fmt: skip
    group.add_argument("--year", metavar="Y,…", help="years, in this order (default: all found)")
    group.add_argument(
        "--set", metavar="S,…",
        help="image sets, one for all years or one each (default: trainval)",
    )  # fmt: skip
    group.add_argument("--images", metavar="DIR", help="image folder of any other layout")
    group.add_argument("--annotations", metavar="DIR", help="annotation folder of that layout")


def _label_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("labels and order")
    group.add_argument(
        "--classes", metavar="C",
        help="voc, auto, a file, or a,b,c; a=b makes b an alias of a (default: voc for a devkit, "
        "the data's own names for other formats)",
    )  # fmt: skip
    order = group.add_mutually_exclusive_group()
    order.add_argument(
        "--shuffle", type=int, default=0, metavar="SEED", help="shuffle (default: seed 0)"
    )
    order.add_argument(
        "--no-shuffle", dest="shuffle", action="store_const", const=None,
        help="keep the devkit's order",
    )  # fmt: skip
    group.add_argument(
        "--precision", type=int, metavar="N",
        help="decimals of a label; 4 is the AWS tool's (default: full float32)",
    )  # fmt: skip
    group.add_argument(
        "--one-based", action="store_true", help="subtract 1 from xmin and ymin first"
    )
    group.add_argument(
        "--difficult", choices=("keep", "drop", "column"), default="keep",
        help="difficult objects: keep, drop, or keep with a sixth column (default: keep)",
    )  # fmt: skip


def _policy_options(parser: argparse.ArgumentParser, *, only_errors: bool = False) -> None:
    group = parser.add_argument_group("bad data")
    if not only_errors:
        group.add_argument(
            "--box-policy", choices=("repair", "drop", "error"), default="repair",
            help="inverted boxes and those that reach out of the image (default: repair)",
        )  # fmt: skip
        group.add_argument(
            "--negatives", choices=("drop", "keep", "error"), default="drop",
            help="images without objects (default: drop, and count)",
        )  # fmt: skip
        group.add_argument(
            "--unknown-class", choices=("error", "skip"), default="error",
            help="objects of other classes (default: error)",
        )  # fmt: skip
        group.add_argument(
            "--size-mismatch", choices=("error", "rescale"), default="error",
            help="boxes that fit only <size>, not the image (default: error)",
        )  # fmt: skip
        group.add_argument("--strict", action="store_true", help="warnings count as errors")
    group.add_argument(
        "--on-error", choices=("fail", "skip"), default="fail",
        help="skip packs the rest and lists what was left out (default: fail)",
    )  # fmt: skip


def _image_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("images (JPEG and PNG pass through untouched by default)")
    group.add_argument(
        "--resize", type=int, default=0, metavar="N", help="pixels of the shorter side"
    )
    group.add_argument(
        "--quality", type=int, metavar="Q",
        help="of changed images: JPEG 1 to 100 (95), PNG compression 0 to 9 (3)",
    )  # fmt: skip
    group.add_argument(
        "--encoding", choices=("jpg", "png"), default="jpg", help="of changed images"
    )
    group.add_argument("--reencode", action="store_true", help="decode and encode every image")
    group.add_argument("--center-crop", action="store_true", help="crop to the centred square")


def _run_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the run")
    _worker_options(group)
    group.add_argument(
        "--segment-size", default="16MiB", metavar="SIZE",
        help="bytes that a worker packs at a time (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--overwrite", action="store_true", help="replace an existing output")


def _access_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("S3 (credentials come from AWS's usual places)")
    group.add_argument("--endpoint-url", metavar="URL", help="another store than AWS")
    group.add_argument(
        "--requester-pays", action="store_true", help="pay for requests to a bucket that asks it"
    )
    return group


def _upload_options(parser: argparse.ArgumentParser) -> None:
    group = _access_options(parser)
    group.add_argument(
        "--resume", action="store_true",
        help="continue an interrupted upload; if this one fails, leave it to be continued",
    )  # fmt: skip
    group.add_argument(
        "--uploads", type=int, default=16, metavar="N",
        help="requests in flight in all (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--checksum", choices=("crc32", "crc64nvme", "none"), default="crc32",
        help="sent with each part and kept with the object (default: crc32)",
    )  # fmt: skip
    group.add_argument("--storage-class", metavar="CLASS", help="of the .rec")
    group.add_argument(
        "--sse", choices=("AES256", "aws:kms", "aws:kms:dsse"), help="encryption at rest"
    )
    group.add_argument("--kms-key-id", metavar="KEY", help="of aws:kms")


def _worker_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--jobs", type=int, metavar="N", help="workers (default: all cores)")
    group.add_argument(
        "--backend",
        metavar="NAME",
        help="of the workers: fork, dask, ray, or any of joblib (default: %(default)s)",
    )
    group.add_argument(
        "--scheduler", metavar="tcp://HOST:PORT", help="with --backend dask: the cluster's"
    )
    group.add_argument(
        "--address", metavar="HOST:PORT", help="with --backend ray: the cluster's (or auto)"
    )
