"""What all peers are given: the rows of a list, in parts for several processes."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator

import numpy as np

Row = tuple[str, np.ndarray, str]
"""Key, label (float32), path of the image."""


def rows(part: int, parts: int) -> Iterator[Row]:
    """Every ``parts``-th block of the list's rows."""
    with open(sys.argv[1]) as file:
        lines = file.readlines()
    size = -(-len(lines) // parts)
    for line in lines[part * size : (part + 1) * size]:
        index, *label, path = line.rstrip("\n").split("\t")
        yield index, np.array(label, np.float32), os.path.join(sys.argv[2], path)


def in_processes(work: Callable[[int, int, str], None]) -> None:
    """``work(part, parts, out)`` in as many processes as were asked for."""
    out, count = sys.argv[3], int(sys.argv[4])
    os.makedirs(out, exist_ok=True)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=work, args=(part, count, os.path.join(out, f"{part:02d}")))
        for part in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            sys.exit(process.exitcode)
