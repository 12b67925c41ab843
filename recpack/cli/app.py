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
from typing import NoReturn

from recpack.cli.parser import parser_of
from recpack.errors import ConfigError, DataError, RecpackError


def console() -> NoReturn:
    """The console script: ``main`` in a process of its own, whose signals are ours."""
    _fill_closed_streams()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's start is shorter without them
    gc.set_threshold(100_000)  # we make many small things, and no cycles of them
    signal.signal(signal.SIGTERM, _interrupt)
    code = main(own_process=True)
    if (
        "recpack.workers.fork" in sys.modules
    ):  # its workers are idle; winding them up takes its time
        sys.modules["recpack.workers.fork"].kill()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done, Python only winds up
    gc.freeze()  # it would look for garbage among all that botocore has made
    sys.exit(code)


def _fill_closed_streams() -> None:
    """Put the null device where a standard stream is closed: a file opened next would take its
    place, here and in the workers."""
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
    process, so that workers may be forked from it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    words = list(sys.argv[1:] if arguments is None else arguments)
    backend = "fork" if own_process and sys.platform == "linux" else "loky"
    args = parser_of(backend, words).parse_args(words)
    try:
        outcome = args.run(args)
        if args.json:
            _print_json(outcome)
        sys.stdout.flush()
        return int(args.code)
    except KeyboardInterrupt as error:
        return _failed(args, error, "interrupted; nothing is left that looks finished", 130)
    except ConfigError as error:
        return _failed(args, error, str(error), 2)
    except DataError as error:
        problems = [problem.as_dict() for problem in error.problems]
        return _failed(args, error, str(error), 1, problems)
    except RecpackError as error:
        return _failed(args, error, str(error), 1)
    except BrokenPipeError:
        # whoever read our output has gone; Python must not complain again when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    del signum, frame
    raise KeyboardInterrupt


def _failed(
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
