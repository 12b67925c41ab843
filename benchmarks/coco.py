"""``python -m benchmarks.coco``: time and memory to open a COCO file of train2017's size (118,287
images, 860,001 objects with segmentations), beside Python's own JSON. See SCALE.md."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGES, OBJECTS, POINTS = 118_287, 860_001, 20


def main() -> None:
    if len(sys.argv) == 3:
        measure(*sys.argv[1:])
        return
    with tempfile.TemporaryDirectory(
        dir="/dev/shm" if Path("/dev/shm").is_dir() else None
    ) as folder:
        file = make(Path(folder))
        print(f"{file.stat().st_size / 1e6:,.0f} MB")
        for reader in ("recpack", "json"):
            subprocess.run([sys.executable, "-m", "benchmarks.coco", reader, str(file)], check=True)


def make(root: Path) -> Path:
    """Make the file, and the one image that recpack looks for."""
    draw = random.Random(0)
    images = [
        {"id": n, "file_name": f"{n:012}.jpg", "width": 640, "height": 480, "license": 3,
         "coco_url": f"http://images.cocodataset.org/train2017/{n:012}.jpg"}
        for n in range(IMAGES)
    ]  # fmt: skip
    objects = [
        {"id": n + 1, "image_id": draw.randrange(IMAGES), "category_id": draw.randint(1, 80),
         "bbox": [round(draw.uniform(1, 300), 2) for _ in range(4)], "iscrowd": 0,
         "segmentation": [[round(draw.uniform(0, 600), 2) for _ in range(2 * POINTS)]]}
        for n in range(OBJECTS)
    ]  # fmt: skip
    categories = [{"id": n, "name": f"class {n}"} for n in range(1, 81)]
    (root / "annotations").mkdir()
    (root / "train2017").mkdir()
    (root / "train2017" / f"{0:012}.jpg").touch()
    file = root / "annotations" / "instances_train2017.json"
    file.write_text(
        json.dumps({"images": images, "annotations": objects, "categories": categories})
    )
    return file


def measure(reader: str, file: str) -> None:
    """Measure this process, which does nothing else."""
    start = time.perf_counter()
    if reader == "json":
        json.loads(Path(file).read_bytes())
    else:
        from recpack.sources.open import open_dataset
        from recpack.sources.selection import Selection
        from recpack.storage.s3.client import S3Client

        assert len(open_dataset(file, Selection(), S3Client())) == IMAGES
    status = Path("/proc/self/status").read_text()  # getrusage's peak would be the parent's too
    peak = int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1e6
    print(f"{reader}: {time.perf_counter() - start:.1f} s, {peak:.2f} GB at most")


if __name__ == "__main__":
    main()
