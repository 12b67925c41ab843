"""Samples → records in a sink → index, list and manifest beside them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from recpack import __version__
from recpack.config import Options
from recpack.errors import DataError, SinkError
from recpack.lst import CheckedLines, format_rows
from recpack.manifest import Manifest, RecFile, describe
from recpack.packer import Failure, PackedSegment, pack_segment
from recpack.parallel import (
    DASK,
    RAY,
    backend_kind,
    in_own_processes,
    outlast_tasks,
    renew,
    run,
    workers,
)
from recpack.plan import Segment, expected_lengths, joined, plan_cuts, segments
from recpack.problems import Problem, quarantine_lines, summary
from recpack.progress import Progress
from recpack.recordio import RecordBuffer, format_index
from recpack.sample import Int64, Samples, Treatment
from recpack.sinks.base import (
    INDEX,
    LIST,
    QUARANTINE,
    Receipts,
    SegmentWriter,
    Sink,
    Written,
    WrittenSegment,
)

Watch = Callable[[Progress], None] | None

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_SHARES = 16
"""Segments for each worker at least, so that all end at about the same time."""
_WORTH_A_TASK = 1 << 20
"""Bytes; less than this is packed sooner than a process starts."""
_ROWS_AHEAD = 8192
_TRIED = 24
"""Images encoded to learn how that changes their size."""
_PATIENCE = 20
_PAUSE = 0.05
"""Rounds of asking for receipts, of which none came, and seconds between them."""


@dataclass(frozen=True)
class Result:
    """What a conversion made: its ``manifest``, and as ``problems`` everything met on the way, in
    order. A split has one result a part in ``parts``, and the first one's manifest."""

    manifest: Manifest
    problems: list[Problem]
    parts: list[Result] = field(default_factory=list)


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
    action = options.error_action
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
    written: Written


def pack_samples(source: Source, options: Options, sink: Sink, progress: Watch) -> Packed:
    """Pack into an entered sink, without the images that fail where errors are skipped."""
    while True:
        packing = _Packing(source.samples, options, sink, progress)
        segments = packing.pack(source.rows)
        failures = [failure for segment in segments for failure in segment.failures]
        if not failures:
            lengths = np.concatenate([segment.lengths for segment in segments]).astype(np.int64)
            return Packed(source, sink, lengths, packing.finish(segments))
        if options.on_error == "fail":
            problems = source.problems + as_problems(failures, options)
            raise DataError(summary(as_problems(failures, options)), problems)
        # ids are dense, so an image that turns out bad renumbers all behind it: pack anew
        source = source.without(failures, options)


def publish(packed: Packed, options: Options) -> Result:
    source, lengths, written = packed.source, packed.lengths, packed.written
    rec: RecFile = {
        "name": packed.sink.name,
        "bytes": written.size,
        "checksum": written.checksum.text(written.value),
    }
    made: list[Manifest] = []

    def manifest(etag: str | None) -> str:
        list_crc32 = source.rows.crc32
        described = describe(
            source.samples, source.classes, source.problems, options, rec, list_crc32
        )
        made.append(described.proven_by(etag))
        return made[0].to_json()

    offsets = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    companions: dict[str, Iterable[str]] = {
        INDEX: format_index(source.samples.indices, offsets),
        LIST: source.rows,
    }
    quarantined = quarantine_lines(source.problems)
    if quarantined:
        companions[QUARANTINE] = quarantined
    packed.sink.publish(written, companions, manifest)
    return Result(made[0], source.problems)


