"""What is packed, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recpack.columns import Int64
from recpack.data.policy import Policy
from recpack.data.samples import Samples
from recpack.errors import DataError
from recpack.formats.lst import CheckedLines, format_rows
from recpack.packing.segment import Failure
from recpack.problems import Problem, summary
from recpack.sinks.base import Sink, Written


@dataclass(frozen=True)
class PackInput:
    """What is packed: samples, the text of their list, and what is known beside them.

    ``shaping``: the options that shaped it, for the manifest · ``precision`` of a list that is
    written again.
    """

    samples: Samples
    classes: Sequence[str]
    problems: list[Problem]
    rows: CheckedLines
    shaping: Mapping[str, object]
    precision: int | None = None

    def without(self, failures: Sequence[Failure], policy: Policy) -> PackInput:
        """The source less the images that failed, numbered anew, its list written anew."""
        failed = {failure.sample for failure in failures}
        left = [row for row, index in enumerate(self.samples.indices) if index not in failed]
        samples = self.samples.take(np.array(left, np.int64))
        problems = self.problems + as_problems(failures, policy)
        if not len(samples):
            raise DataError("no image is left\n" + summary(problems), problems)
        rows = CheckedLines(format_rows(samples, self.precision))
        return replace(self, samples=samples, problems=problems, rows=rows)


def as_problems(failures: Sequence[Failure], policy: Policy) -> list[Problem]:
    action = policy.error_action
    return [
        Problem(failure.code, "error", failure.path, action, value=failure.value)
        for failure in failures
    ]


@dataclass(frozen=True)
class Packed:
    """A source whose records are in the sink, not yet published."""

    source: PackInput
    sink: Sink
    lengths: Int64
    written: Written
