"""One record of a ``.rec``, as values."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from recpack.columns import Float32
from recpack.data.labels import detection_widths, kind_of
from recpack.errors import RecordError

if TYPE_CHECKING:
    from mmap import mmap

    from recpack.data.annotation import LabelKind

MAGIC = 0xCED7230A
MAX_PAYLOAD = (1 << 29) - 1
RECORD_HEADER = struct.Struct("<IfQQ")
FLOAT = np.dtype("<f4")
HEADERS = struct.Struct("<III4sQQ")
"""Those of a record's first part and of its payload; a scalar label as its bytes."""


class Record:
    """One record as stored. Its values stay as they are: readers may share them.

    ``label`` is a float32 vector, shape (n,): for detection ``[header_width, object_width,
    extra header …, class, xmin, ymin, xmax, ymax, …]``, for classification one float.
    ``image_bytes`` is the encoded image; a table has none. ``offset`` is the record's first byte
    in the file.
    """

    __slots__ = ("_label", "flag", "id", "id2", "image_bytes", "offset")

    def __init__(
        self,
        id: int,
        id2: int,
        flag: int,
        label: Float32 | bytes,
        image_bytes: bytes,
        offset: int = 0,
    ) -> None:
        self.id: Final = id
        self.id2: Final = id2
        self.flag: Final = flag
        self._label = label  # as bytes until somebody asks: an array takes as long as the rest
        self.image_bytes: Final = image_bytes
        self.offset: Final = offset

    @property
    def label(self) -> Float32:
        """The label, float32, shape (n,)."""
        if isinstance(self._label, bytes):
            self._label = np.frombuffer(bytearray(self._label), FLOAT)  # can be written
        return self._label

    @property
    def stored_label(self) -> bytes:
        """The bytes of the label, float32."""
        return self._label if isinstance(self._label, bytes) else self._label.tobytes()

    def __repr__(self) -> str:
        return (
            f"Record(id={self.id}, id2={self.id2}, flag={self.flag}, label={self.label!r}, "
            f"image_bytes=<{len(self.image_bytes)} bytes>, offset={self.offset})"
        )

    @property
    def kind(self) -> LabelKind | Literal["table"]:
        """What the label holds, as its numbers show it: ``boxes`` · ``class``, one class id ·
        ``classes``, 1 or 0 for each · ``numbers`` · ``table``: there is no image, as InsightFace
        writes to say between which ids the images of an identity are."""
        return kind_of(self.label) if self.image_bytes else "table"

    @property
    def is_image(self) -> bool:
        """Whether it holds an image; a table does not."""
        return bool(self.image_bytes)

    @property
    def class_id(self) -> int:
        """The class of a label of one number (of a face: its identity). Raises RecordError for any
        other label."""
        id_ = float(self.label[0]) if len(self.label) == 1 else -1.0
        if id_ < 0 or not id_.is_integer():
            raise self._lacks("class id")
        return int(id_)

    @property
    def header_width(self) -> int:
        """Floats before the first object, 2 or more."""
        return self._widths()[0]

    @property
    def object_width(self) -> int:
        """Floats per object, 5 or more."""
        return self._widths()[1]

    @property
    def boxes(self) -> Float32:
        """Objects, shape (n, object_width): class id, then xmin, ymin, xmax, ymax as ratios of
        the image's size, then extra values. Raises RecordError when the label
        is not a detection label."""
        header, width = self._widths()
        return self.label[header:].reshape(-1, width)

    def _widths(self) -> tuple[int, int]:
        widths = detection_widths(self.label)
        if widths is None:
            raise self._lacks("detection label")
        return widths

    def _lacks(self, wanted: str) -> RecordError:
        """The error that says what the record has instead, and where."""
        count = len(self.label)
        found = f"its label has {count} numbers, not a header and whole objects; see record.label"
        if not self.image_bytes:
            found = f"it has no image: it is a table of ids, {count} numbers in record.label"
        elif detection_widths(self.label):
            found = "its label has boxes, see record.boxes"
        elif count == 1:
            found = f"its label is one number, {self.label[0]:g}: see record.class_id for a class, "
            found += "record.label for any"
        where = f"record {self.id} at byte {self.offset}"
        return RecordError(f"{where} has no {wanted}: {found}", self.offset)


def decode_payload(payload: bytes, offset: int = 0) -> Record:
    """Payload bytes → Record; raises RecordError with ``offset`` when they are too short."""
    if len(payload) < RECORD_HEADER.size:
        raise RecordError(
            f"the record at byte {offset} has {len(payload)} bytes, fewer than the "
            f"{RECORD_HEADER.size} of an image record's header",
            offset,
        )
    flag, _, id_, id2 = RECORD_HEADER.unpack_from(payload)
    image = RECORD_HEADER.size + 4 * flag
    if image > len(payload):
        raise RecordError(
            f"the record at byte {offset} claims {flag:,} label floats, more than its "
            f"{len(payload):,} bytes can hold",
            offset,
        )
    label = payload[RECORD_HEADER.size : image] or payload[4:8]
    return Record(id_, id2, flag, label, payload[image:], offset)


def whole_record(data: bytes | mmap, at: int, stop: int, offset: int) -> tuple[Record, int] | None:
    """The record at ``data[at:stop]``, which is the file's byte ``offset``, and where in ``data``
    its frame ends. None unless it is sound, in one part, and ends there: then ``locate_record``
    finds its parts, or says what is wrong."""
    try:
        magic, length, flag, label, id_, id2 = HEADERS.unpack_from(data, at)
    except struct.error:
        return None
    image, end = at + 32 + 4 * flag, at + 8 + length
    if magic != MAGIC or length > MAX_PAYLOAD or not image <= end <= stop:
        return None
    if flag:
        label = data[at + 32 : image]
    return Record(id_, id2, flag, label, data[image:end], offset), end + (-length & 3)
