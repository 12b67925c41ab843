"""What comes before any output: a data set scanned, judged by the policy, put in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recpack.cluster import connected, prove_reach
from recpack.config import Options, parse_fractions
from recpack.duplicates import duplicate_groups
from recpack.errors import DataError
from recpack.problems import Problem, summary
from recpack.progress import Progress
from recpack.sample import Int64, Samples
from recpack.scan import ScanResult, scan_dataset
from recpack.sources.opening import open_dataset
from recpack.split import split_samples
from recpack.trees.opening import Root


def scanned(
    path: Root, options: Options, progress: Callable[[Progress], None] | None
) -> ScanResult:
    """A data set scanned; DataError where the policy says stop."""
    with connected(options):
        dataset = open_dataset(path, options)
        prove_reach(dataset.root, [], options)
        return judged(scan_dataset(dataset, options, progress), options)


def judged(scan: ScanResult, options: Options) -> ScanResult:
    """The scan, if the policy lets it pass; else DataError."""
    refuse(scan.problems, options, scan.classes.names)
    if not len(scan.samples):
        reasons = summary(scan.problems, scan.classes.names)
        message = f"none of {scan.scanned} annotations gives a sample\n{reasons}"
        raise DataError(message, scan.problems)
    return scan


def refuse(problems: list[Problem], options: Options, classes: Sequence[str] = ()) -> None:
    """DataError with all problems, when one is fatal and must not be skipped."""
    fatal = ("error", "warning") if options.strict else ("error",)
    errors = [problem for problem in problems if problem.severity in fatal]
    if errors and options.on_error == "fail":
        raise DataError(summary(errors, classes), problems)


def orders(samples: Samples, options: Options) -> list[Int64]:
    """For each output, one or the parts of a split, the positions of its samples in order."""
    parts = [np.arange(len(samples))]
    if options.split is not None:
        groups = duplicate_groups(samples, jobs=options.jobs, backend=options.backend)
        fractions = parse_fractions(options.split)
        parts = split_samples(samples, groups, fractions, options.shuffle or 0)
    if options.shuffle is None:
        return parts
    # RandomState's stream is frozen by NumPy's compatibility policy (NEP 19)
    return [np.random.RandomState(options.shuffle).permutation(part) for part in parts]
