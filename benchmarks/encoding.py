"""Encoding every image again, at its size or smaller, beside im2rec and the codec alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Claim, Table, Work, commands
from benchmarks.setting import RECPACK_IMPORTS, Setting, companions, floor, recpack


def tables(setting: Setting) -> Iterator[Table]:
    """One table per way to change images."""
    small, large = setting.devkit(setting.encoded), setting.photographs()
    yield _table(setting, small, f"{setting.encoded:,} images, --reencode", ["--reencode"], [], 1.9)
    for devkit, count, target in ((small, setting.encoded, 1.9), (large, setting.large, 2.2)):
        sides = "500 × 375" if devkit == small else "3000 × 2000"
        title = f"{count:,} images of {sides}, --resize 300"
        yield _table(setting, devkit, title, ["--resize", 300], ["--resize", 300], target)


def _table(
    setting: Setting,
    devkit: Path,
    title: str,
    ours: list[object],
    theirs: list[object],
    target: float,
) -> Table:
    rows = setting.rows(devkit)
    out = setting.memory / "encoded.rec"

    def convert(*options: object) -> Work:
        return commands(
            recpack("convert", devkit, out, "--quiet", *ours, *options), fresh=companions(out)
        )

    def im2rec(processes: int) -> Work:
        return commands(
            setting.im2rec(rows, devkit, "--num-thread", processes, *theirs),
            fresh=companions(rows)[:2],
        )

    works: dict[str, Work] = {
        "recpack convert": convert(),
        "recpack convert --jobs 1": convert("--jobs", 1),
        "im2rec, 4 processes": im2rec(4),
        "im2rec, 2 processes": im2rec(2),
        "im2rec's imports alone": commands(setting.im2rec_imports()),
        "recpack's imports alone": commands(RECPACK_IMPORTS),
        "floor: decode and encode, 2 processes": commands(
            floor("codec", rows, devkit, 2, *theirs[1:])
        ),
    }
    claims = [
        Claim(f"{title}, against im2rec", ["im2rec, 4 processes"], ["recpack convert"], target),
        Claim("the same, the imports of both left out",
              ["im2rec, 4 processes"], ["recpack convert"],
              less=["im2rec's imports alone"], fast_less=["recpack's imports alone"]),
        Claim("the same against the codec alone", ["recpack convert"],
              ["floor: decode and encode, 2 processes"]),
        Claim("two jobs against one", ["recpack convert --jobs 1"], ["recpack convert"],
              1.85 if "--reencode" in ours else None),
    ]  # fmt: skip
    if devkit.name == "large":
        works["recpack convert --im2rec-pixels"] = convert("--im2rec-pixels")
        claims.append(
            Claim("im2rec's very pixels, against im2rec", ["im2rec, 4 processes"],
                  ["recpack convert --im2rec-pixels"])
        )  # fmt: skip
    return Table(title, works, claims)
