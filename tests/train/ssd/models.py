"""Packed pictures and small models for these tests."""

from __future__ import annotations

from pathlib import Path

import recpack
from recpack.demo.story import CLASSES, make_devkit


def packed(folder: Path, images: int, seed: int = 0) -> Path:
    """A ``.rec`` of drawn pictures of three classes."""
    make_devkit(folder / "devkit", images=images, seed=seed)
    for name in ("trainval", "test"):
        assert (folder / "devkit" / "VOC2007" / "ImageSets" / "Main" / f"{name}.txt").is_file()
    recpack.convert(
        folder / "devkit", folder / "pictures.rec", classes=CLASSES, set="trainval,test"
    )
    return folder / "pictures.rec"
