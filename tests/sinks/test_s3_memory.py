"""Memory of a run into S3: ``(workers + uploads) × part size`` beside what Python itself takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sinks.test_s3_sink import URL, photographs
from tests.support.s3server import S3Server

pytestmark = pytest.mark.once

PART = 8 << 20

SCRIPT = """
import sys
import recpack
photos, url, endpoint, uploads, part = sys.argv[1:]
recpack.convert(photos, url, endpoint_url=endpoint, uploads=int(uploads), segment_size=int(part),
                jobs=1, overwrite=True)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(photos: Path, server: S3Server, uploads: int) -> int:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, photos, URL, server.url, str(uploads), str(PART)],
        capture_output=True, text=True, check=True, env=os.environ,
    )  # fmt: skip
    return int(run.stdout) << 10


def test_memory_is_the_parts_in_flight(hostile: S3Server, tmp_path: Path) -> None:
    photos = photographs(tmp_path / "d", 165, 1000, 800)
    # slow enough for all buffers to fill
    hostile.fault = hostile.together(2, 0.4)
    few = peak(photos, hostile, 2)
    hostile.fault = hostile.together(10, 0.4)
    many = peak(photos, hostile, 10)
    size = len(hostile.rec("p/train/train.rec"))
    assert size > 13 * PART
    assert hostile.most_at_once == 10
    assert 7 * PART < many - few < 9.5 * PART
    assert many < 11 * PART + (220 << 20)
