"""The story without AWS, small: what it types works, and its page has what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.clusters import needs

pytestmark = [pytest.mark.once, pytest.mark.slow]


def tell(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recpack.demo.tour", *arguments]
    # other tests run beside it, and torch's threads wait for each other
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_from_a_devkit_to_a_page_of_pictures(tmp_path: Path) -> None:
    needs("torch")
    folder = tmp_path / "story"
    small = ("base_network=resnet-18", "image_shape=64", "mini_batch_size=4")
    done = tell(
        str(folder), "--images", "20", "--epochs", "1", *(f"--set={pair}" for pair in small)
    )
    assert done.returncode == 0, done.stderr
    page = (folder / "index.html").read_text()
    typed = [line for line in done.stdout.splitlines() if line.startswith("$ recpack")]
    assert [line.split()[2] for line in typed] == [
        "convert", "convert", "preview", "fit", "fit", "deploy", *["predict"] * 4, "evaluate",
    ]  # fmt: skip
    assert all(line.removeprefix("$ ") in page for line in typed)
    assert len(re.findall('<img alt="[^"]+" src="data:image/', page)) == 1 + 1 + 4
    assert len(re.findall("<tr><td>voc-[12]<td>0<td>0[.][0-9]{3}", page)) == 2
    assert "src=" not in page.replace('src="data:', "")
    assert not re.search("<script|href=", page)
    before = page
    assert tell(str(folder)).returncode == 2
    assert (folder / "index.html").read_text() == before
