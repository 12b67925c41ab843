"""The first pass over a list: open every image, in parallel, to learn its size."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from recpack.columns import Int64, StringColumn
from recpack.data.samples import Samples
from recpack.problems import Problem
from recpack.scanning.settings import MeasureSettings
from recpack.storage.explain import UNREADABLE, explain
from recpack.storage.trees.base import Tree
from recpack.workers.run import run

_CHUNK = 2048
"""Images per task."""


class _Failure(NamedTuple):
    """An image that can't be opened: its row in the task, the problem code and the reason."""

    row: int
    code: str
    reason: str


def measure(samples: Samples, settings: MeasureSettings) -> tuple[Samples, list[Problem]]:
    """A list's samples with the sizes and identities of their image files. Where errors are
    skipped, samples whose file can't be opened are left out."""
    starts = range(0, len(samples), _CHUNK)
    chunks = (samples.paths[start : start + _CHUNK] for start in starts)
    tasks = ((samples.root.only(paths), paths) for paths in chunks)
    results = run(_look, tasks, len(starts), jobs=settings.jobs, backend=settings.backend)
    problems: list[Problem] = []
    files = np.empty((2, len(samples)), np.int64)
    with closing(results):
        for start, (chunk, failures) in zip(starts, results, strict=True):
            files[:, start : start + _CHUNK] = chunk
            for row, code, reason in failures:
                path = samples.paths[start + row]
                problems.append(Problem(code, "error", path, settings.error_action, value=reason))
    samples = replace(samples, image_bytes=files[0], identities=files[1])
    if problems and settings.on_error == "skip":
        samples = samples.take(np.flatnonzero(files[0] >= 0))
    return samples, problems


def _look(task: tuple[Tree, StringColumn]) -> tuple[Int64, list[_Failure]]:
    """The size of each file, -1 where it can't be opened, and its identity, int64 (2, n); runs in a
    worker."""
    root, paths = task
    files = np.full((2, len(paths)), -1, np.int64)
    failures = []
    with root.folder(".") as folder:
        for row, opener in enumerate(folder.in_order(list(paths), head=1)):
            assert opener is not None
            try:
                with opener() as file:
                    files[:, row] = file.size, file.identity
            except UNREADABLE as error:
                failures.append(_Failure(row, *explain(error, "image")))
    return files, failures
