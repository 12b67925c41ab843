"""The headers and labels of a ``.rec``, read in parallel: its records as samples."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, pairwise, repeat
from typing import NamedTuple

import numpy as np

from recpack.columns import Float32, GrowingColumns, Int64, StringColumn, narrow
from recpack.data.objects import Choice, choose_objects
from recpack.data.samples import Samples
from recpack.errors import DataError, ImageError, RecordError
from recpack.formats.image_header import read_header
from recpack.formats.record import HEADERS, MAGIC, MAX_PAYLOAD, RECORD_HEADER
from recpack.formats.recordio import (
    ReadAt,
    framed_length,
    label_bytes,
    parse_record,
)
from recpack.progress import Progress, Watch
from recpack.records.record_source import RecordSource
from recpack.records.record_tree import image_path
from recpack.storage.paths import base_name
from recpack.storage.s3.location import is_s3, parse_location
from recpack.storage.trees.ahead import Prefetcher, Request
from recpack.storage.trees.archive import Archive, forward
from recpack.storage.trees.member import Piece
from recpack.workers.run import run
from recpack.workers.settings import Workers

_HEAD, _SEEN = 512, 4096
"""Bytes read of a record: most have their label within the first, and the size of their image
within the second number."""
_TASK = 2048
"""Records."""
_REQUEST, _GAP = 4 << 20, 64 << 10
"""Most bytes of a request to S3 for several records, and most bytes between two of them."""


def read_samples(
    source: RecordSource, settings: Workers, progress: Watch, choice: Choice | None = None
) -> Samples:
    """The records of a ``.rec`` in the order of the file, as samples whose root is
    ``source.tree``; only what ``choice`` keeps of them.

    Reads headers and labels alone, and for a smallest box the headers of images. With an index many
    workers read, and if it is not the file's own, one reads again without it (of a set of shards
    one each). Raises RecordError, with the byte offset, where a file breaks its format, and for a
    record without an image; DataError for what ``choice`` can't judge.
    """
    try:
        return _read(source, source.indexes, settings, progress, choice)
    except RecordError:
        if source.indexes is None:
            raise
        return _read(source, None, settings, progress, choice)


class _Task(NamedTuple):
    """Bytes ``start`` to ``stop`` of a file, which is ``path`` in messages, and the offsets of
    their records if they are known."""

    path: str
    file: Archive
    start: int
    stop: int
    offsets: Int64 | None


def _tasks(source: RecordSource, indexes: Sequence[Int64] | None) -> Iterator[_Task]:
    for number, (path, file) in enumerate(zip(source.paths, source.files, strict=True)):
        if indexes is None and file.size:
            yield _Task(path, file, 0, file.size, None)
        elif indexes is not None:
            index = indexes[number]
            cuts = range(0, len(index), _TASK)
            for first, (start, stop) in zip(
                cuts, pairwise([*index[cuts].tolist(), file.size]), strict=True
            ):
                yield _Task(path, file, start, stop, index[first : first + _TASK])


def _read(
    source: RecordSource,
    indexes: Sequence[Int64] | None,
    settings: Workers,
    progress: Watch,
    choice: Choice | None,
) -> Samples:
    table = GrowingColumns("labels", "widths", "image_bytes")
    known = sum(map(len, indexes)) if indexes is not None else 0
    count = sum(1 for _ in _tasks(source, indexes))
    work = partial(_read_parts, choice=choice)
    tasks = _tasks(source, indexes)
    results = run(work, tasks, count, jobs=settings.jobs, backend=settings.backend)
    done = 0
    with closing(results):
        for part in chain.from_iterable(results):
            table.append(part)
            done += part.read
            if progress is not None:
                progress(Progress("read", done, max(done, known)))
    paths = table.paths()
    if not len(paths):
        raise DataError(
            f"{source.path}: no record is left; choose other classes or a smaller min_box"
        )
    widths, count = table.array("widths", np.int64), len(paths)
    return Samples(
        source.tree,
        np.arange(count),
        paths,
        table.array("labels", np.float32),
        narrow(np.concatenate((np.zeros(1, np.int64), np.cumsum(widths)))),
        table.array("image_bytes", np.int64),
        np.zeros(count, np.uint8),
        np.zeros(count, np.int64),
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """Samples as columns, and the number of records that were read."""

    paths: StringColumn
    labels: Float32
    widths: Int64
    image_bytes: Int64
    read: int


class _Row(NamedTuple):
    """A record: where its image starts, its bytes, those of the whole record if the image lies in
    parts (else 0), its label, where the record ends."""

    start: int
    size: int
    framed: int
    label: bytes
    end: int


def _read_parts(task: _Task, *, choice: Choice | None) -> list[_Part]:
    """Some thousand records each; runs in a worker."""
    name = base_name(task.path)
    measures = choice is not None and choice.shortest > 0
    parts = []
    with closing(_read_rows(task, measures=measures)) as found:
        while block := list(islice(found, _TASK)):
            rows, frames = [row for row, _ in block], [frame for _, frame in block]
            joined = b"".join([row.label for row in rows])
            labels = np.frombuffer(joined, "<f4").astype(np.float32)
            widths = np.array([len(row.label) // 4 for row in rows])
            if choice is not None:
                sizes = np.array(frames, np.float64) if measures else None
                try:
                    stay, labels, widths = choose_objects(labels, widths, sizes, choice)
                except DataError as error:
                    raise DataError(f"{task.path}: {error}") from None
                rows = [rows[row] for row in stay.tolist()]
            paths = StringColumn(image_path(name, row.start, row.size, row.framed) for row in rows)
            image_bytes = np.array([row.size for row in rows], np.int64)
            parts.append(_Part(paths, labels, widths, image_bytes, len(block)))
    return parts


def _read_rows(
    task: _Task, *, measures: bool
) -> Generator[tuple[_Row, tuple[int, int] | None], None, None]:
    """Each record, and the size of its image if asked for."""
    head = _SEEN if measures else _HEAD
    offset, count = task.start, 0
    try:
        with closing(_reads(task, head)) as reads:
            for read, at in reads:
                if at not in (None, offset):
                    raise RecordError(f"the index names byte {at}, the file {offset}", at)
                row = _read_row(read, offset, task.stop, head)
                yield row, _image_size(read, row, offset) if measures else None
                offset, count = row.end, count + 1
                if offset == task.stop:
                    break
        if offset != task.stop or (task.offsets is not None and count != len(task.offsets)):
            raise RecordError(f"the index does not name the record at byte {offset}", offset)
    except OSError as error:
        raise DataError(f"{task.path}: can't be read: {error.strerror or error}") from error
    except RecordError as error:
        raise RecordError(f"{task.path}: {error}", error.offset) from None


def _reads(task: _Task, head: int) -> Generator[tuple[ReadAt, int | None], None, None]:
    """For each record a function that reads it, and its offset if the index names it."""
    file = task.file
    if not is_s3(file.path):
        read: ReadAt = file.source().read
        known = repeat(None) if task.offsets is None else task.offsets.tolist()
        yield from ((read, at) for at in known)
    elif task.offsets is None:
        from recpack.storage.s3.file import RemoteFile

        with closing(RemoteFile(file.s3, parse_location(file.path))) as remote:
            read = forward(remote.read)
            yield from ((read, None) for _ in repeat(None))
    else:
        with Prefetcher() as prefetcher:
            requests = _requests(task.offsets.tolist(), task.stop, file, head)
            for future, group in prefetcher.in_order(requests):
                assert future is not None
                read = future.result().read
                yield from ((read, at) for at in group)


def _requests(
    offsets: list[int], stop: int, file: Archive, head: int
) -> Iterator[Request[Piece, list[int]]]:
    """The beginnings of these records, near ones together."""
    source = file.source()
    first = 0
    for number, at in enumerate(offsets, 1):
        end = min(at + head, stop)
        following = offsets[number] if number < len(offsets) else None
        start = offsets[first]
        if following is None or following > end + _GAP or following + head > start + _REQUEST:
            fetch = partial(Piece, source, start, end - start)
            yield Request(fetch, end - start, offsets[first:number])
            first = number


def _read_row(read: ReadAt, offset: int, stop: int, head: int) -> _Row:
    """The record at an offset. Raises RecordError."""
    data = read(offset, min(head, stop - offset))
    row = None
    if len(data) >= HEADERS.size:
        magic, length, floats, scalar, _, _ = HEADERS.unpack_from(data)
        size = length - RECORD_HEADER.size - 4 * floats
        # one part, complete; all else is rare
        if magic == MAGIC and length <= MAX_PAYLOAD and size >= 0:
            start = offset + HEADERS.size + 4 * floats
            end = offset + framed_length(length)
            if start + size <= stop:
                label = scalar
                if floats:
                    label = data[HEADERS.size : start - offset]
                    if start - offset > len(data):
                        label = read(offset + HEADERS.size, 4 * floats)
                row = _Row(start, size, 0, label, min(end, stop))
    if row is None:
        record, end = parse_record(read, offset, stop)
        row = _Row(offset, len(record.image_bytes), end - offset, label_bytes(record.label), end)
    if not row.size:
        raise RecordError(
            f"the record at byte {offset} has no image: it is a table of ids, as InsightFace "
            "writes them, and would name other records after this; recpack unpack writes a folder "
            "for each identity, which recpack convert --from identities packs again",
            offset,
        )
    return row


def _image_size(read: ReadAt, row: _Row, offset: int) -> tuple[int, int]:
    """Width and height in pixels. Raises RecordError."""
    reads = partial(_read_image, read, row.start, row.size)
    if row.framed:
        image = parse_record(read, offset, row.end)[0].image_bytes
        reads = partial(_read_image, lambda at, length: image[at : at + length], 0, row.size)
    try:
        header = read_header(reads, row.size)
    except ImageError as error:
        raise RecordError(
            f"the record at byte {offset} has an image whose size can't be read ({error}); "
            "leave min_box out, or the image",
            offset,
        ) from None
    return header.width, header.height


def _read_image(read: ReadAt, start: int, size: int, offset: int, length: int) -> bytes:
    return read(start + offset, min(length, size - offset))
