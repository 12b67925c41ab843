"""Peak memory of the commands on finished files: what the interpreter has at its start, one segment
and 60 MB, however large the file is, and at most 150 bytes for each small record.

What counts is the resident memory of a child. The pages of a memory map belong to the system, which
takes them back when it needs them. So the commands read without a map, and for ``RecordReader``,
which maps the file unless told otherwise, only the pages of the process itself count.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from recpack.formats.recordio import MAGIC, PART_HEADER, RECORD_HEADER
from tests.support.devkits import jpeg

pytestmark = pytest.mark.slow

IMAGE = 1_000_000
ALLOWED = (16 << 20) + 60_000_000
"""The segment size, and what else there may be."""

SCRIPT = """
import re, sys
import cv2, numpy, joblib, recpack, msgspec
import recpack.pipeline.convert
from recpack.records import inspect, merge, preview, reindex, unpack, verify

def peak(field):
    return int(re.search(field + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

kind, rec, out = sys.argv[1:]
field = "RssAnon" if kind == "reader" else "VmHWM"
before = peak(field)
if kind == "merge":
    recpack.merge(out + ".rec", [rec, rec])
elif kind == "verify":
    recpack.verify(rec, jobs=1)
elif kind == "unpack":
    recpack.unpack(rec, out)
elif kind == "inspect":
    recpack.inspect(rec)
elif kind == "preview":
    recpack.preview(rec, out + ".png", count=150, cell=32)
elif kind in ("reader", "reader without a map"):
    labels = [record.label for record in recpack.RecordReader(rec, mapped=kind == "reader")]
elif kind == "writer":
    with recpack.RecordWriter(out + ".rec") as writer:
        for record in recpack.RecordReader(rec, mapped=False):
            writer.write(record.image_bytes, label=record.label)
print(peak(field) - before)
"""
KINDS = (
    "merge", "verify", "unpack", "inspect", "preview", "reader", "reader without a map", "writer",
)  # fmt: skip


def sparse_rec(path: Path, records: int) -> Path:
    """A .rec whose images have ``IMAGE`` bytes, nearly all of them zeros that need no disk."""
    image = jpeg()
    flag = 7
    length = RECORD_HEADER.size + 4 * flag + IMAGE
    label = struct.pack("<7f", 2, 5, 1, 0.1, 0.2, 0.5, 0.6)
    with path.open("wb") as rec, path.with_suffix(".idx").open("w") as index:
        for number in range(records):
            index.write(f"{number}\t{rec.tell()}\n")
            start = rec.tell()
            head = PART_HEADER.pack(MAGIC, length) + RECORD_HEADER.pack(flag, 0, number, 0)
            rec.write(head + label + image)
            rec.truncate(start + PART_HEADER.size + (length + 3 & ~3))
            rec.seek(0, 2)
    return path


def small_records(path: Path, records: int) -> Path:
    """A .rec with its index whose records have 92 bytes."""
    payload = RECORD_HEADER.pack(7, 0, 0, 0) + struct.pack("<7f", 2, 5, 1, 0.1, 0.2, 0.5, 0.6)
    payload += bytes(32)
    path.write_bytes((PART_HEADER.pack(MAGIC, len(payload)) + payload) * records)
    rows = (f"{number}\t{number * (8 + len(payload))}\n" for number in range(records))
    path.with_suffix(".idx").write_text("".join(rows))
    return path


def grown(kind: str, rec: Path, out: Path) -> int:
    """By how many bytes a child's memory grew, at its peak."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, rec, out], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_bounded(kind: str, tmp_path: Path) -> None:
    rec = sparse_rec(tmp_path / "a.rec", 150)
    assert rec.stat().st_size > 1.9 * ALLOWED
    assert grown(kind, rec, tmp_path / "out") < ALLOWED


@pytest.mark.parametrize(
    ("kind", "records"),
    [("merge", 200_000), ("writer", 100_000), ("inspect", 100_000), ("verify", 100_000)],
)
def test_small_records_take_few_bytes_each(kind: str, records: int, tmp_path: Path) -> None:
    rec = small_records(tmp_path / "a.rec", 100_000)
    assert grown(kind, rec, tmp_path / "out") < (16 << 20) + 150 * records
