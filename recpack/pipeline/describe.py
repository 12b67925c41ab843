"""The result of a data set that is not packed."""

from __future__ import annotations

from collections.abc import Mapping

from recpack.formats.manifest import RecFile, describe
from recpack.packing.result import Result
from recpack.problem_list import Problems
from recpack.scanning.run import ScanResult


def result_of(
    scan: ScanResult, shaping: Mapping[str, object], rec: RecFile, list_crc32: int | None = None
) -> Result:
    """The result of a scan without packing."""
    names, problems, source = scan.classes.names, scan.problems, scan.scope.for_manifest()
    manifest = describe(scan.samples, names, problems, shaping, rec, list_crc32, source)
    return Result(manifest, Problems(problems), scope=scan.scope)
