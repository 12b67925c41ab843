"""``python -m benchmarks.scale IMAGES``: the coordinator's work for this number of images.

The scan's result is synthetic: paths, labels of 1 to 5 objects, sizes around 50 KB. Measured is all
that the coordinator does with it: shuffle, plan, describe every segment to the workers (they read
no image and answer as if they had packed it), and publish list, index and manifest, to the null
device. Prints the CPU seconds of each step in this process, and its memory, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import recpack.packing.run
from recpack.columns import StringColumn, narrow
from recpack.data.classes import VOC_CLASSES
from recpack.data.samples import Samples
from recpack.packing.estimate import NullWriter
from recpack.packing.input import PackInput
from recpack.packing.plan import Segment, expected_lengths
from recpack.packing.publish import publish
from recpack.packing.segment import PackedSegment
from recpack.packing.settings import PackSettings
from recpack.packing.table import samples_of
from recpack.sinks.base import SegmentWriter, Sink, SinkPlan, Written
from recpack.storage.files import encode_line
from recpack.storage.trees.local import LocalTree
from recpack.workers.settings import FORK

OBJECT = 5
MAX_OBJECTS = 5


def synthetic_scan(images: int) -> Samples:
    """The result of a scan of so many images."""
    random = np.random.RandomState(0)
    counts = random.randint(1, MAX_OBJECTS + 1, images)
    bounds = np.concatenate(([0], np.cumsum(2 + OBJECT * counts, dtype=np.int64)))
    # as of boxes in pixels of images of a few sizes
    labels = random.randint(0, 501, int(bounds[-1]), np.int16).astype(np.float32)
    labels /= 500
    labels[bounds[:-1]], labels[bounds[:-1] + 1] = 2, OBJECT
    body = np.ones(len(labels), np.bool_)
    body[bounds[:-1]] = body[bounds[:-1] + 1] = False
    labels[np.flatnonzero(body)[::OBJECT]] = random.randint(0, 20, int(counts.sum()))
    return Samples(
        LocalTree("/data"),
        np.arange(images, dtype=np.int64),
        StringColumn.join(
            [StringColumn(f"VOC2012/JPEGImages/2012_{number:08d}.jpg" for number in range(images))]
        ),
        labels,
        narrow(bounds),
        random.randint(20_000, 80_000, images).astype(np.int64),
        np.zeros(images, np.uint8),
        np.ones(images, np.int64),
    )


class NullSink(Sink):
    """As S3, but it forgets all."""

    min_segment = 5 << 20
    max_segments = 10_000
    name = "x.rec"

    def open(self, plan: SinkPlan) -> SegmentWriter:
        del plan
        return NullWriter()

    def publish(
        self,
        written: Written,
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[str | None], str],
    ) -> None:
        del written
        with open(os.devnull, "wb") as file:
            for lines in (*companions.values(), [manifest(None)]):
                file.writelines(map(encode_line, lines))

    def abort(self) -> None:
        pass


def answer(
    segment: Segment, *, format_list: Callable[[Samples], bytes], **_: object
) -> PackedSegment:
    """What ``pack_segment`` would answer."""
    samples = samples_of(segment.part)
    lengths = expected_lengths(samples).astype(np.uint32)
    size = int(lengths.sum(dtype=np.int64))
    return PackedSegment(lengths, size, segment.number, rows=format_list(samples))


def main() -> None:
    images = int(sys.argv[1])
    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        seconds[name] = round(time.process_time() - start, 3)

    before = peak()
    samples = synthetic_scan(images)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making it
    vars(recpack.packing.run)["pack_segment"] = answer
    with step("shuffle"):
        samples = samples.reorder(np.random.RandomState(0).permutation(images))
    with step("plan, describe, take the answers"):
        source = PackInput(samples, VOC_CLASSES, [], {})
        packed = recpack.packing.run.pack_samples(
            source, PackSettings(backend=FORK), NullSink(), None
        )
    with step("publish list, index and manifest"):
        publish(packed)
    print(
        json.dumps({
            "images": images,
            "segments": len(packed.shards[0].written.segments),
            "seconds": seconds,
            "us an image": round(sum(seconds.values()) / images * 1e6, 2),
            "bytes an image": round((peak() - before) / images),
            "peak": peak(),
        })
    )  # fmt: skip


def peak() -> int:
    """The peak memory of this process so far, in bytes."""
    _, _, found = Path("/proc/self/status").read_text().partition("VmHWM:")
    return int(found.split()[0]) << 10


if __name__ == "__main__":
    main()
