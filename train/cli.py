"""The command line ``recpack-train``. Exit codes: 0 done, 1 refused or failed, 2 usage, 130
interrupted."""

from __future__ import annotations

import json
import os
import warnings
from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr

from recpack import __version__
from recpack.command_line import Parser
from recpack.display import did_you_mean, near_missing

from .cli_hosting import add_commands as add_hosting_commands
from .cli_jobs import add_commands as add_job_commands
from .cli_models import add_commands as add_model_commands
from .cli_parts import Command, say
from .errors import MissingError, TrainError, UsageError
from .service import Service


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = parser().parse_args(arguments)
    command: Command = args.command
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        warnings.simplefilter("always", UserWarning)
        try:
            service = Service(args.region, args.endpoint_url)
            with _nothing_told() if args.quiet else nullcontext():
                answer = command(args, service)
        except KeyboardInterrupt as error:
            say("interrupted")
            _print_notes(error)
            return 130
        except Exception as error:
            if not isinstance(error, (TrainError, OSError)) and not _is_aws(error):
                raise
            near = near_missing(error)
            if isinstance(error, MissingError):
                near = _near(error, service)
            say(f"{args.options.prog}: {_with_flags(str(error), args.options)}{near}")
            _print_notes(error)
            return 2 if isinstance(error, UsageError) else 1
    if answer is not None:
        print(json.dumps(answer, indent=2), flush=True)
    return 0


@contextmanager
def _nothing_told() -> Iterator[None]:
    """What this block says on standard error is lost."""
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        yield


def _with_flags(message: str, command: Parser) -> str:
    """The message with options as they are typed: ``--max-wait: …`` for ``max_wait: …``."""
    flags = {one.dest: one.option_strings[-1] for one in command._actions if one.option_strings}
    lines = []
    for line in message.split("\n"):
        names, colon, rest = line.partition(": ")
        lines.append(", ".join(flags.get(name, name) for name in names.split(", ")) + colon + rest)
    return "\n".join(lines)


def _is_aws(error: Exception) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    return isinstance(error, (BotoCoreError, ClientError))


def _near(error: MissingError, service: Service) -> str:
    from .listing import newest_names

    return did_you_mean(
        error.name, (name for kind in error.kinds for name in newest_names(kind, service))
    )


def _print_notes(error: BaseException) -> None:
    for note in getattr(error, "__notes__", ()):
        say(f"recpack-train: {note}")


GROUPS = {
    "train": ("fit", "tune", "status", "logs", "stop"),
    "use a model": ("deploy", "predict", "evaluate", "transform", "results", "export"),
    "endpoints and prices": ("endpoints", "delete", "cost"),
    "learn": ("help", "completion"),
}
"""The commands, as the help shows them."""


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ArgumentTypeError(f"must be http(s)://host:port (got {text!r})")
    return text


def parser() -> Parser:
    top = Parser(
        prog="recpack-train",
        description="Amazon SageMaker object detection and image classification, from the .rec and "
        "manifest of recpack.",
        groups=GROUPS,
        has_json=False,
    )
    top.add_version(__version__)
    subs = top.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Command, help: str, example: str) -> Parser:
        sub = subs.add_parser(
            name, help=help, description=help[0].upper() + help[1:] + ".",
            example=f"recpack-train {name} {example}", has_json=False,
        )  # fmt: skip
        sub.general.add_argument(
            "-q", "--quiet", action="store_true", help="print nothing but results and errors"
        )
        sub.set_defaults(command=run, options=sub)
        sub.general.add_argument("--region", help="default: the configured AWS region")
        sub.general.add_argument(
            "--endpoint-url", metavar="URL", type=_url, help="of a service that is not AWS"
        )
        return sub

    add_job_commands(command)
    add_hosting_commands(command)
    add_model_commands(command)
    top.add_help_commands(subs, parser)
    return top
