"""List and records with unchanged images, beside the AWS pipeline, other packers and the floors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.environments import PEERS, python_of
from benchmarks.measure import Claim, Table, Work, commands
from benchmarks.setting import (
    HERE,
    RECPACK_IMPORTS,
    Setting,
    aws_list,
    companions,
    floor,
    job_counts,
    recpack,
)

CONVERT = "recpack convert"
LIST = "recpack list"
PACK = "recpack pack (from a list)"
START = "recpack's imports alone"
AWS_LIST = "AWS list"
IM2REC = "im2rec --pass-through"
IM2REC_DEFAULT = "im2rec as the AWS tool runs it (encodes)"
IM2REC_START = "im2rec's imports alone"
READ = "floor: read all images"
COPY = "floor: read and write them, 1 process"
COPY_TWO = "floor: read and write them, 2 processes"


def tables(setting: Setting) -> Iterator[Table]:
    """Three tables: outputs in memory, outputs on the disk, and by the number of jobs."""
    devkit = setting.devkit(setting.images)
    rows = setting.rows(devkit)
    yield _in_memory(setting, devkit, rows)
    yield _on_disk(setting, devkit, rows)
    out = setting.memory / "jobs.rec"
    jobs: dict[str, Work] = {
        f"{count} jobs": commands(
            recpack("convert", devkit, out, "--quiet", "--jobs", count), fresh=companions(out)
        )
        for count in job_counts()
    }
    claim = Claim("two jobs against one, pass-through", ["1 jobs"], ["2 jobs"], least=1.5)
    yield Table(f"{setting.images:,} images, pass-through, by jobs", jobs, [claim])


def beside_aws(
    setting: Setting, devkit: Path, out: Path, least: tuple[float, float], *options: object
) -> tuple[dict[str, Work], tuple[Claim, Claim]]:
    """``convert`` and ``list`` beside the AWS pipeline at its best, and the two ratios, which
    should be ``least``."""
    rows = setting.rows(devkit)
    outputs = companions(out)
    aws = setting.memory / "made-aws.lst"
    works: dict[str, Work] = {
        CONVERT: commands(recpack("convert", devkit, out, "--quiet", *options), fresh=outputs),
        AWS_LIST: commands(aws_list(devkit, aws), fresh=[aws]),
        IM2REC: commands(
            setting.im2rec(rows, devkit, "--pass-through"), fresh=companions(rows)[:2]
        ),
        LIST: commands(
            recpack("list", devkit, out.with_suffix(".lst"), "--quiet", *options), fresh=outputs
        ),
    }
    return works, (
        Claim("list + pack, pass-through, against the AWS pipeline at its best",
              [AWS_LIST, IM2REC], [CONVERT], least=least[0]),
        Claim("list only, against the AWS tool's list step", [AWS_LIST], [LIST], least=least[1]),
    )  # fmt: skip


def _in_memory(setting: Setting, devkit: Path, rows: Path) -> Table:
    out = setting.memory / "out.rec"
    outputs = companions(out)
    default = setting.memory / "default-aws.lst"
    default.write_bytes(rows.read_bytes())
    copied = setting.memory / "floor.rec"
    works, ratios = beside_aws(setting, devkit, out, (6, 4))
    works |= {
        IM2REC_START: commands(setting.im2rec_imports()),
        PACK: commands(recpack("pack", rows, devkit, out, "--quiet"), fresh=outputs),
        START: commands(RECPACK_IMPORTS),
        READ: commands(floor("read", rows, devkit)),
        COPY: commands(floor("copy", rows, devkit, copied, 1), fresh=[copied]),
        COPY_TWO: commands(floor("copy", rows, devkit, copied, 2), fresh=[copied]),
    }
    claims = [
        *ratios,
        Claim("list + pack, the imports of both left out",
              [AWS_LIST, IM2REC], [CONVERT], less=[IM2REC_START], fast_less=[START]),
        Claim("list + pack, both as they are by default",
              [AWS_LIST, IM2REC_DEFAULT], [CONVERT], least=25),
        Claim("list + pack against the read-and-write floor, 1 process",
              [CONVERT], [COPY], most=2),
        Claim("list + pack against the read-and-write floor, 2 processes",
              [CONVERT], [COPY_TWO]),
        Claim("pack from a list against the read-and-write floor, 2 processes",
              [PACK], [COPY_TWO]),
        Claim("pack from a list against im2rec --pass-through", [IM2REC], [PACK]),
    ]  # fmt: skip
    works[IM2REC_DEFAULT] = commands(
        setting.im2rec(default, devkit, "--num-thread", 4), fresh=companions(default)[:2]
    )
    for name in filter(PEERS.__contains__, setting.peers):
        python = python_of(name, setting.environments)
        folder = setting.memory / f"peer-{name}"
        packing, start = f"{name}, 2 processes (from a list)", f"{name}'s imports alone"
        works[packing] = commands(
            [python, HERE / "peers" / f"{name}_.py", rows, devkit, folder, 2], fresh=[folder]
        )
        works[start] = commands([python, "-c", PEERS[name].imports])
        target = 1 if name == "tfrecord" else None
        claims += [
            Claim(f"convert, XML and all, against {name} from a list",
                  [packing], [CONVERT], least=target),
            Claim(f"pack from a list against {name} from a list", [packing], [PACK]),
            Claim(f"the same for {name}, the imports of both left out",
                  [packing], [PACK], less=[start], fast_less=[START]),
        ]  # fmt: skip
    return Table(f"{setting.images:,} images, pass-through, output in memory", works, claims)


def _on_disk(setting: Setting, devkit: Path, rows: Path) -> Table:
    out, aws_rows, copied = (setting.disk / name for name in ("out.rec", "aws.lst", "floor.rec"))
    aws_rows.write_bytes(rows.read_bytes())
    sync = [sys.executable, "-c", "import os; os.sync()"]
    works: dict[str, Work] = {
        "recpack convert (synced)": commands(
            recpack("convert", devkit, out, "--quiet"), fresh=companions(out)
        ),
        "im2rec --pass-through": commands(
            setting.im2rec(aws_rows, devkit, "--pass-through"), fresh=companions(aws_rows)[:2]
        ),
        "im2rec --pass-through, and sync": commands(
            setting.im2rec(aws_rows, devkit, "--pass-through"), sync, fresh=companions(aws_rows)[:2]
        ),
        "floor: read and write, 2 processes, and sync": commands(
            floor("copy", rows, devkit, copied, 2), sync, fresh=[copied]
        ),
    }
    return Table(f"{setting.images:,} images, pass-through, output on the disk", works)
