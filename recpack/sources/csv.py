"""A table of images and their labels: CSV, TSV, with or without headings.

A label is a name or a class id in one column; several names in one cell (``|`` or ``;``) or in
several columns; 0 or 1 in a column for each class, as in Roboflow's ``_classes.csv``; or any other
numbers, which stay as they are.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from recpack.data.annotation import Annotation, Defect, LabelKind
from recpack.data.labels import MAX_CLASSES
from recpack.errors import ConfigError, DataError
from recpack.formats.lst import is_number
from recpack.problems import Problem
from recpack.sources.base import Dataset
from recpack.sources.document import DocumentDataset, Entry, below, read_document
from recpack.sources.recognise import SET_FOLDER, holds, refuse
from recpack.sources.request import Request
from recpack.sources.selection import Selection
from recpack.sources.table import NoLabelsError, Row, Table, could_be_number, parse_table
from recpack.storage.trees.base import Tree, join

ENDINGS = (".csv", ".tsv")

Style = Literal["name", "id", "names", "flags", "numbers"]

_ROBOFLOW = "_classes.csv"
_KINDS: dict[Style, LabelKind] = {
    "name": "class", "id": "class", "names": "classes", "flags": "classes", "numbers": "numbers",
}  # fmt: skip


def is_here(root: Tree, selection: Selection) -> bool:
    """Whether there is a table under Roboflow's name."""
    del selection
    return bool(_roboflow(root))


def open_folder(root: Tree, request: Request) -> Dataset:
    """Open the chosen image sets: Roboflow's tables, else those of the root, one for each set."""
    files = _roboflow(root) or {
        posixpath.splitext(name)[0]: name
        for name in root.files(".")
        if name.lower().endswith(ENDINGS)
    }
    if not files:
        raise DataError(f"{root}: there is no table in it ({', '.join(ENDINGS)}); give its path")
    return _open(root, files, request)


def open_file(path: str, request: Request) -> Dataset:
    """Open one table by its path."""
    folder, name = posixpath.split(path)
    return _open(request.open_tree(folder or "."), {posixpath.splitext(name)[0]: name}, request)


def _roboflow(root: Tree) -> dict[str, str]:
    folders = [name for name in root.folders(".") if SET_FOLDER.match(name)]
    found = {name: f"{name}/{_ROBOFLOW}" for name in folders if holds(root, f"{name}/{_ROBOFLOW}")}
    return found or ({"all": _ROBOFLOW} if root.is_file(_ROBOFLOW) else {})


def _open(root: Tree, files: Mapping[str, str], request: Request) -> Dataset:
    tables = {file: _read(root, file, name) for name, file in files.items()}
    rows: dict[str, tuple[str, list[Row]]] = {}
    for file, table in tables.items():
        for name, found in table.sets.items():
            if name in rows:
                raise DataError(f"{root}: {rows[name][0]} and {file} have a set {name}; give one")
            rows[name] = (file, found)
    labels = Labels.of(str(root), tables, request.class_names)
    chosen = request.choose_sets(root, "csv", rows, lambda one: len(one[1]))
    images = request.images(root)
    sets, folders = {}, {}
    for name, (file, found) in chosen.items():
        beside = posixpath.dirname(file) or "."
        places = [beside, join(beside, "images"), join(beside, name), "images", "."]
        first = [row.image for row in found if row.image][:3]
        folders[name] = images.find_folder(
            list(dict.fromkeys(places)), first, join(str(root), file)
        )
        sets[name] = [labels.entry(file, row, folders[name]) for row in found]
    problems = [
        Problem("column-unread", "note", file, "kept", value=", ".join(table.unread))
        for file, table in tables.items()
        if table.unread
    ]
    dataset = DocumentDataset(images.root, sets, labels.names, problems, folders)
    dataset.labels = _KINDS[labels.style]
    dataset.parts = {*files.values(), *folders.values()}
    return dataset


def _read(root: Tree, file: str, image_set: str) -> Table:
    path = join(str(root), file)
    try:
        return parse_table(read_document(root, file), path, image_set)
    except NoLabelsError:
        refuse(root, file)  # it knows some tools
        raise


