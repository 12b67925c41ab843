"""Every request of every command that uses S3 failing in turn, and a store that fails by a seed.

    python -m tests.faults.s3                     every request of every command, in every way
    python -m tests.faults.s3 --only overwrite    of the commands with this word in their names
    python -m tests.faults.s3 --only =convert     of the command with this name
    python -m tests.faults.s3 --seeds 1-2000      a faulty store, by seed
    python -m tests.faults.s3 --full              all of it; writes the tables of the documentation

Prints tables, and exits with 1 if a promise broke.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tests.conftest  # noqa: F401  its credentials: nothing may reach the accounts of who runs this
from tests.faults.s3_commands import Command, Commands
from tests.faults.s3_promise import Promise
from tests.faults.s3_run import Outcome
from tests.faults.store import TURNS, BySeed, Fault, InTurn, Store

TABLES = Path(__file__).parents[2] / "docs" / "reference"
SEEDS = "1-2000"
ENDS = ("well", "error", "interrupted", "killed")


class Count:
    """Runs, by how they ended; the first broken promises are told."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.ends: Counter[str] = Counter()
        self.broken: list[str] = []

    def check(self, promise: Promise, fault: Fault) -> None:
        outcome, broken = promise.check(fault)
        self.ends[_end(outcome)] += 1
        self.broken += [f"{self.title}: {fault}: {one}" for one in broken[:1]]

    @property
    def runs(self) -> int:
        return sum(self.ends.values())


def _end(outcome: Outcome) -> str:
    if outcome.code < 0:
        return "killed"
    return {0: "well", 130: "interrupted"}.get(outcome.code, "error")


@contextmanager
def commands() -> Iterator[tuple[Store, Commands]]:
    """A store, and the commands that are run against it."""
    store = Store()
    with tempfile.TemporaryDirectory(prefix="recpack-s3-faults-") as folder:
        yield store, Commands(store, Path(folder))
    store.close()


def in_turn(only: str = "", *, stride: int = 1) -> Iterator[Count]:
    """One count for each command that ``only`` means."""
    with commands() as (store, every):
        for command in every.all():
            if not _is_meant(command, only):
                continue
            promise, count = Promise(store, command), Count(command.name)
            turns = [(kind, number) for number, request in _distinct(promise.requests)
                     for kind in TURNS if "200" not in kind or "complete" in request]  # fmt: skip
            for kind, number in turns[::stride]:
                count.check(promise, InTurn(kind, number))
            yield count


def _distinct(requests: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The requests with their numbers, but of many that are alike the first, second and last."""
    total, seen = Counter(requests), Counter[str]()
    for number, request in enumerate(requests, 1):
        seen[request] += 1
        if seen[request] in (1, 2, total[request]):
            yield number, request


def by_seed(seeds: Sequence[int], only: str = "") -> Iterator[Count]:
    """One count for each command; seeds go round them."""
    with commands() as (store, every):
        chosen = [command for command in every.all() if _is_meant(command, only)]
        for first, command in enumerate(chosen):
            promise, count = Promise(store, command), Count(command.name)
            for seed in seeds:
                if seed % len(chosen) == first:
                    count.check(promise, BySeed(seed))
            yield count


def _is_meant(command: Command, only: str) -> bool:
    return only[1:] == command.name if only.startswith("=") else only in command.name


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests.faults s3", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", metavar="A-B", help="a faulty store, by these seeds")
    parser.add_argument("--only", default="", metavar="WORD", help="commands with this in the name")
    parser.add_argument("--stride", type=int, default=1, help="every nth of the requests in turn")
    parser.add_argument("--full", action="store_true", help="both, all; writes the tables")
    args = parser.parse_args(arguments)
    first, _, last = (args.seeds or SEEDS).partition("-")
    seeds = range(int(first), int(last or first) + 1)
    counts: dict[str, Iterator[Count]] = {}
    if args.full or not args.seeds:
        counts["faults-s3-turn"] = in_turn(args.only, stride=args.stride)
    if args.full or args.seeds:
        counts["faults-s3-seeds"] = by_seed(seeds, args.only)
    broken = 0
    for name, found in counts.items():
        tallies = list(told(found))
        tallies.append(total(tallies))
        print(table(tallies), end="", flush=True)
        broken += len(tallies[-1].broken) + (not tallies[-1].runs)
        if args.full:
            (TABLES / f"{name}.txt").write_text(table(tallies))
    return int(broken > 0)


def told(counts: Iterable[Count]) -> Iterator[Count]:
    """The counts; each is told when it is there, with its first broken promises."""
    for count in counts:
        print(f"{count.title}: {count.runs:,} runs, {len(count.broken)} broken", file=sys.stderr)
        for text in count.broken[:5]:
            print(f"    {text}", flush=True)
        yield count


def total(counts: Iterable[Count]) -> Count:
    """The sum of all counts."""
    sum_ = Count("all")
    for count in counts:
        sum_.ends += count.ends
        sum_.broken += count.broken
    return sum_


def table(counts: Iterable[Count]) -> str:
    """All counts, in Markdown."""
    rows = [["command", "runs", *ENDS, "broken promises"]]
    rows.append(["---"] + ["---:"] * (len(rows[0]) - 1))
    for count in counts:
        numbers = (count.runs, *(count.ends[end] for end in ENDS), len(count.broken))
        rows.append([count.title, *(f"{number:,}" for number in numbers)])
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
