"""The steps before any output: open a data set, scan it, and refuse it if it is at fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recpack.data.policy import Policy
from recpack.errors import DataError
from recpack.options import ReadSettings
from recpack.pipeline.reach import prove_reach
from recpack.problems import Problem, count_text, summary
from recpack.scanning.run import Scanning, ScanResult
from recpack.sources.base import Dataset
from recpack.sources.open import open_dataset
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.open import Root
from recpack.workers.cluster import connect

if TYPE_CHECKING:
    from recpack.sinks.base import Sink


def open_source(path: Root, settings: ReadSettings, *, every_set: bool = False) -> Dataset:
    """Open the data set that the settings choose."""
    names = settings.class_map.names if settings.classes and settings.class_map else ()
    s3 = S3Client.of(settings)
    return open_dataset(path, settings, s3, class_names=names, every_set=every_set)


@contextmanager
def begin_scan(
    path: Root, settings: ReadSettings, sinks: Sequence[Sink] = ()
) -> Iterator[Scanning]:
    """A scan that the workers run during the block. Workers on other machines must reach the data
    set and ``sinks``."""
    with connect(settings):
        dataset = open_source(path, settings)
        prove_reach(dataset.root, sinks, settings)
        with Scanning(dataset, settings) as scanning:
            yield scanning


def scan_source(path: Root, settings: ReadSettings) -> ScanResult:
    """Scan a data set; DataError where the policy refuses it."""
    with begin_scan(path, settings) as scanning:
        return demand_samples(scanning.finish(settings.progress), settings)


def demand_samples(scan: ScanResult, policy: Policy) -> ScanResult:
    """The scan, if the policy accepts it and a sample is left; else DataError."""
    refuse(scan.problems, policy, scan.classes.names)
    if not len(scan.samples):
        reasons = summary(scan.problems, scan.classes.names)
        message = f"no sample is left of {count_text(scan.annotations, 'annotation')}\n{reasons}"
        raise DataError(message, scan.problems)
    return scan


def refuse(problems: Sequence[Problem], policy: Policy, classes: Sequence[str] = ()) -> None:
    """Raise DataError with all problems if one is fatal and errors are not skipped."""
    errors = [problem for problem in problems if policy.fatal(problem)]
    if errors and policy.on_error == "fail":
        raise DataError(summary(errors, classes), problems)
