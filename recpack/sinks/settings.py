"""What an output is told: the settings, without NumPy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from recpack.settings import Settings, option
from recpack.storage.s3.access import Access

MIN_SEGMENT = 64 << 10
MAX_SEGMENT = 1 << 30

ChecksumName = Literal["crc32", "crc64nvme", "none"]

_UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
          "kb": 10**3, "mb": 10**6, "gb": 10**9}  # fmt: skip


def parse_size(text: str | int) -> int:
    """``16MiB``, ``16 MB``, ``1048576`` → bytes; ValueError for anything else."""
    match = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]*)\s*", str(text))
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(f"{text!r} is no size; write bytes or a unit, like 16MiB")
    return int(match[1]) * _UNITS[match[2].lower()]


def _segment_size(text: str | int) -> int:
    size = parse_size(text)
    if not MIN_SEGMENT <= size <= MAX_SEGMENT:
        raise ValueError(f"{size:,} bytes; {MIN_SEGMENT >> 10} KiB to {MAX_SEGMENT >> 30} GiB")
    return size


class Replace(Settings):
    """Whether an output may replace another."""

    title = "output"

    overwrite: bool = option(default=False, help="replace an existing output")


class Output(Replace):
    """How an output is written. ``segment_size`` is kept in bytes."""

    title = "output"

    segment_size: int | str = option(
        default="16MiB",
        help="bytes that a worker packs at a time",
        metavar="SIZE",
        read=_segment_size,
    )

    @property
    def segment_bytes(self) -> int:
        """``segment_size`` in bytes."""
        return int(self.segment_size)


class Upload(Settings):
    """How an output on S3 is sent and stored."""

    title = "upload to S3"

    resume: bool = option(
        default=False,
        help="continue an interrupted upload; if this one fails, leave it to be continued",
    )
    uploads: int = option(
        default=16, help="requests at a time, of all workers together", metavar="N"
    )
    checksum: ChecksumName = option(
        default="crc32", help="sent with each part and kept with the object"
    )
    storage_class: str | None = option(
        default=None, help="storage class of the .rec", metavar="CLASS"
    )
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = option(
        default=None, help="encryption at rest"
    )
    kms_key_id: str | None = option(default=None, help="key of aws:kms", metavar="KEY")

    def faults(self) -> Iterator[str]:
        if self.kms_key_id is not None and self.sse == "AES256":
            yield "kms_key_id: sse AES256 has no key of yours; take aws:kms"
        if not 1 <= self.uploads <= 256:
            yield f"uploads: {self.uploads}; 1 to 256 at a time"


class S3Settings(Upload, Replace, Access):
    """What an output on S3 is told by a command."""


class S3SinkSettings(S3Settings):
    """What ``S3Sink`` takes. ``patience``: seconds for which a request is repeated after its first
    failure."""

    patience: float = 300.0


class SinkSettings(Output, Upload, Access):
    """What ``open_sink`` is told."""
