"""The setting ``progress``, and the bars that it asks for: of a terminal by rich, of a notebook by
an output that is replaced."""

from __future__ import annotations

import builtins
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from typing import Any, NamedTuple, TextIO

from recpack.progress import Progress, Watch
from recpack.settings import Settings

_PAUSE = 0.1
"""Seconds between two pictures in a notebook."""


class Monitor(Settings):
    """Who is told the progress; not an option of the command line. ``progress`` is a callable, or
    True for a bar in a notebook or a terminal; ``watch`` is what the work calls."""

    progress: Watch | bool = None
    watch: Watch = field(init=False, repr=False, default=None)

    def faults(self) -> Iterator[str]:
        vars(self)["watch"] = self.progress if callable(self.progress) else None
        return iter(())

    @contextmanager
    def _running(self) -> Iterator[None]:
        if self.progress is not True:
            yield
            return
        with bar() as vars(self)["watch"]:
            yield


def rate(progress: Progress, seconds: float) -> str:
    """How fast it goes: images/s, MB/s."""
    if seconds <= 0:
        return ""
    rates = [f"{progress.done / seconds:,.0f} images/s"] if progress.unit == "images" else []
    if progress.bytes_done:
        rates.append(f"{progress.bytes_done / seconds / 1e6:,.0f} MB/s")
    return " ".join(rates)


@contextmanager
def terminal_bar(stream: TextIO) -> Iterator[Callable[[Progress], None]]:
    """A ``progress`` callable that draws bars with images/s, MB/s and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    with Bars(
        TextColumn("{task.description:<5}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(file=stream, force_jupyter=False),
    ) as bars:
        tasks: dict[str, Any] = {}

        def show(progress: Progress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(progress.stage, rate="")
            task = tasks[progress.stage]
            text = rate(progress, bars.tasks[task].elapsed or 0.0)
            bars.update(task, completed=progress.done, total=progress.total, rate=text)

        yield show


class _Stage(NamedTuple):
    progress: Progress
    begun: float
    text: str


@contextmanager
def notebook_bar() -> Iterator[Callable[[Progress], None]]:
    """The same as an output of the cell that runs. At the end it shows what was done."""
    from IPython.display import HTML, display

    stages: dict[str, _Stage] = {}
    handle: Any = None
    drawn = 0.0

    def draw() -> None:
        nonlocal handle, drawn
        drawn = time.monotonic()
        html = HTML("".join(map(_stage_html, stages.values())))
        if handle is None:
            handle = display(html, display_id=True)
        else:
            handle.update(html)

    def show(progress: Progress) -> None:
        now = time.monotonic()
        new = progress.stage not in stages
        begun = now if new else stages[progress.stage].begun
        stages[progress.stage] = _Stage(progress, begun, rate(progress, now - begun))
        if new or now - drawn >= _PAUSE:
            draw()

    try:
        yield show
    finally:
        if stages:
            draw()


def _stage_html(stage: _Stage) -> str:
    from html import escape

    done, total = stage.progress.done, stage.progress.total
    return (
        f'<div>{escape(stage.progress.stage)} <progress value="{done}" max="{max(total, 1)}">'
        f"</progress> {done:,}/{total:,} {escape(stage.text)}</div>"
    )


@contextmanager
def bar() -> Iterator[Callable[[Progress], None] | None]:
    """A bar where there is a place for one: a notebook, or a terminal; else None."""
    shell = getattr(builtins, "get_ipython", lambda: None)()
    if hasattr(shell, "kernel"):
        with notebook_bar() as show:
            yield show
    elif sys.stderr.isatty():
        with terminal_bar(sys.stderr) as show:
            yield show
    else:
        yield None
