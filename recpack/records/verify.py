"""``recpack verify``: compare a ``.rec`` with its manifest."""

from __future__ import annotations

import os
from array import array
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from shlex import quote

import numpy as np

from recpack.columns import Float64, Int64
from recpack.data.samples import Samples
from recpack.errors import DataError, RecordError
from recpack.formats.manifest import Manifest, manifest_beside, shard_paths
from recpack.formats.recordio import is_plausible, parse_record
from recpack.problem_lines import summary
from recpack.problems import Problem
from recpack.progress import Progress, Watch
from recpack.records.checksum_reader import ChecksumReader
from recpack.records.reader import RecordReader
from recpack.records.reader_rules import RULES, Rule, SourceComparison, Whole, rule_of
from recpack.records.record_file import open_file
from recpack.records.settings import Reader, VerifySettings
from recpack.records.verdicts import Facts, Seen, verdicts
from recpack.records.verify_set import (
    Shard,
    shards_of,
    verify_set,
    verify_stored_shard,
)
from recpack.records.verify_stored import Verification, demand_size, verify_stored
from recpack.settings import takes
from recpack.sources.lst import read_list
from recpack.storage.checksums import Checksum, parse_checksum
from recpack.storage.paths import PathOrUrl, base_name
from recpack.storage.s3.access import Access
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3
from recpack.workers.backends import worker_count
from recpack.workers.run import run
from recpack.workers.settings import Workers

_RANGE = 16 << 20
_SHARES = 4
_MOST = 1 << 10
"""Bytes of a range at least, ranges per worker, and workers at most."""
_REQUESTS = Workers(jobs=16, backend="threading")


@takes(VerifySettings)
def verify(path: PathOrUrl, settings: VerifySettings) -> Verification:
    """Compare a ``.rec`` with its manifest: size and checksum and, if it is read, every record's
    frame and its entry in the index. Ids and keys can be any numbers, as in readers.

    A local file is always read. Of an object on S3, only the checksum that the store keeps is
    compared, without a download, unless ``deep``. ``reader``: every record must follow the rules of
    ``sagemaker``, ``mxnet``, ``gluoncv`` or ``dali`` for object detection, of
    ``image-classification`` (SageMaker's, MXNet's) or ``insightface``.
    ``against``, a list and its image root: every record must have its row's label and its file's
    bytes. Both read everything. ``jobs`` and ``backend`` work as in ``convert``. Raises DataError
    that lists the differences; its ``problems`` name record numbers and byte offsets. Of a set,
    by its name, each shard is held against its entry in the manifest, and the rows of ``against``
    are those of all records in order.
    """
    s3 = S3Client.of(settings)
    if is_s3(path) and not (settings.deep or settings.reader or settings.against):
        manifest = manifest_beside(path, s3)
        if manifest is None or manifest.shards in ((), (manifest.rec,)):
            return verify_stored(path, manifest, s3)
        shards = shards_of(shard_paths(path, s3), manifest, None, ())
        work = partial(verify_stored_shard, s3=s3)
        return verify_set(path, manifest, work, shards, _REQUESTS, settings.progress)
    rows = None if settings.against is None else read_list(*settings.against, s3)
    with RecordReader(path, mapped=False, **vars(settings.part(Access))) as reader:
        manifest = reader.manifest()
        if manifest is None or reader.paths == (reader.path,):
            workers, progress = settings.part(Workers), settings.progress
            return _verify_file(reader, manifest, rows, workers, progress, s3, settings.reader)
        starts = [] if rows is None else reader.starts.tolist()
        shards = shards_of(reader.paths, manifest, rows, starts)
        if not is_s3(path):  # a worker can have another working directory
            shards = [shard._replace(path=os.path.abspath(shard.path)) for shard in shards]
        work = partial(_verify_shard, s3=s3, rules=settings.reader)
        return verify_set(path, manifest, work, shards, settings.part(Workers), settings.progress)


def _verify_file(
    reader: RecordReader,
    manifest: Manifest | None,
    rows: Samples | None,
    workers: Workers,
    progress: Watch,
    s3: S3Client,
    rules: Reader | None,
) -> Verification:
    whole = Whole.of(reader, rules, s3)
    verifier = _Verifier(reader.path, manifest, s3, rules, rows, whole)
    try:
        return verifier.run(reader, workers, progress)
    except DataError:
        reader.demand_current()  # else what differs is not damaged
        raise


