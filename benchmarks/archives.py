"""A devkit in an archive: converting the archive, beside unpacking it first."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from benchmarks.measure import Claim, Table, commands
from benchmarks.setting import Setting, companions, recpack

_ZIPS = {"deflated": ("zip", "-qr"), "stored": ("zip", "-qr0")}


def tar_tables(setting: Setting) -> Iterator[Table]:
    """One table: with the archive's index made, and read from the cache."""
    yield _table(setting, "tar", "a tar archive", ("tar", "-cf"), ("tar", "-xf"), "-C", least=1.3)


def zip_tables(setting: Setting) -> Iterator[Table]:
    """The same for a zip whose files are deflated, as they are by default, and stored."""
    for kind, pack in _ZIPS.items():
        title = f"a zip archive, {kind},"
        yield _table(setting, "zip", title, pack, ("unzip", "-q"), "-d", least=1)


def _table(
    setting: Setting,
    ending: str,
    title: str,
    pack: Sequence[str],
    unpack: Sequence[str],
    into: str,
    least: float,
) -> Table:
    devkit = setting.devkit(setting.images)
    archive, unpacked = setting.memory / f"devkit.{ending}", setting.memory / "unpacked"
    archive.unlink(missing_ok=True)
    subprocess.run([*pack, archive, devkit.name], cwd=devkit.parent, check=True)
    caches = setting.memory / "caches"
    os.environ["XDG_CACHE_HOME"] = str(caches)
    out = setting.memory / "out.rec"
    outputs = companions(out)
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    whole = recpack("convert", archive, out, "--quiet")
    works = {
        f"recpack convert devkit.{ending}": commands(whole, fresh=[*outputs, caches]),
        "the same, its index known": commands(whole, fresh=outputs),
        " ".join(unpack): commands(
            [*unpack, archive, into, unpacked], fresh=[unpacked / devkit.name]
        ),
        "recpack convert of what it unpacked": commands(
            recpack("convert", unpacked / devkit.name, out, "--quiet"), fresh=outputs
        ),
    }
    without_index, with_index, unpacking, folder = works
    claims = [
        Claim("unpacking and converting against converting the archive",
              [unpacking, folder], [without_index], least=least),
        Claim("the same, the archive's index known", [unpacking, folder], [with_index]),
    ]  # fmt: skip
    return Table(f"{title} of {setting.images:,} images", works, claims)
