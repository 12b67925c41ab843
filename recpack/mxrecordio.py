"""The names of ``mxnet.recordio``, without MXNet: change one import, and nothing else::

    from recpack import mxrecordio as recordio

Signatures, defaults and the bytes written are those of MXNet 1.9.1. Where it raises
``mxnet.base.MXNetError``, this raises ``MXNetError``, which is a RuntimeError too, and a
RecordError. What differs: a reader stays open when it is pickled; ``s3://…`` can be read.

A writer here writes in place, as MXNet's does: a run that is killed leaves half a file, and no
manifest says that it is whole. ``recpack.RecordWriter`` publishes a complete file or none.
"""

from __future__ import annotations

import numbers
import os
import struct
from collections import namedtuple
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from recpack.columns import Pixels
from recpack.errors import RecordError
from recpack.formats.record import MAGIC, MAX_PAYLOAD
from recpack.formats.recordio import PART_HEADER, RecordBuffer, join_parts, locate_record
from recpack.records.record_file import RecordFile, open_file
from recpack.storage.regular import open_regular
from recpack.storage.s3.client import S3Client

__all__ = [
    "IRHeader", "MXIndexedRecordIO", "MXNetError", "MXRecordIO", "pack", "pack_img", "unpack",
    "unpack_img",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


_SEGMENT = 1 << 20
"""Bytes that are written at once."""
_HEADER = struct.Struct("IfQQ")
"""Native as MXNet's: so a label beyond float32 becomes infinite, and is no error."""


class MXNetError(RecordError, RuntimeError):
    """A file can't be opened, read or written, or breaks its format."""


class MXRecordIO:
    """Reads or writes the payloads of a ``.rec`` one after the other.

    ``flag`` is ``r`` or ``w``. Raises MXNetError.
    """

    def __init__(self, uri: str | os.PathLike[str], flag: str) -> None:
        self.is_open = False
        self.uri = os.fspath(uri)
        self.flag = flag
        self.pid: int | None = None
        self.open()

    def open(self) -> None:
        """Open the file: at its beginning, or empty."""
        if self.flag not in ("r", "w"):
            raise ValueError(f"Invalid flag {self.flag}")
        self.writable = self.flag == "w"
        self._position = 0
        try:
            if self.writable:
                self._output: IO[bytes] = open(self.uri, "wb", buffering=0)  # noqa: SIM115
                self._buffer = RecordBuffer(2 * _SEGMENT)
            else:
                self._input: RecordFile = open_file(self.uri, S3Client())
        except OSError as error:
            raise MXNetError(f"{self.uri}: can't be written: {error.strerror}") from error
        except RecordError as error:
            raise MXNetError(str(error), error.offset) from error
        self.pid = os.getpid()
        self.is_open = True

    def __del__(self) -> None:
        if getattr(self, "is_open", False):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        """It opens again where it is unpickled; a writer then begins an empty file."""
        is_open = self.is_open
        if self.writable:
            self.close()
        hidden = ("_input", "_output", "_buffer")
        state = {name: value for name, value in vars(self).items() if name not in hidden}
        return state | {"is_open": is_open}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, is_open=False)
        if state["is_open"]:
            self.open()

    def _check_pid(self, allow_reset: bool = False) -> None:
        """Raise RuntimeError in another process than the one that opened the file, and when it is
        closed; or open it, where that is allowed."""
        if self.pid != os.getpid():
            if not allow_reset:
                raise RuntimeError("Forbidden operation in multiple processes")
            self.reset()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if not self.is_open:
            return
        self.is_open = False
        if not self.writable:
            self._input.close()
        else:
            with self._output:
                if self.pid == os.getpid():  # what is not written yet is the parent's to write
                    self._flush()
        self.pid = None

    def reset(self) -> None:
        """Go back to the beginning; a writer empties its file."""
        self.close()
        self.open()

    def tell(self) -> int:
        """Where the next record is written."""
        assert self.writable
        return self._position + len(self._buffer)

    def write(self, buf: bytes) -> None:
        """Append one payload."""
        assert self.writable
        self._check_pid(allow_reset=False)
        if not isinstance(buf, bytes):
            raise TypeError(f"bytes expected instead of {type(buf).__name__} instance")
        try:
            self._buffer.begin_payload(len(buf))[:] = buf
            self._buffer.commit()
        except RecordError as error:
            raise MXNetError(f"{self.uri}: {error}") from None
        if len(self._buffer) >= _SEGMENT:
            self._flush()

    def _flush(self) -> None:
        try:
            rest = self._buffer.view()
            while rest:
                rest = rest[self._output.write(rest) :]
        except OSError as error:
            raise MXNetError(f"{self.uri}: can't be written: {error.strerror}") from error
        self._position += len(self._buffer)
        self._buffer.clear()

    def read(self) -> bytes | None:
        """The next payload; None at the end."""
        assert not self.writable
        self._check_pid(allow_reset=False)
        file, offset = self._input, self._position
        if file.map is not None and 0 <= offset <= file.size - PART_HEADER.size:
            magic, length = PART_HEADER.unpack_from(file.map, offset)
            start = offset + PART_HEADER.size
            if magic == MAGIC and length <= MAX_PAYLOAD and start + length <= file.size:
                self._position = start + (length + 3 & ~3)
                return file.map[start : start + length]
        if offset >= file.size:
            return None
        try:
            parts = locate_record(file.read, offset, file.size)
            payload = join_parts(file.read, parts)
        except (OSError, RecordError) as error:
            raise MXNetError(f"{self.uri}: {error}", offset) from error
        self._position = parts[-1].end
        return payload


