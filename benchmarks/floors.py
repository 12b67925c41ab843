"""What the machine can do, without recpack's code: ``python benchmarks/floors.py WORK …``

read LIST ROOT                      read every image once into one buffer
copy LIST ROOT OUT PROCESSES        read and write every image once, through 1 MiB buffers
codec LIST ROOT PROCESSES [SHORTER] decode and encode every image with OpenCV, resized or not
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import sys

_BUFFER = 1 << 20
_LARGEST = 64 << 20


def paths(part: int, parts: int) -> list[str]:
    with open(sys.argv[2]) as file:
        names = [line.rstrip("\n").rpartition("\t")[2] for line in file]
    size = -(-len(names) // parts)
    return names[part * size : (part + 1) * size]


def read(part: int, parts: int, out: int | None = None, offset: int = 0) -> None:
    memory = mmap.mmap(-1, _LARGEST, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    room = memoryview(memory)
    root = os.open(sys.argv[3], os.O_RDONLY)
    filled = 0
    for path in paths(part, parts):
        image = os.open(path, os.O_RDONLY, dir_fd=root)
        filled += os.readv(image, [room[filled:]])
        os.close(image)
        if filled >= _BUFFER:
            if out is not None:
                offset += os.pwrite(out, room[:filled], offset)
            filled = 0
    if out is not None:
        os.pwrite(out, room[:filled], offset)


def copy(part: int, parts: int) -> None:
    out = os.open(sys.argv[4], os.O_WRONLY | os.O_CREAT)
    # each process writes its own region of a sparse file, so none waits for another
    read(part, parts, out, part << 34)


def codec(part: int, parts: int) -> None:
    import ctypes

    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    libc = ctypes.CDLL(None)  # keep the memory of one image for the next
    libc.mallopt(-3, 1 << 28)
    libc.mallopt(-1, 1 << 29)
    shorter = int(sys.argv[5]) if len(sys.argv) > 5 else 0
    for path in paths(part, parts):
        pixels = cv2.imdecode(np.fromfile(os.path.join(sys.argv[3], path), np.uint8), 1)
        assert pixels is not None
        if shorter:
            height, width = pixels.shape[:2]
            scale = shorter / min(height, width)
            pixels = cv2.resize(pixels, (int(width * scale), int(height * scale)))
        cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])


if __name__ == "__main__":
    name = sys.argv[1]
    if name == "read":
        read(0, 1)
    else:
        count = int(sys.argv[5 if name == "copy" else 4])
        work = {"copy": copy, "codec": codec}[name]
        processes = [
            multiprocessing.get_context("fork").Process(target=work, args=(part, count))
            for part in range(count)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            if process.exitcode:
                sys.exit(process.exitcode)
