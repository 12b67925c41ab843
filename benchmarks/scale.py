"""``python -m benchmarks.scale IMAGES``: the coordinator's work for this number of images.

The scan's result is synthetic: paths, labels of 1 to 5 objects, sizes around 50 KB. Measured is all
that the coordinator does with it: shuffle, plan, describe every segment to a worker, make list,
index and manifest (without writing them). Prints the seconds of each step and the peak of memory,
as JSON.
"""

from __future__ import annotations

import json
import pickle
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from recpack.columns import StringColumn
from recpack.data.classes import VOC_CLASSES
from recpack.data.samples import Samples
from recpack.formats.lst import CheckedLines, format_rows
from recpack.formats.manifest import RecFile, describe
from recpack.formats.recordio import format_index
from recpack.packing.plan import expected_lengths, plan_cuts, segments
from recpack.storage.trees.local import LocalTree

OBJECT = 5
MAX_OBJECTS = 5
SEGMENT = 16 << 20
MAX_PARTS = 10_000
MIN_PART = 5 << 20


def synthetic_scan(images: int) -> Samples:
    """The result of a scan of so many images."""
    random = np.random.RandomState(0)
    counts = random.randint(1, MAX_OBJECTS + 1, images)
    bounds = np.concatenate(([0], np.cumsum(2 + OBJECT * counts, dtype=np.int64)))
    labels = random.random_sample(int(bounds[-1])).astype(np.float32)
    labels[bounds[:-1]], labels[bounds[:-1] + 1] = 2, OBJECT
    body = np.ones(len(labels), np.bool_)
    body[bounds[:-1]] = body[bounds[:-1] + 1] = False
    labels[np.flatnonzero(body)[::OBJECT]] = random.randint(0, 20, int(counts.sum()))
    return Samples(
        LocalTree("/data"),
        np.arange(images, dtype=np.int64),
        StringColumn(f"VOC2012/JPEGImages/2012_{number:08d}.jpg" for number in range(images)),
        labels,
        bounds,
        random.randint(20_000, 80_000, images).astype(np.int64),
        np.zeros(images, np.uint8),
        np.ones(images, np.int64),
    )


def main() -> None:
    images = int(sys.argv[1])
    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[name] = round(time.perf_counter() - start, 3)

    before = peak()
    with step("synthetic scan"):
        samples = synthetic_scan(images)
    with step("shuffle"):
        samples = samples.reorder(np.random.RandomState(0).permutation(images))
    with step("plan"):
        lengths = expected_lengths(samples)
        cuts = plan_cuts(lengths, SEGMENT, MIN_PART, MAX_PARTS)
        sizes = np.add.reduceat(lengths, cuts[:-1]).tolist()
    with step("describe segments"):
        described = sum(len(pickle.dumps(segment)) for segment in segments(samples, cuts, sizes))
    with step("list"):
        rows = CheckedLines(format_rows(samples))
        for _ in rows:
            pass
    with step("index"):
        offsets = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        for _ in format_index(samples.indices, offsets):
            pass
    with step("manifest"):
        rec: RecFile = {"name": "x.rec", "bytes": int(lengths.sum()), "checksum": None}
        describe(samples, VOC_CLASSES, [], {}, rec, rows.crc32).to_json()
    print(
        json.dumps({
            "images": images,
            "segments": len(cuts) - 1,
            "descriptions": described,
            "seconds": seconds,
            "bytes an image": round((peak() - before) / images),
            "peak": peak(),
        })
    )  # fmt: skip


def peak() -> int:
    """The peak memory of this program so far, in bytes. (``ru_maxrss`` has its parent's too.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
