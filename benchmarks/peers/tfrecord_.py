from __future__ import annotations

from rows import in_processes, rows
from tfrecord import TFRecordWriter


def work(part: int, parts: int, out: str) -> None:
    writer = TFRecordWriter(out + ".tfrecord")
    for _, label, path in rows(part, parts):
        with open(path, "rb") as image:
            writer.write({"image": (image.read(), "byte"), "label": (label.tolist(), "float")})
    writer.close()


in_processes(work)
