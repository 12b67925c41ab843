"""MXNet RecordIO: the bytes of records and of their index. No files are opened here.

A ``.rec`` file is a sequence of records (dmlc-core ``recordio.h``, little endian)::

    record   = part+
    part     = magic:u32   lrec:u32   data   pad
               0xCED7230A  cflag<<29  bytes  zeros up to the next multiple of 4
                           | length
    cflag    = 0 whole | 1 first | 2 middle | 3 last
    payload  = flag:u32  label:f32  id:u64  id2:u64  float32[flag]  image bytes
               0         4          8       16       24

A reader that has lost its position searches for the magic word on 4-byte boundaries, so a payload
must not have it there. If it does, the writer cuts the payload at that position and drops the word,
and readers put it back between the parts. ``flag`` is the number of floats in the label, and
``label`` is then 0.0; ``flag`` 0 means one scalar label, in ``label`` (image classification).

An ``.idx`` file has one line ``key TAB byte-offset`` per record, in the order of the file.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recpack.columns import Float32, Int64, repeats
from recpack.errors import RecordError
from recpack.formats.record import FLOAT, HEADERS
from recpack.formats.record import MAGIC as MAGIC
from recpack.formats.record import MAX_PAYLOAD as MAX_PAYLOAD
from recpack.formats.record import RECORD_HEADER as RECORD_HEADER
from recpack.formats.record import Record as Record
from recpack.formats.record import decode_payload as decode_payload
from recpack.formats.word_search import find_words
from recpack.storage.limits import MAX_INDEX_LINE, MAX_PARTS

MAGIC_BYTES = struct.pack("<I", MAGIC)
PART_HEADER = struct.Struct("<II")
_LINES = 4096
"""Lines of an index that are formatted at once."""


def framed_length(payload_length: int) -> int:
    """Bytes of a payload in the file, when it has no magic word on a 4-byte boundary."""
    return PART_HEADER.size + (payload_length + 3 & ~3)


def payload_length(label_size: int, image_length: int) -> int:
    """Bytes of a payload. A label vector of one float is stored in the header itself."""
    floats = label_size if label_size != 1 else 0
    return RECORD_HEADER.size + 4 * floats + image_length


def label_bytes(labels: Float32) -> bytes:
    """Float32 values as records store them."""
    return labels.astype(FLOAT, copy=False).tobytes()


class RecordBuffer:
    """Builds records in place, one after the other, in one buffer that is used again and again.

    ``begin`` writes a record's headers and label and returns the memory for its image. The caller
    reads the image directly into it, then ``commit`` ends the record. The memory is page-aligned
    (``mmap``) and grows when a record needs more.
    """

    def __init__(self, capacity: int = 1 << 20) -> None:
        self._memory: mmap.mmap | bytearray = self._allocate(max(capacity, mmap.PAGESIZE))
        self._end = 0
        self._length = 0

    def __len__(self) -> int:
        return self._end

    def clear(self) -> None:
        """Forget the records; the memory stays."""
        self._end = 0

    def view(self, start: int = 0) -> memoryview:
        """The records' bytes, valid until the next ``begin`` or ``clear``."""
        return memoryview(self._memory)[start : self._end]

    def begin(self, id: int, label: bytes, image_length: int) -> memoryview:
        """Start a record and return the memory for ``image_length`` bytes of image.

        ``label`` is a vector of float32, little endian (``label_bytes``); one of length 1 is a
        scalar label. Raises RecordError for a record that is too long for RecordIO (2**29 bytes or
        more).
        """
        floats = len(label) // FLOAT.itemsize
        length = payload_length(floats, image_length)
        self._demand_room(length)
        start, image = self._end, self._end + HEADERS.size
        if floats == 1:
            HEADERS.pack_into(self._memory, start, MAGIC, length, 0, label, id, 0)
        else:
            HEADERS.pack_into(self._memory, start, MAGIC, length, floats, b"", id, 0)
            image += len(label)
            self._memory[start + HEADERS.size : image] = label
        return memoryview(self._memory)[image : image + image_length]

    def begin_payload(self, length: int) -> memoryview:
        """Start a record of any kind, and return the memory for its payload of ``length`` bytes."""
        self._demand_room(length)
        PART_HEADER.pack_into(self._memory, self._end, MAGIC, length)
        at = self._end + PART_HEADER.size
        return memoryview(self._memory)[at : at + length]

    def _demand_room(self, length: int) -> None:
        if length > MAX_PAYLOAD:
            raise RecordError(
                f"a record of {length:,} bytes can't be stored: RecordIO records have less than "
                f"{MAX_PAYLOAD + 1:,} bytes; shrink the image (resize)"
            )
        self._length = length
        if (framed := framed_length(length)) + self._end > len(self._memory):
            self._reserve(framed)

    def commit(self) -> int:
        """End the record that was begun last; return its framed length. Raises RecordError for one
        of more than ``MAX_PARTS`` parts."""
        start, length = self._end, self._length
        at = start + PART_HEADER.size
        cuts = find_words(self._memory, MAGIC_BYTES, at, length)
        if len(cuts) >= MAX_PARTS:
            raise RecordError(
                f"a record with {len(cuts):,} magic words of RecordIO in it can't be stored: it "
                f"would have more than {MAX_PARTS:,} parts; write the image in another format"
            )
        if cuts:
            self._commit_parts(bytes(memoryview(self._memory)[at : at + length]), cuts)
        else:
            self._pad(at + length)
        return self._end - start

    def _commit_parts(self, payload: bytes, cuts: list[int]) -> None:
        self._reserve(framed_length(len(payload)) + 4 * len(cuts))
        begin = 0
        for cut in cuts:
            PART_HEADER.pack_into(
                self._memory, self._end, MAGIC, (2 if begin else 1) << 29 | cut - begin
            )
            at = self._end + PART_HEADER.size
            self._memory[at : at + cut - begin] = payload[begin:cut]
            self._end = at + cut - begin
            begin = cut + 4
        rest = payload[begin:]
        PART_HEADER.pack_into(self._memory, self._end, MAGIC, 3 << 29 | len(rest))
        at = self._end + PART_HEADER.size
        self._memory[at : at + len(rest)] = rest
        self._pad(at + len(rest))

    def _pad(self, end: int) -> None:
        self._end = end + 3 & ~3
        if self._end > end:
            self._memory[end : self._end] = bytes(self._end - end)

    def _reserve(self, length: int) -> None:
        if self._end + length > len(self._memory):
            self._grow(max(self._end + length, len(self._memory) * 5 // 4))

    def _grow(self, size: int) -> None:
        grown = self._allocate(size)
        grown[: self._end] = memoryview(self._memory)[: self._end]
        self._memory = grown

    def _allocate(self, size: int) -> mmap.mmap | bytearray:
        # by default forked workers would share the memory, and all build in one buffer
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class Part(NamedTuple):
    """The bytes of one part's data, ``[start, start + length)``; ``end`` is after its padding."""

    start: int
    length: int
    end: int


ReadAt = Callable[[int, int], bytes]
"""``read(offset, length)``: ``length`` bytes, fewer only at the end of the file."""


def locate_record(read: ReadAt, offset: int, size: int) -> list[Part]:
    """Find the parts of the record that begins at ``offset`` in a file of ``size`` bytes.

    Reads part headers only, so a hostile length costs nothing. Raises RecordError with the byte
    offset for a wrong magic word, a part beyond the end of the file, parts out of order, or more
    parts or bytes than a record can have.
    """
    if offset < 0:  # a slice of a memory map would count from its end
        raise RecordError(f"no record at byte {offset}", offset)
    parts: list[Part] = []
    first, total = offset, -len(MAGIC_BYTES)
    while True:
        header = read(offset, PART_HEADER.size)
        if len(header) < PART_HEADER.size:
            raise RecordError(f"the file ends inside a record header at byte {offset}", offset)
        magic, lrec = PART_HEADER.unpack(header)
        if magic != MAGIC:
            raise RecordError(
                f"no record at byte {offset}: magic word {magic:#010x}, expected {MAGIC:#010x}; "
                "this is not a RecordIO file, it is damaged, or the index belongs to another file",
                offset,
            )
        cflag, length = lrec >> 29, lrec & MAX_PAYLOAD
        start = offset + PART_HEADER.size
        if start + length > size:
            raise RecordError(
                f"the record at byte {offset} claims {length:,} bytes, but only {size - start:,} "
                "are left: the file is truncated or damaged",
                offset,
            )
        if cflag not in ((2, 3) if parts else (0, 1)):
            raise RecordError(f"record parts out of order at byte {offset} (cflag {cflag})", offset)
        total += len(MAGIC_BYTES) + length
        if total > MAX_PAYLOAD or len(parts) == MAX_PARTS:
            raise RecordError(
                f"the record at byte {first} has more than {MAX_PARTS:,} parts or {MAX_PAYLOAD:,} "
                "bytes: the file is damaged",
                first,
            )
        end = min(start + (length + 3 & ~3), size)
        parts.append(Part(start, length, end))
        if cflag in (0, 3):
            return parts
        offset = end


def join_parts(read: ReadAt, parts: Sequence[Part]) -> bytes:
    """The payload of a record, from its parts with magic words between them. Raises RecordError
    when there are fewer bytes than when the parts were found."""
    pieces = [read(part.start, part.length) for part in parts]
    for part, piece in zip(parts, pieces, strict=True):
        if len(piece) < part.length:
            raise RecordError(
                f"the file ends inside the record part at byte {part.start}: it was cut short",
                part.start,
            )
    return MAGIC_BYTES.join(pieces)


def parse_record(read: ReadAt, offset: int, size: int) -> tuple[Record, int]:
    """The record that begins at ``offset`` in a file of ``size`` bytes, and where its frame ends.
    Raises RecordError."""
    parts = locate_record(read, offset, size)
    return decode_payload(join_parts(read, parts), offset), parts[-1].end


def format_index(keys: npt.ArrayLike, offsets: npt.ArrayLike) -> Iterator[str]:
    """The lines of an ``.idx`` file, some thousand at a time."""
    keys, offsets = np.asarray(keys), np.asarray(offsets)
    for start in range(0, len(keys), _LINES):
        block = slice(start, start + _LINES)
        pairs = zip(keys[block].tolist(), offsets[block].tolist(), strict=True)
        yield "".join([f"{key}\t{offset}\n" for key, offset in pairs])


def most_of_index(size: int) -> int:
    """The most bytes that the index of a ``.rec`` of ``size`` bytes can have."""
    return max(size // framed_length(RECORD_HEADER.size), 1) * MAX_INDEX_LINE


def parse_index(data: bytes) -> tuple[Int64, Int64]:
    """The bytes of an ``.idx`` file → keys and offsets, each int64 of shape (n,).

    Raises RecordError for a line that is not ``integer TAB integer``, a negative offset, or a key
    that appears twice.
    """
    keys, offsets = array("q"), array("q")
    for number, line in enumerate(BytesIO(data), 1):
        key, tab, offset = line.partition(b"\t")
        try:
            keys.append(int(key))
            offsets.append(int(offset))
            if not tab or offsets[-1] < 0:
                raise ValueError
        except (ValueError, OverflowError):
            text = line[:80].rstrip().decode("utf-8", "replace")
            raise RecordError(
                f"line {number} of the index is {text!r}, expected 'key TAB byte-offset'; "
                "rebuild the index"
            ) from None
    table = np.asarray(keys), np.asarray(offsets)  # not copies
    if repeats(table[0]):
        raise RecordError("a key appears twice in the index; rebuild the index")
    return table


def is_plausible(offsets: Int64, size: int) -> bool:
    """Whether these ascending offsets can be those of a file of ``size`` bytes."""
    if not len(offsets):
        return not size
    return bool(not offsets[0] and (np.diff(offsets) > 0).all() and offsets[-1] < size)
