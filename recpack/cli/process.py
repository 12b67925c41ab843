"""The process of a console script: its signals, its standard streams, its last errors."""

from __future__ import annotations

import errno
import gc
import mmap
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TextIO, cast

from recpack.display import harmless, near_missing, one_line
from recpack.errors import RecpackError

_SPARE = 8 << 20
"""Bytes that are reserved, not used, until an error must be told: it can be a lack of memory."""
_HANGUPS = (signal.SIGTERM, signal.SIGHUP)
_ONCE = 1.0
"""Seconds: another Ctrl-C in this time is the same one, and does not stop the cleaning up."""
_interrupted: float | None = None
"""When this process was interrupted last."""
_MOMENT = 0.01
_wait = 200
"""Seconds until an interrupt is tried again, and how often at most it waits."""


class StdoutError(OSError):
    """Standard output can't be written. Whatever the command does, it has done."""

    def __str__(self) -> str:
        return str(self.strerror)


class Screen:
    """A text stream that shows control characters instead of obeying them. The first failure to
    write is a StdoutError where the text is ``required``; else it is ignored, because the terminal
    can be closed."""

    def __init__(
        self, stream: TextIO, *, required: bool = False, show: Callable[[str], str] = harmless
    ) -> None:
        self.stream, self._required, self._show = stream, required, show
        self.lost: StdoutError | None = None

    def write(self, text: str) -> int:
        self._attempt(lambda: self.stream.write(self._show(text)))
        return len(text)

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            work()
        except (OSError, ValueError) as error:  # ValueError: it is closed
            if self._required and self.lost is None:
                reason = getattr(error, "strerror", None) or str(error)
                message = f"standard output can't be written: {reason}"
                self.lost = StdoutError(getattr(error, "errno", None), message)
                raise self.lost from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def screens() -> Iterator[None]:
    """The standard streams of this block are harmless, and warnings are one line each."""
    if isinstance(sys.stdout, Screen):
        yield
        return
    before = sys.stdout, sys.stderr, warnings.showwarning
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # some file names are not text
    sys.stdout = cast(TextIO, Screen(sys.stdout, required=True))
    sys.stderr = cast(TextIO, Screen(sys.stderr))
    warnings.showwarning = _print_warning
    try:
        yield
    finally:
        sys.stdout, sys.stderr, warnings.showwarning = before


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {one_line(str(message))}", file=sys.stderr)


def terminal() -> TextIO:
    """Standard error as it is, for what draws."""
    return cast(TextIO, Screen(getattr(sys.stderr, "stream", sys.stderr), show=str))


def run_process(name: str, main: Callable[[], int]) -> NoReturn:
    """Call ``main`` as all that this process does, and end with its exit code."""
    _fill_closed_streams()
    for number in (signal.SIGINT, signal.SIGALRM, *_HANGUPS):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores one
            signal.signal(number, _interrupt)
    sys.unraisablehook = _interrupt_again
    with screens():
        code = _code_of(name, main)
    for number in (signal.SIGINT, signal.SIGALRM, *_HANGUPS):
        signal.signal(number, signal.SIG_IGN)  # the work is done, Python only cleans up
    if "recpack.workers.fork" in sys.modules:
        sys.modules["recpack.workers.fork"].kill()  # the workers are idle; a clean stop is slow
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # Python must not try again at its exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    gc.freeze()  # else Python looks for garbage among all objects of botocore
    # Python remembers that Ctrl-C came inside an exec (as dataclasses do) until the next one, and
    # python -m recpack would end by the signal instead of with the code
    exec("")
    sys.exit(code)


