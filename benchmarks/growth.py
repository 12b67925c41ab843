"""The cost of an image, whatever the number of images."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.data import first_images
from benchmarks.measure import Claim, Table, Work, commands
from benchmarks.setting import Setting, companions, recpack

NONE = "10 images: the start alone"


def tables(setting: Setting) -> Iterator[Table]:
    """One: ``convert`` of more and more images."""
    whole = setting.devkit(max(setting.growth))
    out = setting.memory / "grown.rec"
    works: dict[str, Work] = {}
    for count in (10, *setting.growth):
        devkit = first_images(whole, setting.memory / f"first{count}", count)
        name = NONE if count == 10 else f"{count:,} images"
        works[name] = commands(recpack("convert", devkit, out, "--quiet"), fresh=companions(out))
    first, *others = setting.growth
    claims = [
        Claim(
            f"the cost of an image among {count:,} against that among {first:,}, start left out",
            [f"{count:,} images"], [f"{first:,} images"], least=0.9, most=1.1,
            less=[NONE], fast_less=[NONE], factor=first / count,
        )
        for count in others
    ]  # fmt: skip
    yield Table("convert, by the number of images", works, claims)
