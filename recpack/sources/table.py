"""Tables of images and their labels: CSV, TSV and their like. Bytes in, values out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress, islice
from typing import NamedTuple

from recpack.errors import DataError
from recpack.formats.image_header import IMAGE_ENDINGS

PATHS = (
    "filename", "file_name", "file", "image", "path", "image_path", "imagepath", "filepath",
    "file_path", "img", "img_path", "image_name", "image_file", "image_id", "img_name", "name",
    "id",
)  # fmt: skip
"""Headings of the column of the images, in lower case; the first that is there counts."""
LABELS = (
    "label", "labels", "class", "classes", "class_name", "label_name", "category", "categories",
    "target", "targets", "tag", "tags", "class_id", "label_id", "category_id",
)  # fmt: skip
"""Headings of a column of labels."""
SPLITS = ("split", "set", "subset", "image_set", "partition")
"""Headings of the column of the image sets."""
_BOXES = {
    "xmin", "x_min", "x1", "bx", "left", "bbox", "bboxes", "bbox_x", "box", "boxes", "x_center",
    "xcenter", "boundingbox", "bounding_box", "region_count",
}  # fmt: skip
_NO_LABELS = {
    "", "index", "unnamed: 0", "width", "height", "depth", "channels", "size", "md5", "sha256",
    "url",
}  # fmt: skip
_SETS = ("TRAIN", "TRAINING", "VALIDATE", "VALIDATION", "TEST", "UNASSIGNED")
"""Image sets in a column without a heading."""
_FEW = 2
"""Cells of a row that has only an image and its label."""
_EXPORT = "export them as COCO, YOLO or Pascal VOC"
_BOX_NUMBERS = 4
_DELIMITERS = "\t,;"
_HEAD = 64 << 10
_FIRST = 2
"""Lines that show what a table is."""


class NoLabelsError(DataError):
    """A table of boxes, or of anything else."""


class Row(NamedTuple):
    """A row: the number of its line, the path of its image, and its labels."""

    line: int
    image: str
    labels: tuple[str, ...]
    fault: str = ""


@dataclass(frozen=True)
class Table:
    """The rows of each image set. ``columns``: the headings of the labels, or their numbers ·
    ``titled``: whether there are headings · ``unread``: headings of columns that are not read."""

    sets: Mapping[str, list[Row]]
    columns: Sequence[str]
    titled: bool
    unread: Sequence[str]


def is_image_name(cell: str) -> bool:
    """Whether a cell is the name of an image."""
    return cell.lower().endswith(IMAGE_ENDINGS)


def shows_labels(head: bytes) -> bool:
    """Whether a file that begins so is a table of images and labels without boxes."""
    try:
        parse_table(head[: head.rfind(b"\n") + 1] or head, "")
    except DataError:
        return False
    return True


def parse_table(data: bytes, name: str, image_set: str = "all") -> Table:
    """The table of a file; rows of no named set are in ``image_set``. Raises DataError that begins
    with ``name`` and the line, NoLabelsError."""
    rows = _rows(_decode(data, name), name)
    first = list(islice(rows, _FIRST))
    if not first:
        raise DataError(f"{name}: the table is empty")
    titled = not any(map(is_image_name, first[0][1]))
    titles = [cell.lower() for cell in first[0][1]] if titled else []
    if _BOXES & set(titles):
        raise NoLabelsError(f"{name} is a table of boxes; {_EXPORT}")
    if titled and len(first) == 1:
        if set(titles) & set(PATHS):
            raise DataError(f"{name}: there are headings, but no rows; write one for each image")
        raise NoLabelsError(f"{name}: no cell of its only row is the name of an image")
    line, cells = first[titled]
    path = _path_column(titles, line, cells, name)
    numbers = [cell for at, cell in enumerate(cells) if at != path and could_be_number(cell)]
    if not titled and len(numbers) >= _BOX_NUMBERS and len(cells) > len(numbers) + 1:
        raise NoLabelsError(f"{name} is a table of boxes; {_EXPORT}")
    split = next((titles.index(word) for word in SPLITS if word in titles), None)
    if not titled and len(cells) > _FEW:  # Google's tables say TRAIN, path, label
        split = next((at for at, cell in enumerate(cells) if cell in _SETS), None)
    if not titled:  # the last row can have the most labels
        first += rows
    width = len(titles) or max(len(cells) for _, cells in first)
    others = [at for at in range(width) if at not in (path, split)]
    labels = _label_columns(titles, others, cells)
    if not labels:
        raise DataError(f"{name}: there is no column of labels beside that of the images")
    sets: dict[str, list[Row]] = {}
    for line, cells in chain(first[titled:], rows):
        row, chosen = _row(line, cells, path, labels, width if titled else 0), image_set
        if split is not None and split < len(cells):
            chosen = cells[split] or image_set
        sets.setdefault(chosen, []).append(row)
    heads = first[0][1] if titled else [f"column {at + 1}" for at in range(width)]
    unread = [heads[at] for at in others if at not in labels]
    return Table(sets, [heads[at] for at in labels], titled, [one for one in unread if one])


def _row(line: int, cells: list[str], path: int, labels: list[int], width: int) -> Row:
    """The row of some cells. It must have ``width`` of them, unless that is 0."""
    fault = ""
    if width and (len(cells) < width or any(cells[width:])):
        fault = f"{len(cells)} columns, and the headings are {width}"
    elif path >= len(cells) or not cells[path]:
        fault = "it has no image"
    if fault:
        return Row(line, "", (), fault)
    return Row(line, cells[path], tuple(cells[at] if at < len(cells) else "" for at in labels))


def _path_column(titles: list[str], line: int, cells: list[str], name: str) -> int:
    named = next((titles.index(word) for word in PATHS if word in titles), len(cells))
    found = next((at for at, cell in enumerate(cells) if is_image_name(cell)), None)
    if named < len(cells) and is_image_name(cells[named]):
        return named
    if found is None:
        known = named < len(cells)
        value = f"{titles[named]} is {cells[named][:80]!r}" if known else f"{cells}"[:80]
        raise DataError(
            f"{name} line {line}: {value}: no name of an image; write the names of the files with "
            "their extensions, like a.jpg"
        )
    return found


def _label_columns(titles: list[str], others: list[int], cells: list[str]) -> list[int]:
    """Those with a heading for labels, names rather than ids; else all that can be labels."""
    named = [at for word in LABELS for at in others if titles and titles[at] == word]
    if named:
        texts = (at for at in named if at < len(cells) and not could_be_number(cells[at]))
        return [next(texts, named[0])]
    return [at for at in others if not titles or titles[at] not in _NO_LABELS]


def could_be_number(cell: str) -> bool:
    """Whether a cell is a number, be it not finite."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _decode(data: bytes, name: str) -> str:
    encoding = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "UTF-8"
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{name} line {line}: it is not {encoding}; save the table as CSV UTF-8"
        ) from None


def _rows(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """The number of the line, and the cells, of each row that is not empty."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=_delimiter(text),
        skipinitialspace=True,
        strict=True,
    )
    line = 1
    while True:
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{name} line {line}: {error}; close each quote") from None
        if any(cells):
            yield line, cells
        line = reader.line_num + 1


def _delimiter(text: str) -> str:
    """The one that gives the first lines cells which are names of images, best of all without other
    marks in them; else the first one."""
    lines = list(islice(filter(str.strip, text[:_HEAD].splitlines()), _FIRST))
    head = lines[0] if lines else ""
    found = sorted(compress(_DELIMITERS, (mark in head for mark in _DELIMITERS)), key=head.index)
    found.sort(key=lambda mark: mark != "\t")

    def marks(delimiter: str) -> int:
        rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        names = ([cell for cell in map(str.strip, row) if is_image_name(cell)] for row in rows)
        counts = ([sum(map(name.count, _DELIMITERS)) for name in row] for row in names)
        return sum(min(row, default=len(text)) for row in counts)

    return min(found, key=marks, default=",")
