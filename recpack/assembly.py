"""Samples → records in a sink → index, list and manifest beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from isal import isal_zlib

from recpack.config import Options
from recpack.errors import DataError
from recpack.lst import CheckedLines, format_rows
from recpack.manifest import Manifest, RecFile, crc32_text, describe
from recpack.packer import Failure, pack_segment
from recpack.parallel import run
from recpack.plan import plan_cuts, segments
from recpack.problems import Action, Problem, quarantine_lines, summary
from recpack.progress import Progress
from recpack.recordio import format_index
from recpack.sample import Int64, Samples
from recpack.sinks.base import INDEX, LIST, QUARANTINE, Sink

Watch = Callable[[Progress], None] | None


@dataclass(frozen=True)
class Result:
    """What a conversion made: its ``manifest``, and as ``problems`` everything met on the way, in
    order. A split has one result a part in ``parts``, and the first one's manifest."""

    manifest: Manifest
    problems: list[Problem]
    parts: list[Result] = field(default_factory=list)


def error_action(options: Options) -> Action:
    return "dropped image" if options.on_error == "skip" else "error"


@dataclass(frozen=True)
class Source:
    """What is packed: samples, the text of their list, and what is known beside them."""

    samples: Samples
    classes: Sequence[str]
    problems: list[Problem]
    rows: CheckedLines

    def without(self, failures: Sequence[Failure], options: Options) -> Source:
        """The source less the images that failed, numbered anew, its list written anew."""
        failed = {failure.sample for failure in failures}
        left = [row for row, index in enumerate(self.samples.indices) if index not in failed]
        samples = self.samples.take(np.array(left, np.int64))
        problems = self.problems + as_problems(failures, options)
        if not len(samples):
            raise DataError("no image is left\n" + summary(problems), problems)
        rows = CheckedLines(format_rows(samples, options.precision))
        return Source(samples, self.classes, problems, rows)


def as_problems(failures: Sequence[Failure], options: Options) -> list[Problem]:
    action = error_action(options)
    return [
        Problem(failure.code, "error", failure.path, action, value=failure.value)
        for failure in failures
    ]


@dataclass(frozen=True)
class Packed:
    """A source whose records are in the sink, not yet published."""

    source: Source
    sink: Sink
    lengths: Int64
    crc32: int


def pack_samples(source: Source, options: Options, sink: Sink, progress: Watch) -> Packed:
    """Pack into an entered sink, without the images that fail where errors are skipped."""
    lengths, crc32, failures = _pack(source.samples, options, sink, progress)
    while failures:
        if options.on_error == "fail":
            problems = source.problems + as_problems(failures, options)
            raise DataError(summary(as_problems(failures, options)), problems)
        # ids are dense, so an image that turns out bad renumbers all behind it: pack anew
        source = source.without(failures, options)
        lengths, crc32, failures = _pack(source.samples, options, sink, progress)
    return Packed(source, sink, lengths, crc32)


def publish(packed: Packed, options: Options) -> Result:
    source, lengths = packed.source, packed.lengths
    size = int(lengths.sum())
    rec: RecFile = {"name": packed.sink.name, "bytes": size, "checksum": crc32_text(packed.crc32)}
    made: list[Manifest] = []

    def manifest() -> str:
        list_crc32 = source.rows.crc32
        made.append(
            describe(source.samples, source.classes, source.problems, options, rec, list_crc32)
        )
        return made[0].to_json()

    offsets = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    companions: dict[str, Iterable[str]] = {
        INDEX: format_index(source.samples.indices, offsets),
        LIST: source.rows,
    }
    quarantined = quarantine_lines(source.problems)
    if quarantined:
        companions[QUARANTINE] = quarantined
    packed.sink.publish(size, companions, manifest)
    return Result(made[0], source.problems)


def _pack(
    samples: Samples, options: Options, sink: Sink, progress: Watch
) -> tuple[Int64, int, list[Failure]]:
    """Every record's length, int64 (n,), the CRC-32 of the whole, and the images that failed."""
    cuts = plan_cuts(samples, options.segment_bytes)
    work = partial(
        pack_segment,
        encoding=options.image_encoding,
        reencode_all=options.changes_images,
        writer=sink.open(len(cuts) - 1),
    )
    backend = "threading" if sink.in_process else options.backend
    lengths = []
    failures: list[Failure] = []
    done = size = crc32 = 0
    tasks = segments(samples, cuts)
    for packed in run(work, tasks, len(cuts) - 1, jobs=options.jobs, backend=backend):
        lengths.append(packed.lengths)
        failures += packed.failures
        length = int(packed.lengths.sum(dtype=np.int64))
        crc32 = isal_zlib.crc32_combine(crc32, packed.crc32, length)
        size += length
        done += len(packed.lengths)
        if progress is not None:
            progress(Progress("pack", done, len(samples), size))
    return np.concatenate(lengths).astype(np.int64), crc32, failures
