"""The second pass: samples → records in a sink."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from recpack._version import __version__
from recpack.columns import Int64
from recpack.data.samples import Samples
from recpack.errors import DataError, SinkError
from recpack.formats.encoding import Encoding
from recpack.formats.lst import CheckedLines, compress_rows, decompress_rows
from recpack.packing.estimate import NullWriter, Trial
from recpack.packing.input import Packed, PackInput, as_problems
from recpack.packing.plan import (
    Segment,
    expected_lengths,
    merge_small,
    plan_cuts,
    segments,
)
from recpack.packing.segment import PackedSegment, pack_segment
from recpack.packing.settings import PackSettings
from recpack.packing.table import Table
from recpack.problem_lines import summary, way_out
from recpack.problems import count_text
from recpack.progress import Progress, Watch
from recpack.sinks.base import Receipts, SegmentWriter, Sink, SinkPlan, Written, WrittenSegment
from recpack.workers.backends import (
    backend_kind,
    in_own_processes,
    outlast_tasks,
    worker_count,
)
from recpack.workers.run import run
from recpack.workers.settings import DASK, RAY

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_SHARES = 16
"""Segments per worker, at least: so all workers end at about the same time."""
_WORTH_A_TASK = 1 << 20
"""Bytes of a segment, at least: packing fewer takes less time than starting a process."""
_PATIENCE = 20
_PAUSE = 0.05
"""Rounds of questions without a new receipt before it fails, and seconds between them."""


def pack_samples(source: PackInput, settings: PackSettings, sink: Sink, progress: Watch) -> Packed:
    """Pack into an entered sink. Where errors are skipped, leave out the images that fail."""
    while True:
        packing = _Packing(source, settings, sink, progress)
        segments = packing.pack()
        failures = [failure for segment in segments for failure in segment.failures]
        if not failures:
            rows = source.rows
            if rows is None and source.listed:
                rows = CheckedLines(map(decompress_rows, [one.rows for one in segments]))
            return Packed(source, sink, rows, packing.lengths, packing.finish(segments))
        if settings.on_error == "fail":
            found = as_problems(failures, settings)
            advice = way_out(found, left=len(failures) < len(source.samples))
            raise DataError(summary(found, way_out=advice), source.problems + found)
        # a bad image changes the numbers of all records after it: pack again
        source = source.without(failures, settings)


class _Packing:
    """One attempt to pack all samples into a sink."""

    def __init__(
        self, source: PackInput, settings: PackSettings, sink: Sink, progress: Watch
    ) -> None:
        self._samples, self._shaping = source.samples, source.shaping
        self._format_list = (
            partial(compress_rows, precision=source.precision)
            if source.rows is None and source.listed
            else None
        )
        samples, self._settings = source.samples, settings
        self._sink, self._progress = sink, progress
        self._backend = "threading" if sink.in_process else settings.backend
        lengths = expected_lengths(samples)
        if lengths.sum() > sink.min_segment > 0:
            lengths = self._estimate(lengths)
        size = settings.segment_bytes
        if not sink.min_segment:  # parts must not depend on the workers: a resumed run needs equal
            workers = worker_count(settings.jobs, len(samples), self._backend)
            share = int(lengths.sum()) // (_SHARES * workers)
            size = min(size, max(share, _WORTH_A_TASK))
        self._cuts = plan_cuts(lengths, size, sink.min_segment, sink.max_segments)
        self._sizes: list[int] = np.add.reduceat(lengths, self._cuts[:-1]).tolist()
        self._workers = worker_count(settings.jobs, len(self._cuts) - 1, self._backend)
        self._receipts: dict[int, str] = {}
        self.lengths = np.empty(len(samples), np.uint32)
        """Bytes of each record, once it is packed."""
        self._writer = sink.open(
            SinkPlan(
                segments=len(self._cuts) - 1,
                workers=self._workers,
                lasting=outlast_tasks(self._backend),
                ordered=backend_kind(self._backend) not in (DASK, RAY),
                fingerprint=self._fingerprint,
            )
        )
        self._table = Table(samples, self._backend, self._workers)

    def pack(self) -> list[PackedSegment]:
        """Pack all segments, in order; too small segments are not in the sink yet."""
        tasks = segments(self._table, self._cuts, self._sizes, self._sink.min_segment)
        packed = []
        done = size = 0
        count = len(self._cuts) - 1
        with closing(self._run(tasks, count, self._format_list)) as results:
            for segment in results:
                self._receipts |= segment.receipts
                end = done + len(segment.lengths)
                self.lengths[done:end] = segment.lengths
                packed.append(replace(segment, lengths=self.lengths[:0]))  # not twice
                done, size = end, size + segment.size
                if self._progress is not None:
                    self._progress(Progress("pack", done, len(self._samples), size))
        return packed

    def finish(self, packed: list[PackedSegment]) -> Written:
        """Pack too small segments again, together with their neighbours, and wait until everything
        has arrived."""
        runs = merge_small([segment.size for segment in packed], self._sink.min_segment)
        again = [
            Segment(
                run.start,
                self._table.part(self._cuts[run.start], self._cuts[run.stop]),
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
                    raise DataError(summary(as_problems(segment.failures, self._settings)))
                written[task.number] = WrittenSegment(task.number, segment.size, segment.checksum)
        if self._sink.gives_receipts:
            self._drain(written.keys())
        return Written(self._sink.checksum, list(written.values()), self._receipts)

    def _run(
        self,
        tasks: Iterable[Segment],
        count: int,
        format_list: Callable[[Samples], bytes] | None = None,
    ) -> Generator[PackedSegment, None, None]:
        return self._in_parallel(self._work(self._writer, count, format_list), tasks, count)

    def _in_parallel(
        self, function: Callable[[Task], Outcome], tasks: Iterable[Task], count: int
    ) -> Generator[Outcome, None, None]:
        return run(function, tasks, count, jobs=self._settings.jobs, backend=self._backend)

    def _work(
        self,
        writer: SegmentWriter,
        count: int,
        format_list: Callable[[Samples], bytes] | None = None,
    ) -> Callable[[Segment], PackedSegment]:
        return partial(
            pack_segment,
            encoding=self._settings.part(Encoding),
            writer=writer,
            checksum=self._sink.checksum,
            format_list=format_list,
            alone=in_own_processes(
                self._backend, worker_count(self._settings.jobs, count, self._backend)
            ),
        )

    def _drain(self, numbers: Collection[int]) -> None:
        """Wait until every segment has its receipt. It asks all workers, because it does not know
        which one still sends a segment; a worker without receipts pauses, so that the others get
        the question too."""
        self._receipts |= self._writer.drain()
        fruitless = 0
        while missing := [number for number in numbers if number not in self._receipts]:
            before = len(self._receipts)
            ask = partial(_drain, writer=self._writer)
            with closing(self._in_parallel(ask, range(self._workers), self._workers)) as answers:
                for receipts in answers:
                    self._receipts |= receipts
            fruitless = 0 if len(self._receipts) > before else fruitless + 1
            if fruitless == _PATIENCE:
                raise SinkError(
                    f"{self._sink.name}: {count_text(len(missing), 'segment')} never arrived, "
                    "because a worker was lost; run again"
                )

    def _estimate(self, lengths: Int64) -> Int64:
        changes = self._settings.changes_images
        trial = Trial.of(self._samples, lengths, changes_images=changes)
        if trial is None:
            return lengths
        # in the workers: threads that OpenCV starts in this process do not survive a fork
        count = len(trial.positions)
        work = self._work(NullWriter(), count)
        with closing(self._in_parallel(work, trial.segments(), count)) as packed:
            return trial.estimate([one.size for one in packed])

    def _fingerprint(self) -> dict[str, str]:
        samples = self._samples
        return {
            "recpack version": __version__,
            "options": json.dumps(self._shaping),
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
