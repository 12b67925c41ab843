"""The cost per image, for different numbers of images.

The output goes to a store that drops it. With an output in memory, fresh pages would dominate the
time: on a virtual machine they cost many times more for the first gigabytes than pages that were
used before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Claim, Table, Work, commands
from benchmarks.s3 import CREDENTIALS, store
from benchmarks.setting import Setting, recpack

NONE = "10 images: the start alone"


def tables(setting: Setting) -> Iterator[Table]:
    """One table: ``convert`` of more and more images."""
    devkits = {count: setting.first(count) for count in (10, *setting.growth)}
    os.environ |= CREDENTIALS
    with store() as url:
        yield _table(setting, devkits, url)


def _table(setting: Setting, devkits: dict[int, Path], url: str) -> Table:
    out = ["s3://bucket/p/grown.rec", "--endpoint-url", url, "--overwrite", "--quiet"]
    works: dict[str, Work] = {
        NONE if count == 10 else f"{count:,} images": commands(recpack("convert", devkit, *out))
        for count, devkit in devkits.items()
    }
    # unlike ten images, the first of these numbers starts all workers
    first, second, *others = setting.growth
    claims = [
        Claim(
            f"each image from {first:,} to {count:,} against each from {first:,} to {second:,}",
            [f"{count:,} images"], [f"{second:,} images"], least=0.9, most=1.1,
            less=[f"{first:,} images"], fast_less=[f"{first:,} images"],
            factor=(second - first) / (count - first),
        )
        for count in others
    ]  # fmt: skip
    return Table("convert s3://, by the number of images", works, claims)
