"""The command line: parse → options → call → exit code.

Exit codes: 0 done · 1 the data or the destination is at fault · 2 usage · 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from recpack.settings import Settings


def console() -> NoReturn:
    """The console script: ``main`` in its own process, where it also handles the signals."""
    try:  # from the first moment: other imports are inside, because Ctrl-C can come in one
        import gc
        import os

        from recpack.cli.process import run_process

        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy starts faster
        gc.set_threshold(1_000_000)  # we make many small objects, but no cycles
        run_process("recpack", lambda: main(own_process=True))
    except KeyboardInterrupt:
        sys.exit(130)


def main(arguments: Sequence[str] | None = None, *, own_process: bool = False) -> int:
    """Run the command line and return its exit code. ``own_process``: nothing else runs in this
    process, so it is safe to fork workers from it."""
    from recpack.cli.parser import parser_of
    from recpack.cli.process import screens

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    backend = "fork" if own_process and sys.platform == "linux" else "loky"
    with screens():
        return _run(parser_of(backend, arguments).parse_args(arguments))


def _run(args: argparse.Namespace) -> int:
    import errno

    from recpack.cli.process import StdoutError, explain, is_interrupt
    from recpack.errors import ConfigError, DataError, RecpackError

    try:
        outcome = args.run(args)
        if args.json:
            _print_json(outcome)
        sys.stdout.flush()
        return int(args.code)
    except ConfigError as error:
        return _report_failure(args, error, _with_flags(str(error), args.settings), 2)
    except DataError as error:
        problems = [problem.as_dict() for problem in error.problems]
        codes = dict.fromkeys(one.code for one in error.problems if one.severity == "error")
        more = f"\nmore: recpack explain {' '.join(codes)}" if codes else ""
        told = str(error) if problems else _with_flags(str(error), args.settings)
        return _report_failure(args, error, f"{told}{more}", 1, problems)
    except RecpackError as error:
        return _report_failure(args, error, str(error), 1)
    except StdoutError as error:
        dry = getattr(args, "dry_run", False)
        output = not dry and (getattr(args, "output", None) or getattr(args, "folder", None))
        if error.errno == errno.EPIPE and not output:
            raise
        whole = f"{output} is whole" if output else "all else is done"
        return _report_failure(args, error, f"{error}; only this report is lost, {whole}", 1)
    except (KeyboardInterrupt, Exception) as error:
        message = explain(error)
        if message is None:
            raise
        return _report_failure(args, error, message, 130 if is_interrupt(error) else 1)


def _with_flags(message: str, settings: type[Settings]) -> str:
    """The message with options as they are typed: ``--jobs must be …`` for ``jobs: must be …``,
    ``--sse aws:kms`` for ``sse=aws:kms``, ``--min-box`` for ``min_box``."""
    import re

    from recpack.settings import options_of

    flags = {one.name: one.flag for one in options_of(settings)} | {"report": "--report"}
    pattern = "|".join(rf"\b{name}" + ("\\b" if "_" in name else "=") for name in flags)
    lines = []
    for line in message.split("\n"):
        name, colon, rest = line.partition(": ")
        if name in flags:
            name, colon = flags[name], " " if rest.startswith("must be") else colon
        rest = re.sub(pattern, lambda match: _typed(match[0], flags), rest)
        lines.append(name + colon + rest)
    return "\n".join(lines)


def _typed(name: str, flags: dict[str, str]) -> str:
    return flags[name.removesuffix("=")] + (" " if name.endswith("=") else "")


def _report_failure(
    args: argparse.Namespace,
    error: BaseException,
    message: str,
    code: int,
    problems: Sequence[object] = (),
) -> int:
    from recpack.cli.process import remedy

    message += remedy(error)
    print(f"recpack {args.command}: {message}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        print(f"recpack {args.command}: {note}", file=sys.stderr)
    if args.json:
        _print_json({"error": message, "problems": list(problems)})
    return code


def _print_json(value: object) -> None:
    import json

    from recpack.cli.terminal import is_unicode

    # for an encoding without a character Python would write escapes that are not JSON's
    print(json.dumps(value, ensure_ascii=not is_unicode()))
