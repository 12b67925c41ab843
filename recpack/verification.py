"""``recpack verify``: is a ``.rec`` the one that its manifest describes?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import numpy as np

from recpack.checksums import Checksum, parse_checksum
from recpack.demands import READERS, Against, judge_for
from recpack.errors import ConfigError, DataError, RecordError
from recpack.lst import read_list
from recpack.manifest import Manifest, manifest_beside
from recpack.places import Place, base_name
from recpack.problems import Problem, summary
from recpack.progress import Progress
from recpack.reader import RecordFile, RecordReader, open_file
from recpack.recordio import Record, decode_payload, join_parts, locate_record
from recpack.s3.access import Access
from recpack.s3.location import is_s3, parse_location
from recpack.sample import Int64

_BLOCK = 4 << 20


@dataclass(frozen=True)
class Verification:
    """What was compared. ``proof`` is ``read`` (every byte was), ``checksum`` (the store keeps
    one of the whole object) or ``etag``; ``records`` are counted where they were read."""

    name: str
    bytes: int
    checksum: str | None
    proof: str
    records: int | None

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return asdict(self)


def verify(
    path: Place,
    *,
    deep: bool = False,
    reader: str | None = None,
    against: tuple[Place, Place] | None = None,
    endpoint_url: str | None = None,
    requester_pays: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Verification:
    """Compare a ``.rec`` with its manifest: size and checksum and, where it is read, every
    record's frame, its id and its entry in the index.

    A local file is always read. An object on S3 is compared by the checksum that the store keeps
    of it, without a download, unless ``deep``. ``reader`` (``sagemaker``, ``mxnet``, ``gluoncv``,
    ``dali``): every record must be what that reader demands. ``against``, a list and its image
    root: every record must be its row's label and its file's bytes. Both read everything. Raises
    DataError that lists what differs; its ``problems`` name record numbers and byte offsets.
    """
    if reader not in (None, *READERS):
        raise ConfigError(f"reader: {reader!r} is none of {', '.join(READERS)}")
    access = Access(endpoint_url, requester_pays)
    manifest = manifest_beside(path, access)
    if is_s3(path) and not (deep or reader or against):
        return _verify_stored(path, manifest, access)
    judges = [] if reader is None else [judge_for(reader, manifest)]
    problems: list[Problem] = []

    def look(record: Record, number: int) -> None:
        for judge in judges:
            problems.extend(judge(record, number))

    with ExitStack() as stack:
        compared = None
        if against is not None:
            compared = stack.enter_context(Against(read_list(*against, access)))
            judges.append(compared.judge)
        try:
            found = _verify_read(path, manifest, access, progress, look)
        except DataError as error:
            error.problems = problems + error.problems
            raise
        if compared is not None:
            problems.extend(compared.rest())
    if problems:
        raise DataError(
            f"{path}: {len(problems):,} problems\n{summary(problems, all_by='--json')}", problems
        )
    return found


def _verify_stored(path: Place, manifest: Manifest | None, access: Access) -> Verification:
    from recpack.s3.objects import head

    if manifest is None or not manifest.rec["checksum"]:
        raise DataError(f"{path}: there is no manifest to compare with; --deep reads the records")
    location = parse_location(path)
    try:
        found = head(access, location)
    except OSError as error:
        raise DataError(f"{path}: {error}") from error
    _demand_size(path, found.size, manifest)
    checksum, value = parse_checksum(manifest.rec["checksum"])
    stored, expected = found.checksums.get(checksum), checksum.base64(value)
    etag = manifest.rec.get("etag")
    if stored is None and etag is None:
        raise DataError(
            f"{path}: the store keeps no {checksum.value} of it, so it must be read: use --deep"
        )
    if stored is not None and stored != expected:
        raise DataError(
            f"{path}: its {checksum.value} is {stored}, the manifest's {expected}; it is another "
            "object or damaged: pack it anew"
        )
    if stored is None and etag != found.etag:
        raise DataError(
            f"{path}: its ETag is {found.etag}, the manifest's {etag}; it is another object or "
            "was copied: compare it with --deep"
        )
    proof = "etag" if stored is None else "checksum"
    return Verification(base_name(path), found.size, manifest.rec["checksum"], proof, None)


def _verify_read(
    path: Place,
    manifest: Manifest | None,
    access: Access,
    progress: Callable[[Progress], None] | None,
    look: Callable[[Record, int], None],
) -> Verification:
    checksum, expected = Checksum.CRC32, None
    if manifest is not None and manifest.rec["checksum"]:
        checksum, expected = parse_checksum(manifest.rec["checksum"])
    total = manifest.num_samples if manifest is not None else 0
    offsets: list[int] = []
    file = open_file(path, access)
    try:
        if manifest is not None:
            _demand_size(path, file.size, manifest)
        summed = _Summed(file, checksum)
        offset = 0
        while offset < file.size:
            summed.forget(offset)
            try:
                parts = locate_record(summed.read, offset, file.size)
                record = decode_payload(join_parts(summed.read, parts), offset)
                if record.id != len(offsets):
                    raise RecordError(
                        f"record {len(offsets)} at byte {offset} has id {record.id}", offset
                    )
                look(record, len(offsets))
            except RecordError as error:
                raise RecordError(f"{path}: {error}", error.offset) from None
            offsets.append(offset)
            offset = parts[-1].end
            if progress is not None and len(offsets) % 1024 == 0:
                progress(Progress("verify", len(offsets), max(total, len(offsets)), offset))
        value = summed.finish()
    finally:
        file.close()
    if expected not in (None, value):
        raise DataError(
            f"{path}: its {checksum.text(value)} is not the manifest's "
            f"{checksum.text(expected or 0)}; it is damaged: pack it anew"
        )
    if manifest is not None and manifest.num_samples != len(offsets):
        raise DataError(
            f"{path}: it has {len(offsets):,} records, the manifest {manifest.num_samples:,}"
        )
    _demand_index(path, np.array(offsets, np.int64), access)
    return Verification(base_name(path), file.size, checksum.text(value), "read", len(offsets))


def _demand_size(path: Place, size: int, manifest: Manifest) -> None:
    if manifest.rec["bytes"] not in (None, size):
        raise DataError(
            f"{path}: it has {size:,} bytes, the manifest {manifest.rec['bytes']:,}; it was cut "
            "short or replaced: pack it anew"
        )


def _demand_index(path: Place, offsets: Int64, access: Access) -> None:
    with RecordReader(
        path, endpoint_url=access.endpoint_url, requester_pays=access.requester_pays
    ) as reader:
        index = reader.index()
    if index is None:
        raise DataError(f"{path}: there is no index beside it")
    keys, places = index
    if not np.array_equal(places, offsets) or not np.array_equal(keys, np.arange(len(keys))):
        raise DataError(f"{path}: its index does not lead to its records; rebuild it")


class _Summed:
    """A file read once from its beginning to its end, and the checksum of what was read."""

    def __init__(self, file: RecordFile, checksum: Checksum) -> None:
        self._file, self._checksum = file, checksum
        self._start = 0
        self._data = bytearray()
        self._value = 0

    def read(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self._file.size)
        while self._start + len(self._data) < stop:
            self._pull()
        return bytes(self._data[offset - self._start : stop - self._start])

    def forget(self, before: int) -> None:
        """What lies before is not asked for again."""
        if before - self._start > _BLOCK:
            del self._data[: before - self._start]
            self._start = before

    def finish(self) -> int:
        """The checksum of the whole file."""
        return self._value

    def _pull(self) -> None:
        block = self._file.read(self._start + len(self._data), _BLOCK)
        if not block:
            raise DataError("the file was cut short while it was read")
        self._value = self._checksum.of(block, self._value)
        self._data += block