class MXIndexedRecordIO(MXRecordIO):
    """Reads or writes the payloads of a ``.rec`` by their keys in its ``.idx``.

    ``keys`` in the order of the index, ``idx`` the byte offset of each; ``key_type`` makes a key
    from its text.
    """

    def __init__(
        self,
        idx_path: str | os.PathLike[str],
        uri: str | os.PathLike[str],
        flag: str,
        key_type: Callable[[Any], Any] = int,
    ) -> None:
        self.idx_path = idx_path
        self.idx: dict[Any, int] = {}
        self.keys: list[Any] = []
        self.key_type = key_type
        self.fidx: IO[str] | None = None
        super().__init__(uri, flag)

    def open(self) -> None:
        super().open()
        path = self.idx_path if self.writable else open_regular(self.idx_path)
        self.fidx = open(path, self.flag)  # noqa: SIM115
        if self.writable:
            self.idx, self.keys = {}, []
        elif not self.idx:
            for line in self.fidx:
                text, offset, *_ = line.strip().split("\t")
                key = self.key_type(text)
                self.idx[key] = int(offset)
                self.keys.append(key)

    def close(self) -> None:
        """Close both files; a second call does nothing."""
        if self.is_open:
            super().close()
            if self.fidx is not None:
                self.fidx.close()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"fidx": None}

    def seek(self, idx: Any) -> None:
        """Go to the record with this key; KeyError when there is none."""
        assert not self.writable
        self._check_pid(allow_reset=True)
        self._position = self.idx[idx]

    def read_idx(self, idx: Any) -> bytes | None:
        """The payload with this key; KeyError when there is none."""
        self.seek(idx)
        return self.read()

    def write_idx(self, idx: Any, buf: bytes) -> None:
        """Append one payload, and its line to the index."""
        key = self.key_type(idx)
        position = self.tell()
        self.write(buf)
        assert self.fidx is not None
        self.fidx.write(f"{key}\t{position}\n")
        self.idx[key] = position
        self.keys.append(key)


IRHeader = namedtuple("HEADER", ["flag", "label", "id", "id2"])  # type: ignore[name-match]
"""``flag``: the number of floats in the label, 0 for one number · ``label``: a number, or float32
of shape (flag,) · ``id`` · ``id2``."""
IRHeader.__qualname__ = "IRHeader"  # it has another name, and still can be pickled


def pack(header: Any, s: bytes) -> bytes:
    """The payload of a record: ``header`` (``IRHeader``, or such a tuple) and the image's bytes.
    ``flag`` comes from the label, whatever the header says. Raises struct.error for a number that
    has no room."""
    header = IRHeader(*header)
    if isinstance(header.label, numbers.Number):
        return _HEADER.pack(0, *header[1:]) + s
    label = np.asarray(header.label, np.float32)
    return _HEADER.pack(label.size, 0, header.id, header.id2) + label.tobytes() + s


def unpack(s: bytes) -> tuple[IRHeader, bytes]:
    """The header of a payload, and the image's bytes. Raises struct.error or ValueError for one
    that is too short."""
    header = IRHeader._make(_HEADER.unpack_from(s))
    flag = header.flag
    if not flag:
        return header, s[_HEADER.size :]
    end = _HEADER.size + 4 * flag
    label = np.frombuffer(s[_HEADER.size : end], np.float32, flag)
    return IRHeader(flag, label, header.id, header.id2), s[end:]


def pack_img(header: Any, img: Pixels, quality: int = 95, img_fmt: str = ".jpg") -> bytes:
    """``pack`` with the image encoded by OpenCV. ``img``: uint8, shape (height, width, 3), blue
    first, or (height, width). ``quality``: 1 to 100 of a JPEG, 1 to 9 the compression of a PNG."""
    import cv2

    choice = {
        ".jpg": cv2.IMWRITE_JPEG_QUALITY,
        ".jpeg": cv2.IMWRITE_JPEG_QUALITY,
        ".png": cv2.IMWRITE_PNG_COMPRESSION,
    }.get(img_fmt.lower())
    encoded, data = cv2.imencode(img_fmt, img, [] if choice is None else [choice, quality])
    assert encoded, "failed to encode image"
    return pack(header, data.tobytes())


def unpack_img(s: bytes, iscolor: int = -1) -> tuple[IRHeader, Pixels | None]:
    """The header of a payload, and the image decoded by OpenCV, uint8, shape (height, width, 3),
    blue first, or (height, width); None for what it can't decode. ``iscolor``: how to read it, as
    ``cv2.imdecode`` takes it."""
    import cv2

    header, data = unpack(s)
    pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), iscolor)
    return header, pixels
