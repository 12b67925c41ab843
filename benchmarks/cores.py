"""How work divides by cores: the curve over jobs, the CPU of the coordinator and of its workers
apart, and what a machine of two cores shows of it.

Ratios for 16 cores are wanted only where they are. Without ``--peers`` nothing is beside AWS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import cluster
from benchmarks.coordinator import COORDINATOR, FIRST, WORKERS
from benchmarks.measure import Claim, Measurement, Table, Work, commands
from benchmarks.packing import beside_aws
from benchmarks.s3 import CREDENTIALS, send, store
from benchmarks.send import PART
from benchmarks.setting import Setting, companions, core_count, floor, job_counts

LIST = "list"
FILE = "convert to a file"
SINK = "convert s3://, which drops it"
PACK = "pack from a list"
COPY = "floor: read and write the bytes"
ENCODE = "convert --reencode"
_BYTES = "bytes an image"
_TARGET = 16
"""The cores for which ratios are wanted."""


def tables(setting: Setting) -> Iterator[Table]:
    """Tables: by jobs; --reencode by jobs; beside AWS on two cores; by a dask cluster; the
    coordinator's work for ``planned`` images."""
    os.environ |= CREDENTIALS
    with store("--processes", str(max(core_count() // 4, 1))) as url:
        yield _by_jobs(setting, url)
    devkit = setting.first(setting.images)
    yield _encoded(setting, devkit)
    for images in (min(6_000, setting.images // 2), setting.images) if setting.peers else ():
        works, claims = beside_aws(
            setting, setting.first(images), setting.memory / "cores.rec", (4, 2.5), "--jobs", 2
        )
        yield Table(f"{images:,} images, pass-through, two jobs, beside AWS", works, claims)
    yield from cluster.by_dask(setting, devkit, [2])
    yield _planned(setting.planned)


def _name(kind: str, jobs: int, images: int | None = None) -> str:
    name = f"{kind}, {jobs} job{'s' * (jobs > 1)}"
    return name if images is None else f"{name}, {images:,} images"


def _compared() -> tuple[int, bool]:
    """The jobs that are compared with one, and whether the ratios are wanted."""
    return min(core_count(), _TARGET), core_count() >= _TARGET


def _recpack(*arguments: object, fresh: list[Path] | None = None) -> Work:
    line = [sys.executable, "-m", "benchmarks.coordinator", *arguments, "--quiet"]
    return commands(line, fresh=fresh or [], reports=True)


def _by_jobs(setting: Setting, url: str) -> Table:
    out = setting.memory / "cores.rec"
    whole, half = setting.devkit(setting.many), setting.many // 2

    def work(kind: str, jobs: int, devkit: Path) -> Work:
        options, fresh = ["--jobs", jobs], companions(out)
        if kind == LIST:
            return _recpack("list", devkit, out.with_suffix(".lst"), *options, fresh=fresh)
        if kind == FILE:
            return _recpack("convert", devkit, out, *options, fresh=fresh)
        if kind == PACK:
            return _recpack("pack", setting.rows(devkit), devkit, out, *options, fresh=fresh)
        if kind == COPY:
            return commands(floor("copy", setting.rows(devkit), devkit, out, jobs), fresh=fresh)
        into = ["s3://bucket/p/cores.rec", "--endpoint-url", url, "--overwrite"]
        return _recpack("convert", devkit, *into, *options)

    curves = {
        kind: {jobs: _name(kind, jobs) for jobs in job_counts()}
        for kind in (FILE, LIST, SINK, COPY)
    }
    works = {
        name: work(kind, jobs, whole)
        for kind, names in curves.items()
        for jobs, name in names.items()
    }
    works[_name(PACK, 2)] = work(PACK, 2, whole)
    for kind in (FILE, LIST, SINK, PACK):
        works[_name(kind, 2, half)] = work(kind, 2, setting.first(half))
    for kind in (FILE, COPY):
        works[_name(kind, 1, 10)] = work(kind, 1, setting.first(10))
    top, wanted = _compared()
    parts = -(-setting.many * 45_000 // PART)
    sending = f"floor: send as many bytes, {top} connections"
    works[sending] = send("raw", url, parts, top)
    claims = [
        *(
            Claim(f"{kind}, {top} jobs against 1", [_name(kind, 1)], [_name(kind, top)],
                  least=8 if wanted and kind != FILE else None)
            for kind in (LIST, SINK, FILE)
        ),
        Claim(f"{FILE} against the floor, {top} jobs", [_name(FILE, top)], [_name(COPY, top)],
              most=1.35 if wanted else None),
        Claim(f"{SINK}, against sending as many bytes, {top} jobs", [_name(SINK, top)], [sending]),
        Claim("CPU of one job against the floor's, both less their start",
              [_name(FILE, 1)], [_name(COPY, 1)], most=2.2, less=[_name(FILE, 1, 10)],
              fast_less=[_name(COPY, 1, 10)], figure="CPU s"),
        Claim("start to first task", [_name(FILE, 2)], [], most=150, figure=FIRST, unit="ms",
              factor=1000),
        *(claim for kind in (FILE, PACK, SINK, LIST) for claim in _shares(kind, half, setting)),
    ]  # fmt: skip
    title = f"{setting.many:,} images, pass-through, by jobs: who spends the CPU"
    return Table(title, works, claims, curves=curves, most_rounds=3)


def _shares(kind: str, half: int, setting: Setting) -> Iterator[Claim]:
    """CPU an image of the coordinator, whole and less its start, and of the workers."""
    many, first = _name(kind, 2), _name(kind, 2, half)
    text = f"{kind}, 2 jobs: {{}} CPU an image, {{}}"
    most = None if kind == LIST else 6.0
    for images, name in ((half, first), (setting.many, many)):
        yield Claim(text.format("coordinator's", f"{images:,} images"), [name], [], most=most,
                    figure=COORDINATOR, unit="µs", factor=1e6 / images)  # fmt: skip
    for who, figure in (("coordinator's", COORDINATOR), ("workers'", WORKERS)):
        yield Claim(text.format(who, "less the start"), [many], [], less=[first], figure=figure,
                    unit="µs", factor=1e6 / (setting.many - half),
                    most=most if figure == COORDINATOR else None)  # fmt: skip


def _encoded(setting: Setting, devkit: Path) -> Table:
    out = setting.memory / "cores.rec"
    counts = job_counts()
    curve = {jobs: _name(ENCODE, jobs) for jobs in sorted({*counts[::2], *counts[-1:]})}
    works = {
        name: _recpack("convert", devkit, out, "--reencode", "--jobs", jobs, fresh=companions(out))
        for jobs, name in curve.items()
    }
    top, wanted = _compared()
    claim = Claim(f"{ENCODE}, {top} jobs against 1", [_name(ENCODE, 1)], [_name(ENCODE, top)],
                  least=12 if wanted else None)  # fmt: skip
    title = f"{setting.images:,} images, --reencode, by jobs"
    return Table(title, works, [claim], curves={ENCODE: curve}, most_rounds=1)


def _planned(images: int) -> Table:
    """See ``benchmarks.scale``; its seconds are CPU seconds of the coordinator."""

    def work() -> Measurement:
        command = [sys.executable, "-m", "benchmarks.scale", str(images)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(run.stdout)
        steps = found["seconds"]
        seconds = sum(steps.values())
        return Measurement(seconds, seconds, {_BYTES: found[_BYTES], **steps})

    name = "shuffle, plan, describe, publish"
    claims = [
        Claim("memory an image", [name], [], most=200, figure=_BYTES, unit="bytes"),
        Claim("time an image", [name], [], most=8, unit="µs", factor=1e6 / images),
    ]
    return Table(f"{images:,} images planned, no file", {name: work}, claims, most_rounds=1)
