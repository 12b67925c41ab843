"""The data: devkits of photo-like images, made once and used again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np

import recpack
from recpack.data.classes import VOC_CLASSES
from recpack.demo.story import CLASSES, make_image
from recpack.formats.encoding import Encoding
from recpack.formats.image_codec import encode

SMALL = ((500, 375), (375, 500), (500, 333))
"""Sizes of VOC's photographs."""
LARGE = ((3000, 2000),)

_KINDS = 66
"""Images drawn per size. Drawing is slow, so the others are copies with different comments."""
_FIRST_YEAR = 0.303
"""VOC2007's share of VOC07+12."""


def make_annotations(
    count: int, sizes: Sequence[tuple[int, int]] = SMALL, seed: int = 0
) -> list[tuple[bytes, int, int]]:
    """(annotation, width, height): the devkits' layout, 1 to 42 objects, 2.9 on average."""
    random = np.random.RandomState(seed)
    annotations = []
    for number in range(count):
        width, height = sizes[random.randint(len(sizes))]
        objects = "".join(
            _object(random, width, height) for _ in range(min(int(random.geometric(0.35)), 42))
        )
        text = (
            f"<annotation>\n\t<folder>VOC2012</folder>\n\t<filename>{number:06d}.jpg"
            "</filename>\n\t<source>\n\t\t<database>The VOC2007 Database</database>\n"
            "\t\t<annotation>PASCAL VOC2007</annotation>\n\t\t<image>flickr</image>\n"
            f"\t</source>\n\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n"
            f"\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>\n{objects}"
            "</annotation>\n"
        )
        annotations.append((text.encode(), width, height))
    return annotations


def _object(random: np.random.RandomState, width: int, height: int) -> str:
    left, right = sorted(random.choice(width, 2, replace=False) + 1)
    top, bottom = sorted(random.choice(height, 2, replace=False) + 1)
    return (
        f"\t<object>\n\t\t<name>{VOC_CLASSES[random.randint(20)]}</name>\n"
        "\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
        f"\t\t<difficult>{random.randint(2)}</difficult>\n\t\t<bndbox>\n"
        f"\t\t\t<xmin>{left}</xmin>\n\t\t\t<ymin>{top}</ymin>\n\t\t\t<xmax>{right}</xmax>\n"
        f"\t\t\t<ymax>{bottom}</ymax>\n\t\t</bndbox>\n\t</object>\n"
    )


def make_devkit(root: Path, images: int, sizes: Sequence[tuple[int, int]] = SMALL) -> Path:
    """Make ``VOC2007`` and ``VOC2012`` below ``root``, with JPEGs of about 3.8 bits per pixel
    (45 KB for VOC's sizes). An existing devkit is used as it is."""
    done = root / "made"
    if done.exists():
        return root
    random = np.random.RandomState(0)
    kinds: dict[tuple[int, int], list[bytes]] = {}
    most = _KINDS if sizes == SMALL else 6
    ids: dict[str, list[str]] = {"2007": [], "2012": []}
    for year in ids:
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / f"VOC{year}" / name).mkdir(parents=True, exist_ok=True)
    for number, (text, width, height) in enumerate(make_annotations(images, sizes)):
        drawn = kinds.setdefault((width, height), [])
        if len(drawn) < most:
            pixels, _ = make_image(random, width, height)
            drawn.append(encode(pixels, Encoding(quality=82)).tobytes())
        image = drawn[number % len(drawn)]
        comment = b"\xff\xfe\x00\x0a%08d" % number
        year = "2007" if number < _FIRST_YEAR * images else "2012"
        ids[year].append(f"{number:06d}")
        folder = root / f"VOC{year}"
        (folder / "JPEGImages" / f"{number:06d}.jpg").write_bytes(image[:2] + comment + image[2:])
        (folder / "Annotations" / f"{number:06d}.xml").write_bytes(text)
    for year, names in ids.items():
        _write_set(root, year, names)
    done.touch()
    return root


def first_images(whole: Path, root: Path, images: int) -> Path:
    """A devkit with the first images of a larger one, by hard links."""
    first = round(_FIRST_YEAR * images)
    for year, count in (("2007", first), ("2012", images - first)):
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / f"VOC{year}" / name).mkdir(parents=True, exist_ok=True)
        names = (whole / f"VOC{year}/ImageSets/Main/trainval.txt").read_text().split()[:count]
        for name in names:
            for file in (f"VOC{year}/Annotations/{name}.xml", f"VOC{year}/JPEGImages/{name}.jpg"):
                if not (root / file).exists():
                    os.link(whole / file, root / file)
        _write_set(root, year, names)
    return root


def _write_set(root: Path, year: str, names: list[str]) -> None:
    file = root / f"VOC{year}" / "ImageSets" / "Main" / "trainval.txt"
    file.write_text("".join(f"{name}\n" for name in names))


Drawn = tuple[bytes, list[list[float]]]
"""A JPEG and its boxes: class id, then the edges as ratios."""


def draw(count: int, seed: int = 0) -> list[Drawn]:
    """The demo's pictures of three classes, which a model can learn, drawn on all cores."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(_draw_one, repeat(seed), range(count), chunksize=8))


def _draw_one(seed: int, number: int) -> Drawn:
    random = np.random.RandomState([seed, number])
    width, height = SMALL[random.randint(len(SMALL))]
    pixels, objects = make_image(random, width, height)
    boxes = [
        [CLASSES.index(name), left / width, top / height, right / width, bottom / height]
        for name, (left, top, right, bottom) in objects
    ]
    return encode(pixels, Encoding(quality=82)).tobytes(), boxes


def make_records(rec: Path, pictures: Sequence[Drawn], count: int) -> recpack.Manifest:
    """Write so many records; where there are fewer pictures, they are repeated."""
    with recpack.RecordWriter(rec, classes=CLASSES) as writer:
        for number in range(count):
            image, boxes = pictures[number % len(pictures)]
            writer.write(image, boxes)
    assert writer.manifest is not None
    return writer.manifest
