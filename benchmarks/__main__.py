"""``python -m benchmarks --quick | --full [SUITE …]``: measure recpack beside the AWS pipeline,
other packers and the limits of this machine ("floors"), and write tables, plots and JSON.

Programs that are compared run in turns, so that noise hits all of them. Each figure is a median
with its extremes. Data is made in memory (/dev/shm) where that exists, 11 GB for --full. The other
packers' environments are made on first use, 12 GB for --full.

On a machine of 16 cores, without a network, in less than five minutes:
    python -m benchmarks --full cores --only "by jobs" --rounds 3 --peers ""
Reading alone, beside some of its peers (default: all, which takes seven minutes):
    python -m benchmarks --quick reading --peers mds,litdata
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import (
    archives,
    cluster,
    cores,
    encoding,
    formats,
    growth,
    packing,
    reading,
    s3,
    scan,
    ssd,
    ssd_loader,
)
from benchmarks.environments import PEERS, READERS
from benchmarks.measure import measure
from benchmarks.report import Section, compare, markdown, plot, to_json
from benchmarks.setting import HERE, Setting

SUITES = {
    "scan": scan.tables,
    "packing": packing.tables,
    "tar": archives.tar_tables,
    "zip": archives.zip_tables,
    "formats": formats.tables,
    "encoding": encoding.tables,
    "growth": growth.tables,
    "cores": cores.tables,
    "s3": s3.tables,
    "cluster": cluster.tables,
    "reading": reading.tables,
    "loader": ssd_loader.tables,
    "training": ssd.training_tables,
    "serving": ssd.serving_tables,
}
SIZES: dict[bool, dict[str, Any]] = {
    True: {"images": 16_551, "encoded": 4_000, "large": 300, "many": 66_204,
           "planned": 10_000_000, "growth": (1_000, 4_000, 16_000, 64_000)},
    False: {"images": 2_000, "encoded": 400, "large": 40, "many": 2_000,
            "planned": 100_000, "growth": (500, 1_000, 2_000)},
}  # fmt: skip

_PEERS = list(dict.fromkeys([*PEERS, *READERS]))


def machine() -> dict[str, Any]:
    """Facts about the machine that the figures depend on, without its name."""
    names = ("numpy", "opencv-python-headless", "lxml", "joblib", "boto3")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 30} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in names),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()} {names[0] if names else ''}".strip()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--full", action="store_true", help="the figures of RESULTS.md")
    size.add_argument("--quick", action="store_true", help="two or three minutes")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--only", metavar="TEXT", default="", help="tables with this in the title")
    parser.add_argument(
        "--rounds", type=int, help="rounds (default: 7, quick 3); long works have 3 at most"
    )
    parser.add_argument(
        "--peers", metavar="A,B", default=None,
        help=f"which of {', '.join(_PEERS)} (default: all; quick: tfrecord, reading alone: all)",
    )  # fmt: skip
    parser.add_argument(
        "--work", type=Path, default=HERE / "work", help="folder of the environments"
    )
    parser.add_argument("--output", type=Path, default=HERE / "work" / "results")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="an earlier run's results")
    args = parser.parse_args()
    args.rounds = args.rounds or (7 if args.full else 3)
    if args.peers is None:
        args.peers = ",".join(_PEERS if args.full or args.suites == ["reading"] else ["tfrecord"])
    for name in args.suites:
        if name not in SUITES:
            parser.error(f"no suite {name}; the suites are {', '.join(SUITES)}")
    for name in filter(None, args.peers.split(",")):
        if name not in _PEERS:
            parser.error(f"no peer {name}; the peers are {', '.join(_PEERS)}")
    return args


def main() -> None:
    args = parse_arguments()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are compiled
    sections = []
    facts = {"command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]), **machine()}
    facts["rounds"] = args.rounds
    with ExitStack() as stack:
        shm = Path("/dev/shm")
        args.work.mkdir(parents=True, exist_ok=True)
        memory, disk = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            for folder in (shm if shm.is_dir() else None, args.work.absolute())
        )
        setting = Setting(
            memory=memory,
            disk=disk,
            environments=args.work.absolute() / "environments",
            peers=tuple(filter(None, args.peers.split(","))),
            **SIZES[args.full],
        )
        for name in args.suites or SUITES:
            for table in SUITES[name](setting):
                if args.only not in table.title:
                    continue
                print(f"measuring: {table.title}", file=sys.stderr, flush=True)
                timings = measure(table.works, args.rounds, table.most_rounds)
                sections.append(Section.of(table, timings))
                print("\n".join(sections[-1].lines()), flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "results.json").write_text(to_json(facts, sections))
    (args.output / "results.md").write_text(markdown(facts, sections))
    plot(args.output, sections)
    print(f"tables, plots and results.json: {args.output}", file=sys.stderr)
    if args.compare is not None:
        print("\n".join(compare(args.compare, sections)))


if __name__ == "__main__":
    main()
