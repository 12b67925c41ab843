"""What comes before any output: a data set opened, scanned, and refused if it is at fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recpack.data.policy import Policy
from recpack.errors import DataError
from recpack.formats.manifest import RecFile, describe
from recpack.options import ReadSettings
from recpack.packing.publish import Result
from recpack.pipeline.reach import prove_reach
from recpack.problems import Problem, summary
from recpack.scanning.run import ScanResult, scan_dataset
from recpack.sources.base import Dataset
from recpack.sources.open import open_dataset
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.open import Root
from recpack.workers.cluster import connect


def open_source(path: Root, settings: ReadSettings, *, every_set: bool = False) -> Dataset:
    """Open the data set that the settings choose."""
    asked = settings.class_map.names if settings.classes and settings.class_map else ()
    s3 = S3Client.of(settings)
    return open_dataset(path, settings, s3, class_names=asked, every_set=every_set)


def scan_source(path: Root, settings: ReadSettings) -> ScanResult:
    """Scan a data set; DataError where the policy says stop."""
    with connect(settings):
        dataset = open_source(path, settings)
        prove_reach(dataset.root, [], settings)
        return demand_samples(scan_dataset(dataset, settings, settings.progress), settings)


def demand_samples(scan: ScanResult, policy: Policy) -> ScanResult:
    """The scan, if the policy lets it pass and a sample is left; else DataError."""
    refuse(scan.problems, policy, scan.classes.names)
    if not len(scan.samples):
        reasons = summary(scan.problems, scan.classes.names)
        message = f"none of {scan.scanned} annotations gives a sample\n{reasons}"
        raise DataError(message, scan.problems)
    return scan


def refuse(problems: Sequence[Problem], policy: Policy, classes: Sequence[str] = ()) -> None:
    """DataError with all problems, when one is fatal and must not be skipped."""
    errors = [problem for problem in problems if policy.fatal(problem)]
    if errors and policy.on_error == "fail":
        raise DataError(summary(errors, classes), problems)


def result_of(
    scan: ScanResult, shaping: Mapping[str, object], rec: RecFile, list_crc32: int | None = None
) -> Result:
    """A result of which nothing is packed."""
    names, problems = scan.classes.names, scan.problems
    return Result(describe(scan.samples, names, problems, shaping, rec, list_crc32), problems)
