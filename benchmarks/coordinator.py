"""``python -m benchmarks.coordinator ARGUMENTS …``: recpack's command line, and who spends the CPU.

The last line that it prints is JSON: the CPU seconds of this process, of its workers, and the
seconds from its start (the variable ``STARTED``) until the first task is sent.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterable, Iterator
from typing import Any

from recpack.cli.app import console
from recpack.workers import fork

COORDINATOR = "coordinator CPU s"
WORKERS = "workers CPU s"
FIRST = "first task s"


def main() -> None:
    figures: dict[str, float] = {}
    run: Any = fork.run

    def first(workers: Any, function: Any, tasks: Iterable[Any]) -> Iterator[Any]:
        fork.run = run
        yield from run(workers, function, timed(tasks))

    def timed(tasks: Iterable[Any]) -> Iterator[Any]:
        for task in tasks:
            yield task  # the next is asked for when it is sent
            figures.setdefault(FIRST, time.monotonic() - float(os.environ["STARTED"]))

    vars(fork)["run"] = first
    try:
        console()  # it ends the workers, too
    finally:
        for name, who in ((COORDINATOR, resource.RUSAGE_SELF), (WORKERS, resource.RUSAGE_CHILDREN)):
            usage = resource.getrusage(who)
            figures[name] = usage.ru_utime + usage.ru_stime
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