class _Packing:
    """One way of all samples into a sink."""

    def __init__(self, samples: Samples, options: Options, sink: Sink, progress: Watch) -> None:
        self._samples, self._options = samples, options
        self._sink, self._progress = sink, progress
        self._backend = "threading" if sink.in_process else options.backend
        lengths = expected_lengths(samples)
        if lengths.sum() > sink.min_segment > 0:
            lengths = self._likely(lengths)
        size = options.segment_bytes
        if not sink.min_segment:  # a run that resumes an upload must plan its parts alike
            many = workers(options.jobs, len(samples), self._backend)
            share = int(lengths.sum()) // (_SHARES * many)
            size = min(size, max(share, _WORTH_A_TASK))
        self._cuts = plan_cuts(lengths, size, sink.min_segment, sink.max_segments)
        self._sizes: list[int] = np.add.reduceat(lengths, self._cuts[:-1]).tolist()
        self._workers = workers(options.jobs, len(self._cuts) - 1, self._backend)
        self._receipts: dict[int, str] = {}
        self._writer = sink.open(
            len(self._cuts) - 1,
            workers=self._workers,
            lasting=outlast_tasks(self._backend),
            ordered=backend_kind(self._backend) not in (DASK, RAY),
            plan=self._fingerprint,
        )
        if sink.inherited:
            renew(options.backend)

    def pack(self, rows: CheckedLines) -> list[PackedSegment]:
        """All segments in order; those that came out too small are not in the sink yet. The list's
        ``rows`` are made here while the workers are at it."""
        tasks = segments(self._samples, self._cuts, self._sizes, self._sink.min_segment)
        packed = []
        done = size = 0
        with closing(self._run(tasks, len(self._cuts) - 1)) as results:
            rows.make_ahead(_ROWS_AHEAD)
            for segment in results:
                self._receipts |= segment.receipts
                packed.append(segment)
                done, size = done + len(segment.lengths), size + segment.size
                rows.make_ahead(done + _ROWS_AHEAD)
                if self._progress is not None:
                    self._progress(Progress("pack", done, len(self._samples), size))
        return packed

    def finish(self, packed: list[PackedSegment]) -> Written:
        """Pack what came out too small again, together with its neighbours, and wait until all
        has arrived."""
        runs = joined([segment.size for segment in packed], self._sink.min_segment)
        again = [
            Segment(
                run.start,
                self._samples.slice(self._cuts[run.start], self._cuts[run.stop]).alone(),
                sum(packed[number].size for number in run),
            )
            for run in runs
            if len(run) > 1
        ]
        written = {
            run.start: WrittenSegment(run.start, packed[run.start].size, packed[run.start].checksum)
            for run in runs
        }
        with closing(self._run(again, len(again))) as results:
            for task, segment in zip(again, results, strict=True):
                self._receipts |= segment.receipts
                if segment.failures:
                    raise DataError(summary(as_problems(segment.failures, self._options)))
                written[task.number] = WrittenSegment(task.number, segment.size, segment.checksum)
        if self._sink.gives_receipts:
            self._drain(written.keys())
        return Written(self._sink.checksum, list(written.values()), self._receipts)

    def _run(self, tasks: Iterable[Segment], count: int) -> Generator[PackedSegment, None, None]:
        return self._in_parallel(self._work(self._writer, count), tasks, count)

    def _in_parallel(
        self, function: Callable[[Task], Outcome], tasks: Iterable[Task], count: int
    ) -> Generator[Outcome, None, None]:
        return run(function, tasks, count, jobs=self._options.jobs, backend=self._backend)

    def _work(self, writer: SegmentWriter, count: int) -> Callable[[Segment], PackedSegment]:
        return partial(
            pack_segment,
            encoding=self._options.image_encoding,
            reencode_all=self._options.changes_images,
            writer=writer,
            checksum=self._sink.checksum,
            alone=in_own_processes(
                self._backend, workers(self._options.jobs, count, self._backend)
            ),
        )

    def _drain(self, numbers: Collection[int]) -> None:
        """Wait until every segment has its receipt. Which worker holds one that is still on its
        way is not known, so all are asked; one that has nothing to wait for makes room for the
        next to be asked."""
        self._receipts |= self._writer.drain()
        fruitless = 0
        while missing := [number for number in numbers if number not in self._receipts]:
            before = len(self._receipts)
            asked = partial(_drain, writer=self._writer)
            with closing(self._in_parallel(asked, range(self._workers), self._workers)) as answers:
                for receipts in answers:
                    self._receipts |= receipts
            fruitless = 0 if len(self._receipts) > before else fruitless + 1
            if fruitless == _PATIENCE:
                raise SinkError(
                    f"{self._sink.name}: {len(missing)} segments never arrived, because a worker "
                    "was lost; run again"
                )

    def _likely(self, lengths: Int64) -> Int64:
        """Expected lengths, where images are encoded anew, by what that does to some of them."""
        changed = np.full(len(lengths), self._options.changes_images)
        changed |= self._samples.needs() != Treatment.KEEP
        places = np.flatnonzero(changed)
        if len(places) < 2:
            return lengths
        places = places[:: -(-len(places) // _TRIED)]
        # by the workers: it is their work, and threads that OpenCV starts here survive no fork
        tasks = (
            Segment(
                number, self._samples.take(places[number : number + 1]).alone(), int(lengths[place])
            )
            for number, place in enumerate(places)
        )
        work = self._work(_Nowhere(), len(places))
        with closing(self._in_parallel(work, tasks, len(places))) as packed:
            tried = np.array([one.size for one in packed])
        good = tried > 0
        ratio = tried[good].sum() / max(lengths[places][good].sum(), 1)
        likely: Int64 = np.where(changed, np.maximum(lengths * ratio, 1), lengths).astype(np.int64)
        return likely

    def _fingerprint(self) -> dict[str, str]:
        samples = self._samples
        return {
            "recpack version": __version__,
            "options": json.dumps(self._options.shaping()),
            "images": _digest(samples.paths.blob, samples.image_bytes, samples.order),
            "labels": _digest(samples.labels, samples.bounds, samples.order),
            "segments": _digest(np.array(self._cuts)),
        }


def _drain(number: int, writer: SegmentWriter) -> Receipts:
    del number
    receipts = writer.drain()
    if not receipts:
        time.sleep(_PAUSE)
    return receipts


def _digest(*columns: bytes | npt.NDArray[np.generic] | None) -> str:
    import hashlib

    digest = hashlib.blake2b(digest_size=16)
    for column in columns:
        if column is not None:
            digest.update(
                np.ascontiguousarray(column).data if not isinstance(column, bytes) else column
            )
    return digest.hexdigest()


class _Nowhere(SegmentWriter):
    """For measuring: what is packed is forgotten."""

    def write(self, number: int, buffer: RecordBuffer, checksum: int) -> Receipts:
        del number, buffer, checksum
        return {}
