"""Every call on files in turn, and every power cut: a part of them, or all, counted.

``python -m tests.faults local --full`` tries all, and writes the table of the documentation.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from tests.faults.calls import (
    AFTER,
    BEFORE,
    INTERRUPT,
    KILL_AFTER,
    KILL_BEFORE,
    READS,
    SHORT,
    WORKER,
    WRITES,
)
from tests.faults.local_commands import COMMANDS
from tests.faults.local_run import Broken, Harness, make_all_inputs
from tests.faults.power import cuts

TABLE = Path(__file__).parents[2] / "docs" / "reference" / "faults-local.txt"
POWER = "power cut"
WRITING, READING = "error of the side that writes", "error of the side that reads"
COLUMNS = {
    "write errors": (WRITING,),
    "read errors": (READING,),
    "short writes": (SHORT,),
    "kills": (KILL_BEFORE, KILL_AFTER, WORKER),
    "Ctrl-C": (INTERRUPT,),
    "power cuts": (POWER,),
}
_AGAIN = 5
"""After every so-many-th power cut the command runs again."""


@dataclass
class Tally:
    """What was tried on a command, and what broke."""

    command: str
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[Broken] = field(default_factory=list)


def try_command(number: int, stride: int, offset: int) -> Tally:
    """Let calls of a command fail, and cut the power: every ``stride``-th case."""
    command = COMMANDS[number]
    tally = Tally(command.name)
    work = Path(tempfile.mkdtemp(prefix="recpack-faults-local-"))
    try:
        harness = Harness(command, make_all_inputs(work / "in"), work)
        for name, kinds in ((WRITING, WRITES), (READING, READS)):
            cases = harness.cases(kinds)
            for case in islice(cases, (number + offset) % stride, None, stride):
                outcome = harness.attempt(case, kinds)
                if outcome.struck != ("", ""):
                    tally.counts[name if case.fault.way in (BEFORE, AFTER) else case.fault.way] += 1
                tally.broken += harness.judge(case, outcome)
        for broken in cuts(harness, work, slice(offset % stride, None, stride), _AGAIN):
            tally.counts[POWER] += 1
            tally.broken += broken
    finally:
        shutil.rmtree(work)
    return tally


def table(tallies: Sequence[Tally]) -> str:
    """All counts, in Markdown."""
    rows = [["command", *COLUMNS, "broken promises"]]
    total = Tally("all", sum((one.counts for one in tallies), Counter()))
    total.broken = [broken for one in tallies for broken in one.broken]
    for tally in (*tallies, total):
        counts = [sum(tally.counts[key] for key in keys) for keys in COLUMNS.values()]
        rows.append([tally.command, *(f"{count:,}" for count in (*counts, len(tally.broken)))])
    rows.insert(1, ["---"] + ["---:"] * (len(rows[0]) - 1))
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults local")
    parser.add_argument("--full", action="store_true", help="all cases; writes the table")
    parser.add_argument("--stride", type=int, default=17, help="else every so-many-th")
    parser.add_argument("--offset", type=int, default=0, help="which ones of these")
    parser.add_argument("--commands", nargs="*", help="only these")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args(arguments)
    stride = 1 if args.full else args.stride
    numbers = [number for number, command in enumerate(COMMANDS)
               if not args.commands or command.name in args.commands]  # fmt: skip
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        tallies = []
        work = partial(try_command, stride=stride, offset=args.offset)
        for tally in pool.map(work, numbers):
            tallies.append(tally)
            for broken in tally.broken:
                print(broken, flush=True)
            print(f"{tally.command}: {len(tally.broken)} broken", file=sys.stderr, flush=True)
    print(table(tallies), end="")
    if args.full and not args.commands:
        TABLE.write_text(table(tallies))
    return int(any(tally.broken for tally in tallies))
