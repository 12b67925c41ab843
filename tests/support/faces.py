"""Folders of faces, and their ``.rec`` in InsightFace's layout, put together by hand."""

from __future__ import annotations

from pathlib import Path

from tests.support.devkits import encode_record, jpeg

Row = tuple[int, list[float], bytes]
"""Key, label and image of a record."""

PEOPLE = {"ada": 3, "ben": 1, "cy/old": 2}


def make_faces(root: Path, people: dict[str, int] | None = None, side: int = 48) -> Path:
    """A folder of square images for each of these ``people``: so many, each another."""
    seed = 0
    for name, count in (people or PEOPLE).items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number:03d}.jpg").write_bytes(jpeg(side, side, seed))
            seed += 1
    return root


def face_rows(root: Path, people: dict[str, int] | None = None) -> list[Row]:
    """The records that InsightFace's tools make of the folders."""
    people = people or PEOPLE
    first = 1 + sum(people.values())
    rows: list[Row] = [(0, [first, first + len(people)], b"")]
    spans: list[list[float]] = []
    for identity, (name, count) in enumerate(people.items()):
        spans.append([len(rows), len(rows) + count])
        for image in sorted((root / name).glob("*.jpg")):
            rows.append((len(rows), [identity], image.read_bytes()))
    return rows + [(first + identity, span, b"") for identity, span in enumerate(spans)]


def write_records(rec: Path, rows: list[Row]) -> Path:
    """Write records and their index."""
    data = [encode_record(*row) for row in rows]
    ends = [sum(map(len, data[:number])) for number in range(len(data))]
    rec.write_bytes(b"".join(data))
    lines = (f"{row[0]}\t{end}\n" for row, end in zip(rows, ends, strict=True))
    rec.with_suffix(".idx").write_text("".join(lines))
    return rec
