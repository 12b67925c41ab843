"""YOLO folders: one text file per image, one ``class centre-x centre-y width height`` per line, in
ratios.

Source: Ultralytics' data set guide and loader. The labels of ``…/images/x.jpg`` are
``…/labels/x.txt``. An image without labels is background. A longer row is a polygon; its bounds are
the box. Ratios are of the upright image. Darknet and LabelImg keep the labels beside the images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from unicodedata import normalize

from recpack.columns import StringColumn
from recpack.data.annotation import Annotation, Defect
from recpack.errors import AnnotationError, DataError
from recpack.problems import Problem
from recpack.sources.base import Dataset, Item, Task, chunks, image_bytes, read_image
from recpack.sources.tails import Tails, foreign
from recpack.sources.yolo.layout import images_of, label_path
from recpack.storage.explain import UNREADABLE, explain
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Folder, Opener, OpenFile, Tree

_MAX_LABELS = 16 << 20
_ROUNDING = 2e-6
"""Ratios: with six decimals, an edge on the image's border can lie this far outside it."""


class YoloDataset(Dataset):
    """Image sets of a YOLO folder. ``sets`` maps each name to the folders or lists of its images;
    ``names`` are the class names in the order of ids."""

    def __init__(
        self,
        root: Tree,
        sets: Mapping[str, Sequence[str]],
        names: Sequence[str],
        problems: Sequence[Problem] = (),
    ) -> None:
        if not names:
            raise DataError(
                f"{root}: no data.yaml or classes.txt with the class names; name them in the "
                "order of their ids with --classes a,b,c"
            )
        self.root = root
        self.image_sets = list(sets)
        self._images = [StringColumn(images_of(root, paths)) for paths in sets.values()]
        self.counts = [len(images) for images in self._images]
        self.classes = list(dict.fromkeys(names))
        self._names = tuple(names)
        self._tails = Tails(root, ".", lambda: chain.from_iterable(self._images))
        self._problems = list(problems)
        for rank, images in enumerate(self._images):
            if foreign(images):  # in one step, not task by task
                wanted = {image: image for image in images if foreign([image])}
                _, found = self._settle(rank, slice(len(images)), wanted)
                self._problems += [one for one in found if one.severity != "error"]
        if not len(self):
            raise DataError(f"{root}: there are no images in {', '.join(sets)}")

    def tasks(self) -> Iterator[Task]:
        for rank, images in enumerate(self._images):
            for chunk in chunks(len(images)):
                yield self._task(rank, images[chunk])

    def _task(self, rank: int, images: StringColumn) -> YoloTask:
        labels = [label_path(image) for image in images]
        spellings = chain.from_iterable(map(_spellings, labels))
        root = self.root.only(chain(images, labels, spellings))
        return YoloTask(root, rank, images, labels, self._names)

    def problems(self) -> Sequence[Problem]:
        return self._problems

    def mend(
        self, number: int, missing: Sequence[Problem]
    ) -> tuple[Task | None, Sequence[Problem]]:
        rank, rows = self.rows_of(number)
        files = {problem.file for problem in missing}
        wanted = {
            file: image
            for image in self._images[rank][rows]
            for file in (image, label_path(image))
            if file in files
        }
        count, problems = self._settle(rank, rows, wanted)
        return self._task(rank, self._images[rank][rows]) if count else None, problems

    def _settle(
        self, rank: int, rows: slice, wanted: Mapping[str, str]
    ) -> tuple[int, list[Problem]]:
        """Find images by the ends of their paths. Returns how many were found."""
        settled, problems = self._tails.settle(wanted)
        found = {wanted[file]: path for file, path in settled.items()}
        if found:
            images = list(self._images[rank])
            images[rows] = [found.get(image, image) for image in images[rows]]
            self._images[rank] = StringColumn(images)
            vars(self).pop("_by_file", None)
        return len(found), problems

    def look_up(self, file: str) -> tuple[Annotation | None, bytes | None]:
        image = self._by_file.get(file)
        if image is None or unsafe_path(image):
            return None, None
        with self.root.folder(".") as folder:
            item = _read(folder, image, label_path(image), None, None, self._names)
        return item.annotation, image_bytes(self.root, ".", image)

    @cached_property
    def _by_file(self) -> dict[str, str]:
        """Each image by its names in problems: its own path and its labels' path."""
        images = [image for images in self._images for image in images]
        return {label_path(image): image for image in images} | {image: image for image in images}


