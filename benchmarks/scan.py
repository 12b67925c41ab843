"""The cost of judging in addition to parsing."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.data import make_annotations
from benchmarks.measure import Claim, Table, function_work
from benchmarks.setting import Setting
from recpack.formats.image_header import ImageHeader
from recpack.scanning.judge import Judge
from recpack.scanning.settings import JudgeSettings
from recpack.sources.base import CHUNK, Item
from recpack.sources.voc.parse import parse_annotation
from recpack.sources.voc.parse_xml import parse_xml


def tables(setting: Setting) -> Iterator[Table]:
    """One table: parsing by lxml, recpack's parsing, and parsing with judging."""
    annotations = make_annotations(setting.images)
    settings = JudgeSettings()
    file, image = "VOC2012/Annotations/2012_000000.xml", "VOC2012/JPEGImages/2012_000000.jpg"

    def parse() -> None:
        for data, _, _ in annotations:
            parse_annotation(data)

    def by_xml() -> None:
        for data, _, _ in annotations:
            parse_xml(data)

    def parse_and_judge() -> None:
        for first in range(0, len(annotations), CHUNK):
            judge = Judge(settings)
            chunk = annotations[first : first + CHUNK]
            for data, width, height in chunk:
                header = ImageHeader("jpeg", width, height, 3, 8)
                judge.add(Item(file, None, parse_annotation(data), image, 50_000, header))
            found = judge.finish()
            assert len(found.paths) == len(chunk)

    works = {
        "parse": function_work(parse),
        "parse and judge": function_work(parse_and_judge),
        "parse by lxml alone": function_work(by_xml),
    }
    claims = [
        Claim("parse and judge against parsing by lxml alone", ["parse and judge"],
              ["parse by lxml alone"], most=1.3),
        Claim("parsing by lxml against parsing", ["parse by lxml alone"], ["parse"]),
    ]  # fmt: skip
    yield Table(f"{setting.images:,} annotations in memory, one process", works, claims)
