"""Options that several commands share."""

from __future__ import annotations

import argparse

from recpack.formats import SOURCE_FORMATS


def source_options(parser: argparse.ArgumentParser) -> None:
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
    group.add_argument(
        "--images", metavar="DIR", help="folder of the images, where it can't be seen"
    )
    group.add_argument(
        "--annotations", metavar="DIR", help="that of a devkit's annotations, likewise"
    )


def label_options(parser: argparse.ArgumentParser) -> None:
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


def policy_options(parser: argparse.ArgumentParser, *, only_errors: bool = False) -> None:
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


def image_options(parser: argparse.ArgumentParser) -> None:
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


def run_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the run")
    worker_options(group)
    group.add_argument(
        "--segment-size", default="16MiB", metavar="SIZE",
        help="bytes that a worker packs at a time (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--overwrite", action="store_true", help="replace an existing output")
    group.add_argument("--report", metavar="FILE.json", help="write all problems to a file")


def access_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("S3 (credentials come from AWS's usual places)")
    group.add_argument("--endpoint-url", metavar="URL", help="another store than AWS")
    group.add_argument(
        "--requester-pays", action="store_true", help="pay for requests to a bucket that asks it"
    )
    return group


def upload_options(parser: argparse.ArgumentParser) -> None:
    group = access_options(parser)
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


def worker_options(group: argparse._ArgumentGroup) -> None:
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