def _verify_shard(
    shard: Shard, workers: Workers, *, s3: S3Client, rules: Reader | None
) -> Verification:
    """Runs in a worker."""
    payer = s3.requester_pays
    with RecordReader(
        shard.path, mapped=False, endpoint_url=s3.endpoint_url, requester_pays=payer
    ) as reader:
        return _verify_file(reader, shard.manifest, shard.rows, workers, None, s3, rules)


@dataclass(frozen=True)
class _Range:
    """Bytes ``start`` to ``stop`` of the file, the number of its first record, and the rows of its
    records."""

    start: int
    stop: int
    first: int
    rows: Samples | None


@dataclass(frozen=True)
class _RangeResult:
    """The records of a range: offsets int64 (records,), the checksum of its bytes, the problems,
    the error that ended it, its records without an image (see ``FaceFile.whole``), and what all of
    them show."""

    offsets: Int64
    checksum: int
    problems: list[Problem]
    error: RecordError | None
    tables: Float64
    facts: Facts


@dataclass(frozen=True)
class _Verifier:
    """Reads a whole ``.rec``, in ranges from its index. If a range is broken, it reads the file
    again in one range, because the index can be wrong."""

    path: PathOrUrl
    manifest: Manifest | None
    s3: S3Client
    reader: Reader | None
    rows: Samples | None
    whole: Whole

    def run(self, reader: RecordReader, settings: Workers, progress: Watch) -> Verification:
        path, manifest = self.path, self.manifest
        size, index = reader.size, self._index(reader)
        if manifest is not None:
            demand_size(path, size, manifest)
        ranges = self._ranges(size, index, worker_count(settings.jobs, _MOST, settings.backend))
        results = self._read(ranges, size, settings, progress)
        if len(ranges) > 1 and any(one.error is not None for one in results):
            ranges = [_Range(0, size, 0, self.rows)]
            results = self._read(ranges, size, Workers(jobs=1), progress)
        offsets = np.concatenate([one.offsets for one in results])
        problems = [problem for one in results for problem in one.problems]
        if (error := results[-1].error) is not None:
            error.problems = problems + error.problems
            raise error
        tables = np.concatenate([one.tables for one in results])
        # InsightFace's tables, which come first, are no samples
        samples = len(offsets) - len(tables) * bool((tables[:1, 0] == 0).all())
        if self.rows is not None:
            problems += [
                Problem("record-missing", "error", sample.path, "error")
                for sample in self.rows.slice(min(samples, len(self.rows)), len(self.rows))
            ]
        checksum, expected = self._expected()
        value = 0
        for one, part in zip(results, ranges, strict=True):
            value = checksum.combine(value, one.checksum, part.stop - part.start)
        if expected not in (None, value):
            raise DataError(
                f"{path}: it has {checksum.text(value)}, the manifest "
                f"{checksum.text(expected or 0)}; it is damaged: pack again",
                problems,
            )
        of_set = manifest is not None and manifest.shards  # it counts the samples of all
        counts = (samples, len(offsets))
        if manifest is not None and not of_set and manifest.num_samples not in counts:
            raise DataError(
                f"{path}: it has {len(offsets):,} records, the manifest {manifest.num_samples:,}",
                problems,
            )
        rules, indexed = self._rules(), index is not None and np.array_equal(index, offsets)
        if "index" in rules and not indexed:
            command = f"recpack index {quote(os.fspath(path))}"
            text = f"there is no index beside it; make one: {command}"
            if index is not None:
                text = f"its index does not match its records; rebuild it: {command} --overwrite"
            raise DataError(f"{path}: {text}", problems)
        if self.whole.faces is not None:
            keys = reader.keys[np.argsort(reader.offsets)]
            problems += self.whole.faces.whole(os.fspath(path), tables, keys)
        if problems:
            told = f"rules: {', '.join(rules)}" + f"; reader: {self.reader}" * bool(self.reader)
            text = summary(problems, all_by="--json", noun="record")
            raise DataError(f"{path}: {text}\n{told}", problems)
        told = checksum.text(value)
        facts = Facts.sum(one.facts for one in results)
        readers = verdicts(facts, indexed=indexed, reader=self.reader)
        return Verification(
            base_name(path), size, told, "read", len(offsets), rules, self.reader, readers=readers
        )

    def _rules(self) -> tuple[str, ...]:
        return (
            *(("manifest",) if self.manifest is not None else ()),
            "recordio",
            *(RULES[self.reader] if self.reader is not None else ("index",)),
            *(("list",) if self.rows is not None else ()),
        )

    def _index(self, reader: RecordReader) -> Int64 | None:
        """The offsets of the index, in ascending order: its lines can be in any order."""
        try:
            index = reader.index()
        except RecordError:
            if "index" in self._rules():
                raise
            return None
        return None if index is None else np.sort(index[1])

    def _expected(self) -> tuple[Checksum, int | None]:
        if self.manifest is not None and self.manifest.rec["checksum"]:
            return parse_checksum(self.manifest.rec["checksum"])
        return Checksum.CRC32, None

    def _ranges(self, size: int, index: Int64 | None, count: int) -> list[_Range]:
        """Ranges of about equal size, several per worker; one range without a plausible index."""
        cuts = np.zeros(1, np.int64)
        starts = cuts
        if index is not None and len(index) and is_plausible(index, size):
            length = max(_RANGE, -(-size // (count * _SHARES)))
            cuts = np.unique(np.searchsorted(index, np.arange(0, size, length)))
            # where tables have no rows, the number of a record is not that of its row
            one = self.rows is not None and len(self.rows) != len(index)
            cuts = cuts[:1] if one else cuts[cuts < len(index)]
            starts = index[cuts]
        rows = 0 if self.rows is None else len(self.rows)
        row_cuts = np.append(np.minimum(cuts, rows), rows).tolist()
        return [
            _Range(start, stop, first, self.rows and self.rows.slice(row, last))
            for start, stop, first, row, last in zip(
                starts.tolist(),
                [*starts[1:].tolist(), size],
                cuts.tolist(),
                row_cuts[:-1],
                row_cuts[1:],
                strict=True,
            )
        ]

    def _read(
        self,
        ranges: list[_Range],
        size: int,
        settings: Workers,
        progress: Watch,
    ) -> list[_RangeResult]:
        """The results of the ranges, up to the first error."""
        done = []
        read = partial(
            _read_range,
            path=os.path.abspath(self.path) if not is_s3(self.path) else self.path,
            name=os.fspath(self.path),
            s3=self.s3,
            checksum=self._expected()[0],
            reader=self.reader,
            manifest=self.manifest,
            whole=self.whole,
        )
        results = run(read, ranges, len(ranges), jobs=settings.jobs, backend=settings.backend)
        with closing(results):
            for one, part in zip(results, ranges, strict=False):
                done.append(one)
                if one.error is not None:
                    break
                if progress is not None:
                    count = part.first + len(one.offsets)
                    progress(Progress("verify", count, round(count * size / part.stop), part.stop))
        return done


def _read_range(
    part: _Range,
    *,
    path: PathOrUrl,
    name: str,
    s3: S3Client,
    checksum: Checksum,
    reader: Reader | None,
    manifest: Manifest | None,
    whole: Whole,
) -> _RangeResult:
    """Read one range; runs in a worker."""
    problems: list[Problem] = []
    offsets = array("q")
    tables: list[tuple[float, ...]] = []
    seen = Seen(part.first, manifest)
    error = None
    with ExitStack() as stack:
        rules: list[Rule] = [] if reader is None else [rule_of(reader, manifest, whole)]
        if part.rows is not None:
            rules.append(stack.enter_context(SourceComparison(part.rows)).compare)
        file = stack.enter_context(closing(open_file(path, s3, mapped=False)))
        reading = ChecksumReader(file, checksum, part.start, part.stop)
        offset = part.start
        try:
            while offset < part.stop:
                reading.forget(offset)
                record, end = parse_record(reading.read, offset, part.stop)
                for rule in rules:
                    problems.extend(rule(record, part.first + len(offsets)))
                if not record.image_bytes:
                    ends = float(record.label[0]), float(record.label[-1])
                    tables.append((part.first + len(offsets), offset, *ends))
                offsets.append(offset)
                offset = end
                seen.add(record)
        except RecordError as fault:
            error = RecordError(f"{name}: {fault}", fault.offset)
        except OSError as fault:
            raise RecordError(
                f"{name}: can't be read: {fault.strerror or fault}", offset
            ) from fault
        found = np.array(tables, np.float64).reshape(-1, 4)
        starts = np.array(offsets, np.int64)
        seen.gather()
        return _RangeResult(starts, reading.value, problems, error, found, seen.facts)
