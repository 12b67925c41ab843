"""The settings of an output, without NumPy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from recpack.settings import Settings, option
from recpack.storage.s3.access import Access
from recpack.storage.shards import MOST_SHARDS

MIN_SEGMENT = 64 << 10
MAX_SEGMENT = 1 << 30

ChecksumName = Literal["crc32", "crc64nvme", "none"]

_UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
          "kb": 10**3, "mb": 10**6, "gb": 10**9}  # fmt: skip


def parse_size(text: str | int) -> int:
    """``16MiB``, ``16 MB``, ``1048576`` → bytes; ValueError for anything else."""
    match = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]*)\s*", str(text))
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(f"must be bytes, or a number with a unit, like 16MiB (got {text!r})")
    return int(match[1]) * _UNITS[match[2].lower()]


def _segment_size(text: str | int) -> int:
    size = parse_size(text)
    if not MIN_SEGMENT <= size <= MAX_SEGMENT:
        limits = f"{MIN_SEGMENT >> 10} KiB to {MAX_SEGMENT >> 30} GiB"
        raise ValueError(f"must be {limits} (got {size:,} bytes)")
    return size


class Replace(Settings):
    """Whether an output can replace an existing one."""

    title = "output"

    overwrite: bool = option(default=False, help="replace an existing output")


class Output(Replace):
    """The writing of an output. ``segment_size`` is stored in bytes."""

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


class Shards(Settings):
    """The number of files of an output."""

    title = "output"

    shards: int | None = option(
        default=None,
        help="write a set of N files, like x-00000-of-00016.rec, and one manifest, x.json",
        metavar="N",
    )

    def faults(self) -> Iterator[str]:
        if self.shards is not None and not 1 <= self.shards <= MOST_SHARDS:
            yield f"shards: must be 1 to {MOST_SHARDS:,} (got {self.shards})"
        if self.shards is not None and getattr(self, "resume", False):
            yield "resume: not for a set of shards; run again without it, or without shards"


class Upload(Settings):
    """The upload and storage of an output on S3."""

    title = "upload to S3"

    resume: bool = option(
        default=False,
        help="continue an interrupted upload; if this run fails, keep its upload for the next",
    )
    uploads: int = option(
        default=16, help="requests at a time, in all workers together", metavar="N"
    )
    checksum: ChecksumName = option(
        default="crc32", help="checksum that is sent with each part and stored with the object"
    )
    storage_class: str | None = option(
        default=None, help="storage class of the .rec", metavar="CLASS"
    )
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = option(
        default=None, help="server-side encryption"
    )
    kms_key_id: str | None = option(default=None, help="key for aws:kms", metavar="KEY")

    def faults(self) -> Iterator[str]:
        if self.kms_key_id is not None and self.sse == "AES256":
            yield "kms_key_id: not possible with sse=AES256; use sse=aws:kms"
        if not 1 <= self.uploads <= 256:
            yield f"uploads: must be 1 to 256 (got {self.uploads})"


class S3Settings(Upload, Replace, Access):
    """The options of an output on S3."""


class S3SinkSettings(S3Settings):
    """What ``S3Sink`` takes. ``patience``: seconds of retries after a request's first failure."""

    patience: float = 300.0


class SinkSettings(Output, Upload, Access):
    """What ``open_sink`` takes."""
