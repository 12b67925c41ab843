"""What a person sees: a progress bar on standard error, tables on standard output (rich)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from recpack.progress import Progress


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A ``progress`` callable that draws a bar with images/s, MB/s and the time left; None
    where nobody would see it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    with Bars(
        TextColumn("{task.description:<5}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bars:
        tasks = {}

        def show(progress: Progress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(progress.stage, rate="")
            task = tasks[progress.stage]
            elapsed = bars.tasks[task].elapsed or 0.0
            rate = ""
            if elapsed > 0:
                rates = [f"{progress.done / elapsed:,.0f} images/s"]
                if progress.bytes_done:
                    rates.append(f"{progress.bytes_done / elapsed / 1e6:,.0f} MB/s")
                rate = " ".join(rates if progress.unit == "images" else rates[1:])
            bars.update(task, completed=progress.done, total=progress.total, rate=rate)

        yield show


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Two columns on standard output; names left, values as they are."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def block() -> str:
    """What bars are made of: a terminal of another encoding has no block."""
    return "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