@dataclass(frozen=True)
class Labels:
    """How the labels of all tables are written, the classes in the order of their ids, and the
    ``columns``. ``known`` has what was parsed."""

    style: Style
    names: Sequence[str]
    columns: Sequence[str]
    known: dict[tuple[str, ...], Annotation | Defect] = field(default_factory=dict)

    @classmethod
    def of(cls, root: str, tables: Mapping[str, Table], chosen: Sequence[str]) -> Labels:
        """The labels of these tables. ``chosen`` are names of the user for class ids, or for
        columns without headings. Raises DataError, ConfigError."""
        styles = {file: _style(table, join(root, file)) for file, table in tables.items()}
        if len(set(styles.values())) > 1:
            (one, style), (other, another), *_ = styles.items()
            raise DataError(f"{root}: the labels are {style} in {one}, but {another} in {other}")
        style = styles.popitem()[1]
        columns = next(iter(tables.values())).columns
        cells = {cell for table in tables.values() for row in _labels(table) for cell in row}
        cells.discard("")
        if style == "numbers":
            return cls(style, ("none",), columns)
        if style == "id":
            highest = int(max(map(float, cells)))
            if highest >= MAX_CLASSES:
                raise DataError(
                    f"{root}: {columns[0]} is {highest}, and class ids are 0 to {MAX_CLASSES - 1}; "
                    "write names into the table, or smaller ids"
                )
            return cls(style, chosen or [str(id_) for id_ in range(highest + 1)], columns)
        if style == "flags":
            return cls(style, _flag_names(tables, chosen), columns)
        return cls(style, sorted({name for cell in cells for name in _split(cell)}), columns)

    def entry(self, file: str, row: Row, folder: str) -> Entry:
        """A row, and its image in the folder."""
        where = f"{file} line {row.line}"
        if row.fault:
            return Entry(where, defect=Defect("table-row", value=row.fault))
        if row.labels not in self.known:
            self.known[row.labels] = self._parse(row.labels)
        found = self.known[row.labels]
        image = below(folder, row.image)
        if isinstance(found, Defect):
            return Entry(where, image, defect=found)
        return Entry(where, image, found)

    def _parse(self, cells: tuple[str, ...]) -> Annotation | Defect:
        numbers = self.style in ("numbers", "flags", "id")
        for column, cell in zip(self.columns, cells, strict=False):
            if numbers and cell and not is_number(cell):
                return Defect("number-bad", 0, column, cell[:80])
            if not cell and self.style in ("numbers", "flags"):
                return Defect("number-bad", 0, column, "")
        if self.style == "numbers":
            return Annotation(numbers=tuple(map(float, cells)))
        if self.style == "flags":
            names = [name for name, cell in zip(self.names, cells, strict=True) if float(cell)]
        elif self.style == "id":
            id_ = int(float(cells[0])) if cells[0] else -1
            if id_ >= len(self.names):
                return Defect("class-undefined", 0, self.columns[0], cells[0])
            names = [self.names[id_]] if cells[0] else []
        else:
            names = sorted({name for cell in cells for name in _split(cell)})
        if not names and _KINDS[self.style] == "class":
            return Defect("image-unclassified", 0, self.columns[0])
        return Annotation(names=names, objects=[0] * len(names))


def _labels(table: Table) -> Iterator[tuple[str, ...]]:
    return (row.labels for rows in table.sets.values() for row in rows if not row.fault)


def _split(cell: str) -> Iterator[str]:
    """The names in a cell."""
    return filter(None, (name.strip() for name in cell.replace("|", ";").split(";")))


def _style(table: Table, path: str) -> Style:
    """How the labels of a table are written."""
    columns = [set(column) - {""} for column in zip(*_labels(table), strict=True)]
    cells = set().union(*columns)
    if not cells:
        raise DataError(f"{path}: no row has a label in {', '.join(table.columns)}")
    single = len(columns) == 1
    if single and any(mark in cell for mark in "|;" for cell in cells):
        return "names"
    numeric = [all(map(could_be_number, column)) for column in columns if column]
    if not all(numeric):
        if any(numeric):
            raise DataError(
                f"{path}: the columns {', '.join(table.columns)} hold numbers and names; keep the "
                "column of the images and those of the labels"
            )
        return "name" if single else "names"
    values = set(map(float, cells))
    if single:
        return "id" if all(value >= 0 and value.is_integer() for value in values) else "numbers"
    return "flags" if values <= {0, 1} else "numbers"


def _flag_names(tables: Mapping[str, Table], chosen: Sequence[str]) -> Sequence[str]:
    """The classes of columns of 0 and 1. Raises DataError, ConfigError."""
    (file, first), *others = tables.items()
    for other, table in others:
        if table.columns != first.columns:
            raise DataError(f"{other}: its columns are not those of {file}; make them the same")
    if first.titled:
        twice = [name for name in first.columns if first.columns.count(name) > 1]
        if twice:
            raise DataError(f"{file}: several columns are called {twice[0]!r}; rename one")
        return first.columns
    if chosen and len(chosen) != len(first.columns):
        raise ConfigError(
            f"classes: {len(chosen)} names, but {file} has {len(first.columns)} columns of 0 and "
            "1; name each"
        )
    return chosen or [str(id_) for id_ in range(len(first.columns))]
