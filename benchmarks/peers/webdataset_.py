from __future__ import annotations

import webdataset
from rows import in_processes, rows


def work(part: int, parts: int, out: str) -> None:
    with webdataset.ShardWriter(out + "-%06d.tar", maxcount=10**9, maxsize=1e9) as writer:
        for key, label, path in rows(part, parts):
            with open(path, "rb") as image:
                writer.write({"__key__": key, "jpg": image.read(), "label.npy": label})


in_processes(work)
