"""The command line ``recpack-train``. Exit codes: 0 done, 1 refused or failed, 2 usage, 130
interrupted."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence

from recpack import __version__

from .cli_hosting import add_commands as add_hosting_commands
from .cli_jobs import add_commands as add_job_commands
from .cli_models import add_commands as add_model_commands
from .cli_parts import Command, say
from .errors import TrainError, UsageError
from .service import Service


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = parser().parse_args(arguments)
    command: Command = args.command
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        warnings.simplefilter("always", UserWarning)
        try:
            answer = command(args, Service(args.region, args.endpoint_url))
        except KeyboardInterrupt as error:
            say("interrupted")
            _print_notes(error)
            return 130
        except Exception as error:
            if not isinstance(error, (TrainError, OSError)) and not _is_aws(error):
                raise
            say(f"recpack-train: {error}")
            _print_notes(error)
            return 2 if isinstance(error, UsageError) else 1
    if answer is not None:
        print(json.dumps(answer, indent=2), flush=True)
    return 0


def _is_aws(error: Exception) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    return isinstance(error, (BotoCoreError, ClientError))


def _print_notes(error: BaseException) -> None:
    for note in getattr(error, "__notes__", ()):
        say(f"recpack-train: {note}")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recpack-train",
        description="Amazon SageMaker object detection and image classification, from the .rec and "
        "manifest of recpack.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subs = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Command, help: str, example: str) -> argparse.ArgumentParser:
        sub = subs.add_parser(
            name, help=help, description=help[0].upper() + help[1:] + ".",
            epilog=f"example: recpack-train {name} {example}",
        )  # fmt: skip
        sub.set_defaults(command=run, options=sub)
        sub.add_argument("--region", help="default: the configured AWS region")
        sub.add_argument("--endpoint-url", metavar="URL", help="of a service that is not AWS")
        return sub

    add_job_commands(command)
    add_hosting_commands(command)
    add_model_commands(command)
    return parser
