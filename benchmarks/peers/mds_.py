from __future__ import annotations

import sys

from rows import in_processes, rows
from streaming import MDSWriter
from streaming.base.util import merge_index

COLUMNS = {"image": "bytes", "label": "ndarray:float32"}


def work(part: int, parts: int, out: str) -> None:
    with MDSWriter(out=out, columns=COLUMNS) as writer:
        for _, label, path in rows(part, parts):
            with open(path, "rb") as image:
                writer.write({"image": image.read(), "label": label})


in_processes(work)
merge_index(sys.argv[3])
