"""Pictures for training: the SSD's loader beside MXNet's iterator and the decoder alone, all with
the same chain of changes, 300 × 300 pixels, batches of 32."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.environments import mxnet_python
from benchmarks.measure import Claim, Table, Work, reporting_command
from benchmarks.setting import HERE, Setting, recpack

BATCH, SIDE = 32, 300


def tables(setting: Setting) -> Iterator[Table]:
    """One table: an epoch of photographs of VOC's sizes."""
    if importlib.util.find_spec("torch") is None:
        return
    rec = setting.memory / "loader.rec"
    devkit = setting.devkit(setting.encoded)
    subprocess.run(list(map(str, recpack("convert", devkit, rec, "--quiet"))), check=True)
    theirs = [mxnet_python(setting.environments), HERE / "peers" / "mxnet_.py", rec, BATCH, SIDE]
    works: dict[str, Work] = {
        "MXNet ImageDetRecordIter, 1 thread": reporting_command(*theirs, 1),
        "Loader, in one process": _work(rec, 0),
        "MXNet ImageDetRecordIter, 2 threads": reporting_command(*theirs, 2),
        "Loader, 2 workers": _work(rec, 2),
        "floor: OpenCV decodes, nothing else": _work(rec, -1),
    }
    one, ours, two, workers, floor = works
    claims = [
        Claim("the loader's images/s a core against MXNet's", [one], [ours], least=2),
        Claim("two workers against two threads", [two], [workers], least=2),
        Claim("the loader against the decoder alone", [ours], [floor]),
    ]
    counts = dict.fromkeys(works, setting.encoded)
    yield Table(f"{setting.encoded:,} images, one epoch of training", works, claims, counts)


def _work(rec: Path, workers: int) -> Work:
    return reporting_command(sys.executable, "-m", "benchmarks.ssd_loader", rec, workers)


def main() -> None:
    """``FILE.rec WORKERS``: print the seconds and CPU seconds of an epoch, the workers' start left
    out; -1 only decodes."""
    import cv2

    import recpack
    from train.ssd.augment import decode
    from train.ssd.batches import Loader

    rec, workers = sys.argv[1], int(sys.argv[2])
    cv2.setNumThreads(1)
    loader = Loader(
        rec, batch_size=BATCH, image_shape=SIDE, label_width=350, training=True,
        workers=max(workers, 0),
    )  # fmt: skip
    for number in range(2):
        cpu, start = time.process_time(), time.perf_counter()
        if workers < 0:
            with recpack.RecordReader(rec) as records:
                for record in records:
                    decode(record.image_bytes, "")
        else:
            for _ in loader.epoch(number):
                pass
        seconds = [time.perf_counter() - start, time.process_time() - cpu]
    loader.close()
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
