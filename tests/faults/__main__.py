"""``python -m tests.faults``: see ``tests/README.md``."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.faults.commands import COMMANDS
from tests.faults.trial import try_command


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all cases")
    parser.add_argument("--stride", type=int, default=17, help="else every so-many-th")
    parser.add_argument("--commands", nargs="*", help="only these")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    numbers = [number for number, command in enumerate(COMMANDS)
               if not args.commands or command.name in args.commands]  # fmt: skip
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, context) as pool:
        stride = 1 if args.full else args.stride
        futures = [pool.submit(try_command, number, stride, full=args.full) for number in numbers]
        tallies = [future.result() for future in futures]
    for tally in tallies:
        print(f"{tally.command}: {dict(tally.counts)}, {len(tally.broken)} broken")
        for broken in tally.broken:
            print("  ", broken)
    return int(any(tally.broken for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
