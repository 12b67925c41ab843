"""The command line: parse → options → call → exit code.

Exit codes: 0 done · 1 the data or the destination is at fault · 2 usage · 130 interrupted.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from recpack.cli.parser import parser_of
from recpack.errors import ConfigError, DataError, RecpackError

if TYPE_CHECKING:
    from recpack.settings import Settings


def console() -> NoReturn:
    """The console script: ``main`` in its own process, where it also handles the signals."""
    _fill_closed_streams()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy starts faster
    gc.set_threshold(1_000_000)  # we make many small objects, but no cycles
    signal.signal(signal.SIGTERM, _interrupt)
    code = main(own_process=True)
    if "recpack.workers.fork" in sys.modules:
        sys.modules["recpack.workers.fork"].kill()  # the workers are idle; a clean stop is slow
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done, Python only cleans up
    gc.freeze()  # else Python looks for garbage among all objects of botocore
    # Python remembers that Ctrl-C came inside an exec (as dataclasses do) until the next one, and
    # python -m recpack would end by the signal instead of with the code
    exec("")
    sys.exit(code)


def _fill_closed_streams() -> None:
    """Replace closed standard streams by the null device: else the next file that is opened gets
    the stream's number, here and in the workers."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def main(arguments: Sequence[str] | None = None, *, own_process: bool = False) -> int:
    """Run the command line and return its exit code. ``own_process``: nothing else runs in this
    process, so it is safe to fork workers from it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # some file names are not text
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    backend = "fork" if own_process and sys.platform == "linux" else "loky"
    args = parser_of(backend, arguments).parse_args(arguments)
    try:
        outcome = args.run(args)
        if args.json:
            _print_json(outcome)
        sys.stdout.flush()
        return int(args.code)
    except KeyboardInterrupt as error:
        return _report_failure(args, error, "interrupted; nothing is left that looks finished", 130)
    except ConfigError as error:
        return _report_failure(args, error, _with_flags(str(error), args.settings), 2)
    except DataError as error:
        problems = [problem.as_dict() for problem in error.problems]
        return _report_failure(args, error, str(error), 1, problems)
    except RecpackError as error:
        return _report_failure(args, error, str(error), 1)
    except BrokenPipeError:
        # nobody reads our output any more; without this Python complains again at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    del signum, frame
    raise KeyboardInterrupt


def _with_flags(message: str, settings: type[Settings]) -> str:
    """The message with options as they are typed: ``--jobs must be …`` for ``jobs: must be …``."""
    from recpack.settings import options_of

    flags = {one.name: one.flag for one in options_of(settings)}
    lines = []
    for line in message.split("\n"):
        name, colon, rest = line.partition(": ")
        if name in flags:
            name, colon = flags[name], " " if rest.startswith("must be") else colon
        lines.append(name + colon + rest)
    return "\n".join(lines)


def _report_failure(
    args: argparse.Namespace,
    error: BaseException,
    message: str,
    code: int,
    problems: Sequence[object] = (),
) -> int:
    print(f"recpack {args.command}: {message}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        print(f"recpack {args.command}: {note}", file=sys.stderr)
    if args.json:
        _print_json({"error": message, "problems": list(problems)})
    return code


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, ensure_ascii=False))
