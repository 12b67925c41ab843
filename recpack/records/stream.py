"""Read records as they arrive: from a pipe, a socket, standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO

from recpack.errors import ConfigError, RecordError
from recpack.formats.recordio import Record, parse_record

_MOST = 1 << 20
"""Bytes asked for at once: a length that lies costs no memory that the stream does not fill."""


class _Window:
    """The bytes of a stream from the record that is read up to the last that came."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._start = 0
        self._data = bytearray()

    def read(self, offset: int, length: int) -> bytes:
        at = offset - self._start
        while (missing := at + length - len(self._data)) > 0:
            more = self._stream.read(min(missing, _MOST))
            if not more:
                break
            self._data += more
        return bytes(self._data[at : at + length])

    def forget(self, before: int) -> None:
        del self._data[: before - self._start]
        self._start = before


def read_records(stream: BinaryIO) -> Iterator[Record]:
    """The records of a RecordIO stream that can't be sought, in order, as they arrive.

    ``stream`` is read, not closed; ``Record.offset`` counts from its first byte. Memory: twice the
    longest record. Raises RecordError, with the byte offset, where the stream breaks its format,
    ends inside a record or can't be read, ConfigError for what is no stream.
    """
    if not hasattr(stream, "read"):
        raise ConfigError(
            f"stream: must be a stream of bytes, like sys.stdin.buffer (got {stream!r}); "
            "RecordReader reads files"
        )
    return _read(stream)


def _read(stream: BinaryIO) -> Iterator[Record]:
    window, offset = _Window(stream), 0
    try:
        while window.read(offset, 1):
            record, offset = parse_record(window.read, offset, sys.maxsize)
            window.read(offset, 0)  # the padding, which the last one may lack
            window.forget(offset)
            yield record
    except OSError as error:
        raise RecordError(f"the stream ends at byte {offset}: {error}", offset) from error
