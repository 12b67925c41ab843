"""What the commands of ``recpack-train`` have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import UsageError
from .request import Network
from .service import Service
from .values import whole

Command = Callable[[argparse.Namespace, Service], object]
"""Runs a command; its result is printed as JSON."""

Add = Callable[[str, Command, str, str], argparse.ArgumentParser]
"""Adds a command: its name, what runs it, its help, and the arguments of an example."""


def say(what: object) -> None:
    """Tell the user; standard output is for results."""
    print(what, file=sys.stderr)


def pairs(arguments: Sequence[str], option: str) -> dict[str, str]:
    """``name=value`` arguments of an option. Raises UsageError."""
    wrong = [argument for argument in arguments if "=" not in argument]
    if wrong:
        raise UsageError(f"{option}: {wrong[0]!r}; write name=value")
    found = (argument.partition("=") for argument in arguments)
    return {name: value for name, _, value in found}


def local_path(text: str) -> Path:
    """The path of a file or folder on this machine. Raises ArgumentTypeError for a URL, which as a
    path would be that of a folder ``s3:``."""
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text} is a URL; name a local path")
    return Path(text)


def split(text: str | None) -> list[str]:
    """``a,b`` → its parts."""
    return [name for name in (text or "").split(",") if name]


def add_network(parser: argparse.ArgumentParser, *, traffic: bool = True) -> None:
    """Tags, VPC, keys and isolation of what a command makes; ``network_of`` reads them. ``traffic``
    is for machines that work together."""
    parser.add_argument(
        "--tag", action="append", default=[], metavar="key=value",
        help="a tag of what is made; can be given several times (default: none)",
    )  # fmt: skip
    for flag, metavar, help in (
        ("--subnets", "A,B", "subnets of a VPC to run in (default: SageMaker's own network)"),
        ("--security-groups", "A,B", "their security groups"),
        ("--volume-kms-key", "KEY", "KMS key of the machines' disks (default: SageMaker's)"),
        ("--output-kms-key", "KEY", "KMS key of the output (default: the bucket's)"),
    ):
        parser.add_argument(flag, metavar=metavar, help=help)
    if traffic:
        parser.add_argument(
            "--encrypt-traffic", action="store_true", help="encrypt what machines send each other"
        )
    parser.add_argument("--isolated", action="store_true", help="no network for the container")


def network_of(args: argparse.Namespace) -> Network:
    """What the options of ``add_network`` say."""
    return Network(
        subnets=split(args.subnets), security_groups=split(args.security_groups),
        volume_kms_key=args.volume_kms_key, output_kms_key=args.output_kms_key,
        encrypt_traffic=getattr(args, "encrypt_traffic", False), isolated=args.isolated,
    )  # fmt: skip


def whole_number(text: str) -> int:
    """An option's integer; argparse's message names the option."""
    try:
        return whole(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
