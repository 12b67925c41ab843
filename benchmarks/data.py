"""What is measured on: a devkit of the shape of VOC07+12 trainval."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scan import IMAGES, make_annotations
from recpack.config import Encoding
from recpack.demo import make_image
from recpack.image import encode

_KINDS = 200
"""Pictures that are drawn; copies differ by a comment, because drawing takes the time."""


def make_voc(root: Path, images: int = IMAGES) -> Path:
    """``VOC2012`` below ``root``: photo-like JPEGs of about 50 KB, 1 to 42 objects each. Made once:
    a folder that is there is taken as it is."""
    done = root / f"{images}.made"
    if done.exists():
        return root
    folder = root / "VOC2012"
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(0)
    drawn: dict[tuple[int, int], list[bytes]] = {}
    for number, (text, width, height) in enumerate(make_annotations(images)):
        kinds = drawn.setdefault((width, height), [])
        if len(kinds) < _KINDS // 3:
            pixels, _ = make_image(random, width, height)
            kinds.append(encode(pixels, Encoding(quality=82)).tobytes())
        image = kinds[number % len(kinds)]
        comment = b"\xff\xfe\x00\x0a%08d" % number
        (folder / "JPEGImages" / f"2012_{number:06d}.jpg").write_bytes(
            image[:2] + comment + image[2:]
        )
        (folder / "Annotations" / f"2012_{number:06d}.xml").write_bytes(text)
    ids = "".join(f"2012_{number:06d}\n" for number in range(images))
    (folder / "ImageSets" / "Main" / "trainval.txt").write_text(ids)
    done.touch()
    return root
