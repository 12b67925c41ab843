"""All cases of a command, or a part of them, counted."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tests.faults.calls import READS, WRITES
from tests.faults.commands import COMMANDS
from tests.faults.harness import Broken, Harness, make_all_inputs


@dataclass
class Tally:
    """What was tried on a command, and what broke."""

    command: str
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[Broken] = field(default_factory=list)


def try_command(number: int, stride: int, *, full: bool) -> Tally:
    """Let every ``stride``-th call of a command fail."""
    command = COMMANDS[number]
    tally = Tally(command.name)
    work = Path(tempfile.mkdtemp(prefix="recpack-faults-"))
    try:
        harness = Harness(command, make_all_inputs(work / "in"), work)
        for name, kinds in (("write", WRITES), ("read", READS)):
            cases = harness.cases(kinds, full=full)
            for case in islice(cases, number % stride, None, stride):
                outcome = harness.attempt(case, kinds)
                if outcome.struck != ("", ""):
                    tally.counts[name] += 1
                    tally.counts[case.fault.way] += 1
                tally.broken += harness.judge(case, outcome)
    finally:
        shutil.rmtree(work)
    return tally
