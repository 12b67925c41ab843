"""A devkit in a tar archive: converting the archive, beside unpacking it first."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

from benchmarks.measure import Claim, Table, commands
from benchmarks.setting import Setting, companions, recpack


def tables(setting: Setting) -> Iterator[Table]:
    """One table: with the archive's index made, and read from the cache."""
    devkit = setting.devkit(setting.images)
    archive, unpacked = setting.memory / "devkit.tar", setting.memory / "unpacked"
    subprocess.run(["tar", "-cf", archive, "-C", devkit.parent, devkit.name], check=True)
    caches = setting.memory / "caches"
    os.environ["XDG_CACHE_HOME"] = str(caches)
    out = setting.memory / "out.rec"
    outputs = companions(out)
    unpacked.mkdir()
    whole = recpack("convert", archive, out, "--quiet")
    unpack = ["tar", "-xf", archive, "-C", unpacked]
    works = {
        "recpack convert devkit.tar": commands(whole, fresh=[*outputs, caches]),
        "the same, its index known": commands(whole, fresh=outputs),
        "tar -xf": commands(unpack, fresh=[unpacked / devkit.name]),
        "recpack convert of what it unpacked": commands(
            recpack("convert", unpacked / devkit.name, out, "--quiet"), fresh=outputs
        ),
    }
    without_index, with_index, unpacking, folder = works
    claims = [
        Claim("unpacking and converting against converting the archive",
              [unpacking, folder], [without_index], least=1.3),
        Claim("the same, the archive's index known", [unpacking, folder], [with_index]),
    ]  # fmt: skip
    yield Table(f"a tar archive of {setting.images:,} images", works, claims)
