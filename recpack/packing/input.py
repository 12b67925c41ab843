"""The input of packing, and its result before publication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recpack.columns import Integers
from recpack.data.policy import Policy
from recpack.data.samples import Samples
from recpack.errors import DataError
from recpack.formats.insightface import Property, with_tables
from recpack.formats.lst import CheckedLines
from recpack.packing.segment import Failure
from recpack.problem_lines import summary
from recpack.problems import Problem
from recpack.sinks.base import Destination, Written
from recpack.sources.base import Scope


@dataclass(frozen=True)
class PackInput:
    """The samples to pack, those of faces with their tables, and what the manifest needs.

    ``shaping``: the options that changed the samples · ``rows``: the text of a list that there is
    already · ``precision``: decimals of one that is written · ``scope`` of the data set, None for
    a list · ``property`` of faces · ``shards``: their number in a set of shards, else None ·
    ``listed``: whether there is a list at all.
    """

    samples: Samples
    classes: Sequence[str]
    problems: list[Problem]
    shaping: Mapping[str, object]
    rows: CheckedLines | None = None
    precision: int | None = None
    scope: Scope | None = None
    property: Property | None = None
    shards: int | None = None
    listed: bool = True

    def without(self, failures: Sequence[Failure], policy: Policy) -> PackInput:
        """The input without the images that failed, with new numbers and a new list."""
        failed = [failure.position for failure in failures]
        samples = self.samples.take(np.delete(np.arange(len(self.samples)), failed))
        problems = self.problems + as_problems(failures, policy)
        if self.property is not None:  # the tables have other keys now
            samples = with_tables(samples.images(), len(self.classes))
        if not len(samples):
            raise DataError("no image is left\n" + summary(problems), problems)
        return replace(self, samples=samples, problems=problems, rows=None)


def as_problems(failures: Sequence[Failure], policy: Policy) -> list[Problem]:
    action = policy.error_action
    return [
        Problem(failure.code, "error", failure.path, action, value=failure.value)
        for failure in failures
    ]


class PackedShard(NamedTuple):
    """The records of one ``.rec``: the ``keys`` of its index, int (n,), the ``lengths`` of its
    records in bytes, uint32 (n,), and the text of its list, if it has one."""

    keys: Integers
    lengths: npt.NDArray[np.uint32]
    rows: CheckedLines | None
    written: Written


@dataclass(frozen=True)
class Packed:
    """An input whose records are in the sink, but not published: in one ``.rec``, or in the shards
    of a set."""

    source: PackInput
    sink: Destination
    shards: list[PackedShard]
