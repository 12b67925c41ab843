"""Output for people: a progress bar (rich), tables, the verdict of a check."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recpack.display import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recpack.pipeline.check import Check
    from recpack.progress import Progress
    from recpack.sources.base import Scope


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A ``progress`` callable that draws a bar with images/s, MB/s and the time left; None if
    ``quiet`` or without a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from recpack.bars import terminal_bar
    from recpack.cli.process import screens, terminal

    with terminal_bar(terminal()) as show, screens():  # rich has replaced the streams by its own
        yield show


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Print two columns, names and values, on standard output."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print_line(f"{name:<{width}}  {value}")


def print_line(text: str) -> None:
    """Print one line, whatever line breaks the names in it have."""
    print(one_line(text))


def block() -> str:
    """The character of bars; ``#`` where the encoding has no block."""
    return "█" if is_unicode() else "#"


def is_unicode() -> bool:
    """Whether standard output takes every character."""
    return (sys.stdout.encoding or "").lower().startswith("utf")


def is_page(report: Path) -> bool:
    """Whether the name of a report asks for an HTML page."""
    return report.suffix in (".html", ".htm")


def verdict(check: Check) -> str:
    """Whether ``convert`` would succeed, in a few words."""
    from recpack.problems import count_text

    if not check.refused:
        return "Ready to convert"
    if check.fatal:
        return f"convert would fail: {count_text(check.fatal, 'error')}"
    return "convert would fail: no sample is left"


def scope_text(images: int, scope: Scope) -> str:
    """How many images of a data set are converted, and what is not: ``292 of 364 images (trainval);
    test, 72 images, not converted: --set trainval,test``."""
    from recpack.problems import count_text

    read = sum(scope.sets.values())
    unread = [count for count in scope.others.values() if count is not None]
    every = count_text(read + sum(unread), "image")
    total = f"{images:,} of {every}" if len(unread) == len(scope.others) else f"{images:,} images"
    parts = [f"{total} ({', '.join(scope.sets)})"]
    if images < read:
        parts.append(f"{read - images:,} left out")
    if scope.others:
        others = ", ".join(
            name if count is None else f"{name}, {count_text(count, 'image')}"
            for name, count in scope.others.items()
        )
        parts.append(f"{others}, not converted: --set {scope.every_set}")
    return "; ".join(parts)
