"""The steps before any output: open a data set, scan it, and refuse it if it is at fault."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from recpack.data.classes import VOC_CLASSES
from recpack.data.labels import class_ids
from recpack.data.policy import Policy
from recpack.errors import ConfigError, DataError
from recpack.options import ReadSettings
from recpack.pipeline.reach import prove_reach
from recpack.problem_lines import summary, unknown_class_lines, way_out
from recpack.problems import Problem, count_text
from recpack.scanning.run import Scanning, ScanResult
from recpack.sources.base import Dataset
from recpack.sources.open import open_dataset
from recpack.storage.paths import own_name
from recpack.storage.s3.client import S3Client
from recpack.storage.trees.open import Root
from recpack.workers.cluster import connect

if TYPE_CHECKING:
    from recpack.sinks.base import Destination


def open_source(path: Root, settings: ReadSettings) -> Dataset:
    """Open the data set that the settings choose."""
    names = settings.class_map.names if settings.classes and settings.class_map else ()
    s3 = S3Client.of(settings)
    dataset = open_dataset(path, settings, s3, class_names=names)
    paths = [path] if isinstance(path, (str, os.PathLike)) else path
    dataset.names = tuple(own_name(one) for one in paths)
    return dataset


@contextmanager
def begin_scan(
    path: Root, settings: ReadSettings, sinks: Sequence[Destination] = ()
) -> Iterator[Scanning]:
    """A scan that the workers run during the block. Workers on other machines must reach the data
    set and ``sinks``."""
    with connect(settings):
        dataset = open_source(path, settings)
        prove_reach(dataset.root, sinks, settings)
        with Scanning(dataset, settings) as scanning:
            yield scanning


def scan_source(path: Root, settings: ReadSettings, output: str) -> ScanResult:
    """Scan a data set with boxes; DataError where the policy refuses it. The format of ``output``
    holds only boxes: ConfigError for labels of another kind."""
    with begin_scan(path, settings) as scanning:
        if scanning.labels != "boxes":
            raise ConfigError(
                f"output: {output}: its format needs boxes, and this data set has none; name a .rec"
            )
        return demand_samples(scanning.finish(settings.watch), settings)


def demand_samples(scan: ScanResult, policy: Policy) -> ScanResult:
    """The scan, if the policy accepts it and a sample is left; else DataError."""
    names = scan.classes.names
    fatal = fatal_problems(scan.problems, policy)
    if fatal:
        voc = names == VOC_CLASSES
        ids = np.unique(class_ids(scan.samples)[0]).tolist()
        used = names if voc else [names[id_] for id_ in ids]
        chosen = "Pascal VOC's list" if voc else "the chosen classes"
        noun = "object" if scan.labels == "boxes" else "image"
        unknown = unknown_class_lines(fatal, names, used, chosen, noun)
        advice = way_out(fatal, left=len(scan.samples) > 0)
        raise DataError("\n".join([*unknown, summary(fatal, way_out=advice)]), scan.problems)
    if not len(scan.samples):
        count = count_text(scan.annotations, "annotation")
        raise DataError(f"no sample is left of {count}\n{summary(scan.problems)}", scan.problems)
    return scan


def fatal_problems(problems: Sequence[Problem], policy: Policy) -> list[Problem]:
    """Those for which ``convert`` fails: none where errors are skipped."""
    return [problem for problem in problems if policy.on_error == "fail" and policy.fatal(problem)]


def refuse(problems: Sequence[Problem], policy: Policy, samples: int) -> None:
    """Raise DataError with all problems if one is fatal and errors are not skipped. ``samples``:
    how many there are, with those at fault."""
    if fatal := fatal_problems(problems, policy):
        left = len({problem.file for problem in fatal}) < samples
        raise DataError(summary(fatal, way_out=way_out(fatal, left=left)), problems)
