"""Plots losses and mAP or accuracy by epoch, for jobs that continue each other."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from .errors import TrainError
from .files import replace
from .job import Job

_LOSSES = ("cross_entropy", "smooth_l1")
_SCORES = ("mAP", "accuracy", "train_accuracy")


def plot_jobs(jobs: Sequence[Job], path: str | Path) -> None:
    """Plot mAP or accuracy and losses by epoch for jobs that continue each other (initial,
    incremental, …). The epoch count continues from job to job. Raises TrainError without
    matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise TrainError("plots need matplotlib: pip install matplotlib") from error
    mpl.use("agg")
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 6))
    first = 0
    for number, job in enumerate(jobs):
        curves = {name: job.history(name) for name in (*_SCORES, *_LOSSES)}
        curves = {name: curve for name, curve in curves.items() if curve}
        for name, curve in curves.items():
            epochs = [first + epoch + 1 for epoch in curve]
            axes = upper if name in _SCORES else lower
            axes.plot(epochs, list(curve.values()), marker="o", label=f"{name}, {job.name}")
        if number:
            for axes in (upper, lower):
                axes.axvline(first + 0.5, color="gray", linestyle=":")
        first += 1 + max((epoch for curve in curves.values() for epoch in curve), default=-1)
    upper.set_ylabel("validation mAP, accuracy")
    lower.set_ylabel("training loss")
    lower.set_xlabel("epoch")
    for axes in (upper, lower):
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    drawing = io.BytesIO()
    kind = Path(path).suffix.removeprefix(".") or "png"
    try:
        figure.savefig(drawing, format=kind, bbox_inches="tight", dpi=110)
    except ValueError as error:
        raise TrainError(f"{path}: {error}; use .png") from error
    pyplot.close(figure)
    replace(path, drawing.getvalue())
