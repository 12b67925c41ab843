"""What judging costs on top of parsing: annotations of the shape of VOC07+12 trainval."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks import Measured
from recpack.config import Options
from recpack.image import ImageHeader
from recpack.judge import Judge
from recpack.sample import VOC_CLASSES
from recpack.scan import CHUNK
from recpack.voc import parse_annotation

IMAGES = 16_551


def make_annotations(count: int = IMAGES, seed: int = 0) -> list[tuple[bytes, int, int]]:
    """(annotation, width, height): the devkits' layout, 1 to 42 objects, 2.9 on average."""
    random = np.random.RandomState(seed)
    made = []
    for number in range(count):
        width, height = ((500, 375), (375, 500), (500, 333))[random.randint(3)]
        objects = "".join(
            _object(random, width, height) for _ in range(min(int(random.geometric(0.35)), 42))
        )
        text = (
            f"<annotation>\n\t<folder>VOC2012</folder>\n\t<filename>2012_{number:06d}.jpg"
            "</filename>\n\t<source>\n\t\t<database>The VOC2007 Database</database>\n"
            "\t\t<annotation>PASCAL VOC2007</annotation>\n\t\t<image>flickr</image>\n"
            f"\t</source>\n\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n"
            f"\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>\n{objects}"
            "</annotation>\n"
        )
        made.append((text.encode(), width, height))
    return made


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


def works() -> dict[str, Callable[[], Measured]]:
    """Parsing alone, and parsing and judging, each by its seconds."""
    made = make_annotations()
    options = Options()

    def parse() -> None:
        for data, _, _ in made:
            parse_annotation(data)

    def parse_and_judge() -> None:
        for first in range(0, len(made), CHUNK):
            judge = Judge(options)
            chunk = made[first : first + CHUNK]
            for data, width, height in chunk:
                judge.start("VOC2012/Annotations/2012_000000.xml")
                header = ImageHeader("jpeg", width, height, 3, 8)
                path = "VOC2012/JPEGImages/2012_000000.jpg"
                judge.add(parse_annotation(data), path, 50_000, header)
            found = judge.finish(len(chunk))
            assert len(found.paths) == len(chunk)

    return {"parse alone (lxml)": timed(parse), "parse and judge": timed(parse_and_judge)}


def timed(work: Callable[[], None]) -> Callable[[], Measured]:
    """Work in this process, with its seconds."""

    def measured() -> Measured:
        cpu, start = time.process_time(), time.perf_counter()
        work()
        return Measured(time.perf_counter() - start, time.process_time() - cpu)

    return measured
