"""The headers and labels of a ``.rec``, read in parallel: its records as samples."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise, repeat
from typing import NamedTuple

import numpy as np

from recpack.columns import Float32, GrowingColumns, Int64, StringColumn, narrow
from recpack.data.objects import Choice, choose_objects
from recpack.data.samples import Samples
from recpack.errors import DataError, ImageError, RecordError
from recpack.formats.image_header import read_header
from recpack.formats.manifest import Manifest
from recpack.formats.recordio import (
    MAGIC,
    MAX_PAYLOAD,
    RECORD_HEADER,
    ReadAt,
    decode_payload,
    framed_length,
    join_parts,
    label_bytes,
    locate_record,
)
from recpack.progress import Progress, Watch
from recpack.records.reader import RecordReader
from recpack.records.record_tree import RecordTree, image_path
from recpack.storage.paths import PathOrUrl, base_name
from recpack.storage.s3.access import Access
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3, parse_location
from recpack.storage.trees.ahead import Prefetcher, Request
from recpack.storage.trees.archive import Archive, find_archive, forward
from recpack.storage.trees.member import Piece
from recpack.workers.run import run
from recpack.workers.settings import Workers

_HEADERS = struct.Struct("<III4sQQ")
"""As ``formats.recordio`` draws them; a scalar label as its bytes."""
_HEAD, _SEEN = 512, 4096
"""Bytes read of a record: most have their label within the first, and the size of their image
within the second number."""
_TASK = 2048
"""Records."""
_REQUEST, _GAP = 4 << 20, 64 << 10
"""Most bytes of a request to S3 for several records, and most bytes between two of them."""


@dataclass(frozen=True)
class RecordSource:
    """A ``.rec`` that is there: its file, its manifest, and the offsets in its index, ascending;
    None where there is none that can be right."""

    path: str
    file: Archive
    manifest: Manifest | None
    index: Int64 | None

    @property
    def tree(self) -> RecordTree:
        """Its images."""
        return RecordTree.of_files([self.file])


def open_source(path: PathOrUrl, access: Access) -> RecordSource:
    """Find a ``.rec`` and read what lies beside it. Raises RecordError for a file that can't be
    opened, DataError when its manifest belongs to another file."""
    with RecordReader(path, mapped=False, **vars(access.part(Access))) as reader:
        try:
            file = find_archive(reader.path, S3Client.of(access))
        except OSError as error:
            raise RecordError(f"{reader.path}: {error.strerror or error}") from error
        manifest = reader.manifest()
        try:
            found = reader.index()
        except RecordError:  # an index only says where to begin
            found = None
        reader.demand_current()
    index = None if found is None else np.sort(found[1])
    if index is not None and not _is_plausible(index, file.size):
        index = None
    size = manifest.rec["bytes"] if manifest is not None else None
    if size not in (None, file.size):
        raise DataError(
            f"{reader.path}: it has {file.size:,} bytes, its manifest says {size:,}; it is "
            "truncated or another file: pack again, or move the manifest away"
        )
    if not file.size:
        raise DataError(f"{reader.path}: it is empty; pack it again")
    return RecordSource(reader.path, file, manifest, index)


def _is_plausible(offsets: Int64, size: int) -> bool:
    return bool(
        len(offsets) and not offsets[0] and (np.diff(offsets) > 0).all() and offsets[-1] < size
    )


def read_samples(
    source: RecordSource, settings: Workers, progress: Watch, choice: Choice | None = None
) -> Samples:
    """The records of a ``.rec`` in the order of the file, as samples whose root is
    ``source.tree``; only what ``choice`` keeps of them.

    Reads headers and labels alone, and for a smallest box the headers of images. With an index many
    workers read, and if it is not the file's own, one reads again without it. Raises RecordError,
    with the byte offset, where the file breaks its format, and for a record without an image;
    DataError for what ``choice`` can't judge.
    """
    try:
        return _read(source, source.index, settings, progress, choice)
    except RecordError:
        if source.index is None:
            raise
        return _read(source, None, settings, progress, choice)


class _Task(NamedTuple):
    """Bytes ``start`` to ``stop``, and the offsets of their records if they are known."""

    start: int
    stop: int
    offsets: Int64 | None


def _read(
    source: RecordSource,
    index: Int64 | None,
    settings: Workers,
    progress: Watch,
    choice: Choice | None,
) -> Samples:
    table = GrowingColumns("labels", "widths", "image_bytes")
    known = 0 if index is None else len(index)
    done = 0
    with closing(_parts(source, index, settings, choice)) as parts:
        for part in parts:
            table.append(part)
            done += part.read
            if progress is not None:
                progress(Progress("read", done, max(done, known), part.stop))
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
    """Samples as columns, the number of records that were read, and the byte after the last."""

    paths: StringColumn
    labels: Float32
    widths: Int64
    image_bytes: Int64
    read: int
    stop: int


class _Row(NamedTuple):
    """A record: where its image starts, its bytes, those of the whole record if the image lies in
    parts (else 0), its label, where the record ends."""

    start: int
    size: int
    framed: int
    label: bytes
    end: int


def _parts(
    source: RecordSource, index: Int64 | None, settings: Workers, choice: Choice | None
) -> Generator[_Part, None, None]:
    size = source.file.size
    if index is None:
        return _read_parts(_Task(0, size, None), source.path, source.file, choice)
    cuts = range(0, len(index), _TASK)
    tasks = (
        _Task(start, stop, index[first : first + _TASK])
        for first, (start, stop) in zip(cuts, pairwise([*index[cuts].tolist(), size]), strict=True)
    )
    work = partial(_read_part, path=source.path, file=source.file, choice=choice)
    return run(work, tasks, len(cuts), jobs=settings.jobs, backend=settings.backend)


def _read_part(task: _Task, *, path: str, file: Archive, choice: Choice | None) -> _Part:
    """Runs in a worker."""
    (part,) = _read_parts(task, path, file, choice)
    return part


def _read_parts(
    task: _Task, path: str, file: Archive, choice: Choice | None
) -> Generator[_Part, None, None]:
    """Some thousand records at a time."""
    name = base_name(path)
    measures = choice is not None and choice.shortest > 0
    with closing(_read_rows(task, path, file, measures=measures)) as found:
        while block := list(islice(found, _TASK)):
            rows, frames = [row for row, _ in block], [frame for _, frame in block]
            joined = b"".join([row.label for row in rows])
            labels = np.frombuffer(joined, "<f4").astype(np.float32)
            widths = np.array([len(row.label) // 4 for row in rows])
            stop, count = rows[-1].end, len(rows)
            if choice is not None:
                sizes = np.array(frames, np.float64) if measures else None
                try:
                    stay, labels, widths = choose_objects(labels, widths, sizes, choice)
                except DataError as error:
                    raise DataError(f"{path}: {error}") from None
                rows = [rows[row] for row in stay.tolist()]
            paths = StringColumn(image_path(name, row.start, row.size, row.framed) for row in rows)
            image_bytes = np.array([row.size for row in rows], np.int64)
            yield _Part(paths, labels, widths, image_bytes, count, stop)


def _read_rows(
    task: _Task, path: str, file: Archive, *, measures: bool
) -> Generator[tuple[_Row, tuple[int, int] | None], None, None]:
    """Each record, and the size of its image if asked for."""
    head = _SEEN if measures else _HEAD
    offset, count = task.start, 0
    try:
        with closing(_reads(task, file, head)) as reads:
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
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    except RecordError as error:
        raise RecordError(f"{path}: {error}", error.offset) from None


def _reads(
    task: _Task, file: Archive, head: int
) -> Generator[tuple[ReadAt, int | None], None, None]:
    """For each record a function that reads it, and its offset if the index names it."""
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
    if len(data) >= _HEADERS.size:
        magic, length, floats, scalar, _, _ = _HEADERS.unpack_from(data)
        size = length - RECORD_HEADER.size - 4 * floats
        # one part, complete; all else is rare
        if magic == MAGIC and length <= MAX_PAYLOAD and size >= 0:
            start = offset + _HEADERS.size + 4 * floats
            end = offset + framed_length(length)
            if start + size <= stop:
                label = scalar
                if floats:
                    label = data[_HEADERS.size : start - offset]
                    if start - offset > len(data):
                        label = read(offset + _HEADERS.size, 4 * floats)
                row = _Row(start, size, 0, label, min(end, stop))
    if row is None:
        parts = locate_record(read, offset, stop)
        record = decode_payload(join_parts(read, parts), offset)
        end = parts[-1].end
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
        parts = locate_record(read, offset, row.end)
        image = decode_payload(join_parts(read, parts), offset).image_bytes
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