def _code_of(name: str, main: Callable[[], int]) -> int:
    spare = None
    try:
        spare = mmap.mmap(-1, _SPARE)
        try:
            code = main()
        except SystemExit as stop:  # argparse has said why, and takes no notice of a lost stream
            code = stop.code if isinstance(stop.code, int) else 0
            if lost := cast(Screen, sys.stdout).lost:
                raise lost from None
        sys.stdout.flush()
        return code
    except BaseException as error:
        if spare is not None:
            spare.close()
        if isinstance(error, StdoutError) and error.errno == errno.EPIPE:
            return 1  # as of every tool before head
        message = explain(error)
        if message is None:
            import traceback

            traceback.print_exc()
            message = "this is a fault of the program; please report it with the lines above"
        print(f"{name}: {message}", file=sys.stderr)
        return 130 if is_interrupt(error) else 1


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _interrupted, _wait
    for number in _HANGUPS:
        signal.signal(number, signal.SIG_IGN)  # a terminal that closes sends two
    if _wait and _imports_opencv(frame):
        _wait -= 1
        signal.setitimer(signal.ITIMER_REAL, _MOMENT)
        return
    before, _interrupted = _interrupted, time.monotonic()
    if signum != signal.SIGINT or before is None or _interrupted - before > _ONCE:
        raise KeyboardInterrupt


def _imports_opencv(frame: FrameType | None) -> bool:
    """Whether OpenCV is being imported: it forgets all errors then, an interrupt too."""
    while frame is not None and frame.f_globals.get("__name__") != "cv2":
        frame = frame.f_back
    return frame is not None


def _interrupt_again(lost: sys.UnraisableHookArgs) -> None:
    """Python forgets a Ctrl-C that comes in a callback of its own: raise it a moment later."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _MOMENT)
    else:
        sys.__unraisablehook__(lost)


def is_interrupt(error: BaseException) -> bool:
    """Whether this error is Ctrl-C. A module that it stops during its import can say otherwise."""
    return isinstance(error, KeyboardInterrupt) or (
        _interrupted is not None and not isinstance(error, (OSError, RecpackError))
    )


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


_MEMORY = "use fewer --jobs or a smaller --segment-size, or raise its limit (ulimit -v)"
_FILES = "raise the limit on open files (ulimit -n 4096), or use fewer --jobs"
_PROCESSES = "raise the limit on processes (ulimit -u), or use --jobs 1"
_PACKAGES = {"cv2": "opencv-python-headless", "yaml": "pyyaml"}
"""Packages that have other names than their modules."""
_REMEDIES = {
    errno.EACCES: "let this user reach it, or name another path",
    errno.EAGAIN: _PROCESSES,
    errno.EDQUOT: "make room, or name another disk",
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOMEM: _MEMORY,
    errno.ENOSPC: "make room, or name another disk",
    errno.ENOTDIR: "a part of this path is a file: name another path",
}


def remedy(error: BaseException) -> str:
    """What a message of the library lacks where this process may not, or no more, or where there
    is no such file."""
    cause = error.__cause__
    if not isinstance(error, RecpackError) or not isinstance(cause, OSError):
        return ""
    if isinstance(cause, FileNotFoundError):
        return near_missing(error)
    ours = (errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
    return f"; {_REMEDIES[cause.errno]}" if cause.errno in ours else ""


def explain(error: BaseException) -> str | None:
    """One line with a remedy, for an error that is the machine's; None for one of the program."""
    if is_interrupt(error):
        return "interrupted; only what is whole looks finished"
    # without memory Python can forget its error (SystemError), and OpenCV has an error of its own
    if isinstance(error, (MemoryError, SystemError)) or any(
        sign in str(error) for sign in ("OutOfMemoryError", "std::bad_alloc")
    ):
        return f"out of memory; {_MEMORY}"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return f"no more threads can start; {_PROCESSES}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        name = error.name.partition(".")[0]
        again = "" if name == "recpack" else f", or pip install {_PACKAGES.get(name, name)}"
        return f"the module {error.name} is missing; install recpack again{again}"
    if isinstance(error, ImportError):
        return f"{one_line(str(error.__cause__ or error))}; {_MEMORY}, or install recpack again"
    if not isinstance(error, OSError):
        return None
    if isinstance(error, StdoutError):
        return str(error)
    if isinstance(error, FileNotFoundError) and error.filename is None:
        return "the current folder no longer exists; change to another (cd)"
    name = "" if error.filename is None else f"{error.filename}: "
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{name}{error.strerror or error}" + (f"; {remedy}" if remedy else "")