@dataclass(frozen=True)
class YoloTask(Task):
    """Images, and the path of each one's label file, which need not exist."""

    images: StringColumn
    labels: list[str]
    names: tuple[str, ...]

    def read(self) -> Iterator[Item]:
        safe = [None if unsafe_path(image) else image for image in self.images]
        with self.root.folder(".") as folder:
            for image, label, opener, labels in zip(
                self.images,
                self.labels,
                folder.in_order(safe),
                folder.in_order(self.labels),
                strict=True,
            ):
                if opener is None:
                    yield Item(image, Defect("path-unsafe", 0, "image", image))
                else:
                    yield _read(folder, image, label, opener, labels, self.names)


def _read(
    folder: Folder,
    image: str,
    label: str,
    opener: Opener | None,
    labels: Opener | None,
    names: Sequence[str],
) -> Item:
    """An image with its label file. Without a label file, problems name the image."""
    file = label
    try:
        with _open_labels(folder, label, labels) as stream:
            data = stream.read_all(_MAX_LABELS)
        if len(data) > _MAX_LABELS:
            raise AnnotationError("annotation-too-large", "bytes", f"> {_MAX_LABELS:,}")
    except FileNotFoundError:
        file, data = image, b""
    except UNREADABLE as error:
        return Item(file, _defect(error))
    found = read_image(folder, image, opener, image)
    if isinstance(found, Defect):
        return Item(file, found)
    try:
        annotation = parse_labels(data, names, found[1].upright)
    except AnnotationError as error:
        return Item(file, _defect(error))
    return Item(file, None, annotation, image, *found)


def _open_labels(folder: Folder, label: str, opener: Opener | None) -> OpenFile:
    try:
        return opener() if opener is not None else folder.open(label)
    except FileNotFoundError:
        for other in _spellings(label):
            with suppress(FileNotFoundError):
                return folder.open(other)
        raise


def _spellings(path: str) -> set[str]:
    """A path's other Unicode normalisations: images and labels can come from two systems."""
    return {normalize("NFC", path), normalize("NFD", path)} - {path}


def _defect(error: Exception) -> Defect:
    code, value = explain(error, "annotation")
    return Defect(code, 0, getattr(error, "field", ""), value)


def parse_labels(data: bytes, names: Sequence[str], size: tuple[int, int]) -> Annotation:
    """The rows of a label file → boxes in pixels of an image of ``size`` (width, height). Raises
    AnnotationError (``annotation-unreadable``) for bytes that are not text."""
    width, height = size
    annotation = Annotation("", float(width), float(height))
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise AnnotationError("annotation-unreadable", "", str(error)) from None
    for line in lines:
        columns = line.split()
        if not columns:
            continue
        annotation.object_count += 1
        number = annotation.object_count
        values = [_number(column) for column in columns]
        if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
            annotation.defects.append(Defect("row-malformed", number, "row", line[:80]))
        elif not all(map(math.isfinite, values)) or values[0] % 1 or values[0] < 0:
            annotation.defects.append(Defect("number-bad", number, "row", line[:80]))
        else:
            class_id = int(values[0])
            known = class_id < len(names)
            annotation.names.append(names[class_id] if known else f"class {class_id}")
            left, top, right, bottom = _bounds(values[1:])
            annotation.boxes += (left * width, top * height, right * width, bottom * height)
            annotation.difficult.append(0)
            annotation.objects.append(number)
    return annotation


def _number(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def _bounds(values: Sequence[float]) -> tuple[float, float, float, float]:
    if len(values) == 4:
        x, y, width, height = values
        edges = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    else:
        edges = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    left, top, right, bottom = (
        min(max(edge, 0.0), 1.0) if -_ROUNDING <= edge <= 1 + _ROUNDING else edge for edge in edges
    )
    return left, top, right, bottom
