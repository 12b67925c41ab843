"""YOLO folders: one text file per image, one ``class centre-x centre-y width height`` per line, in
ratios.

Source: Ultralytics' data set guide and loader. The labels of ``…/images/x.jpg`` are
``…/labels/x.txt``. An image without labels is background. A longer row is a polygon; its bounds are
the box; with ``kpt_shape`` in ``data.yaml`` the numbers behind the box are keypoints. Ratios are of
the upright image. Darknet and LabelImg keep the labels beside the images.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from recpack.columns import StringColumn
from recpack.data.annotation import Annotation, Defect
from recpack.errors import AnnotationError, DataError
from recpack.problems import Problem, count_text
from recpack.sources.base import (
    Dataset,
    Item,
    Task,
    chunks,
    image_bytes,
    read_image,
    repeated_classes,
)
from recpack.sources.recognise import holds
from recpack.sources.tails import Tails, foreign
from recpack.sources.yolo.keypoints import keypoint_count
from recpack.sources.yolo.layout import (
    MAX_TRIED,
    YoloFolder,
    files_below,
    has_rows,
    images_of,
    label_path,
)
from recpack.storage.explain import explain
from recpack.storage.limits import MAX_ANNOTATION
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Folder, Head, Tree

_TRIED = 20
"""Label files that are read to see whether their rows have keypoints, and images of a list."""
_ROUNDING = 2e-6
"""Ratios: with six decimals, an edge on the image's border can lie this far outside it."""
_PIXELS = 2.0
"""A number from here on is no ratio with an error, but pixels or per cent."""


class YoloDataset(Dataset):
    """The image sets of a YOLO folder."""

    def __init__(self, root: Tree, layout: YoloFolder, problems: Sequence[Problem] = ()) -> None:
        if not layout.names:
            raise DataError(
                f"{root}: no data.yaml or classes.txt with the class names; name them in the "
                "order of their ids with --classes a,b,c"
            )
        self.root = root
        self.image_sets = list(layout.sets)
        self._layout = layout
        self._images: list[StringColumn] = []
        self._repeated: dict[str, None] = {}
        for paths in layout.sets.values():
            images = StringColumn(images_of(root, paths))
            repeated = dict.fromkeys(images.repeated())
            self._images.append(StringColumn(dict.fromkeys(images)) if repeated else images)
            self._repeated |= repeated
        self.counts = [len(images) for images in self._images]
        self.classes = list(dict.fromkeys(layout.names))
        self._problems = list(problems)
        self._tails = Tails(root, ".", lambda: chain.from_iterable(self._images))
        self._settle_first(layout)
        if not len(self):
            raise DataError(f"{root}: there are no images in {', '.join(layout.sets)}")

    def listed_folders(self) -> set[str]:
        """The folders at the top that the first images of lists lie in; those of other lists
        probably do too."""
        sets = zip(self._images, self._layout.sets.values(), strict=True)
        listed = (images for images, paths in sets if all(path.endswith(".txt") for path in paths))
        first = chain.from_iterable(islice(images, _TRIED) for images in listed)
        return {image.partition("/")[0] if "/" in image else "." for image in first}

    def problems(self) -> list[Problem]:
        """Those of the layout; images that are listed twice (they are packed once), labels without
        an image or with several, one name for several ids, a wrong number of classes, and keypoints
        that nothing declares."""
        layout = self._layout
        found = list(self._problems)
        found += [Problem("image-repeated", "warning", image, "kept") for image in self._repeated]
        found += repeated_classes(layout.source, enumerate(layout.names))
        if layout.count not in (None, len(layout.names)):
            value = f"{layout.count}, but there are {count_text(len(layout.names), 'name')}"
            found.append(Problem("class-count", "error", layout.source, "error", 0, "nc", value))
        count = 0 if layout.keypoints else keypoint_count(self._first_rows())
        if count:
            file, value = layout.source or ".", f"kpt_shape: [{count}, 2]"
            found.append(Problem("keypoints-likely", "warning", file, "kept", value=value))
        for images, paths in zip(self._images, layout.sets.values(), strict=True):
            labels = StringColumn(map(label_path, images))
            for file in dict.fromkeys(labels.repeated()):
                if holds(self.root, file):
                    found.append(Problem("image-ambiguous", "warning", file, "kept"))
            unused = (self._unused_labels(labels, path) for path in paths)
            found += dict.fromkeys(chain.from_iterable(unused))
        return found

    def _first_rows(self) -> Iterator[list[float]]:
        """The rows of the first label files."""
        images = islice(chain.from_iterable(self._images), _TRIED)
        with self.root.folder(".") as folder:
            for image in images:
                data = _read_labels(folder, label_path(image))
                with suppress(ValueError):
                    lines = data.decode().splitlines() if isinstance(data, bytes) else ()
                    yield from (list(map(float, line.split())) for line in lines if line.strip())

    def _unused_labels(self, expected: StringColumn, path: str) -> Iterator[Problem]:
        """The label files of a folder of images that have no image."""
        folder = posixpath.dirname(label_path(f"{path}/x")) or "."
        if not (self.root.is_folder(path) and self.root.is_folder(folder)):
            return
        labels = StringColumn(files_below(self.root, folder, (".txt",)))
        extra = np.flatnonzero(~np.isin(_hashes(labels), _hashes(expected))).tolist()
        for rank, i in enumerate(extra):
            # a few can be lists and notes
            if rank >= MAX_TRIED or has_rows(self.root, labels[i]):
                yield Problem("annotation-unused", "warning", labels[i], "left out")

    def tasks(self) -> Iterator[Task]:
        for rank, images in enumerate(self._images):
            for chunk in chunks(len(images)):
                yield self._task(rank, images[chunk])

    def _task(self, rank: int, images: StringColumn) -> YoloTask:
        labels = [label_path(image) for image in images]
        spellings = chain.from_iterable(map(_spellings, labels))
        root = self.root.only(chain(images, labels, spellings))
        return YoloTask(root, rank, images, labels, self._layout)

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

    def _settle_first(self, layout: YoloFolder) -> None:
        """Find the images of lists that were written elsewhere in one step, not task by task.
        Darknet and CVAT write paths from another folder (``data/obj_train_data/1.jpg``)."""
        for rank, (images, paths) in enumerate(
            zip(self._images, layout.sets.values(), strict=True)
        ):
            if not len(images) or all(map(self.root.is_folder, paths)):
                continue
            moved = not holds(self.root, images[0])
            if moved or foreign(images):
                wanted = {image: image for image in images if moved or foreign([image])}
                _, found = self._settle(rank, slice(len(images)), wanted)
                self._problems += [one for one in found if one.severity != "error"]

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
            data = _read_labels(folder, label_path(image))
            item = _read(folder, image, label_path(image), None, data, self._layout)
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
    layout: YoloFolder

    def read(self) -> Iterator[Item]:
        safe = [None if unsafe_path(image) else image for image in self.images]
        labels = [image and label for image, label in zip(safe, self.labels, strict=True)]
        with self.root.folder(".") as folder:
            for image, label, head, data in zip(
                self.images,
                self.labels,
                folder.heads(safe),
                folder.contents(labels, MAX_ANNOTATION),
                strict=True,
            ):
                if head is None:
                    yield Item(image, Defect("path-unsafe", 0, "image", image))
                else:
                    data = _read_labels(folder, label, data)
                    yield _read(folder, image, label, head, data, self.layout)


def _read(
    folder: Folder,
    image: str,
    label: str,
    head: Head | Exception | None,
    data: bytes | Exception,
    layout: YoloFolder,
) -> Item:
    """An image, and ``data``, what was read of its label file. Without a label file, problems name
    the image."""
    file = label
    missing = []
    if isinstance(data, FileNotFoundError):
        file, data, missing = image, b"", [Defect("labels-missing")]
    elif isinstance(data, Exception):
        return Item(file, _defect(data))
    found = read_image(folder, image, head, image)
    if isinstance(found, Defect):
        return Item(file, found)
    try:
        annotation = parse_labels(data, layout, found[1].upright)
    except AnnotationError as error:
        return Item(file, _defect(error))
    annotation.defects += missing
    return Item(file, None, annotation, image, *found)


def _hashes(names: Iterable[str]) -> npt.NDArray[np.int64]:
    return np.fromiter((hash(normalize("NFC", name)) for name in names), np.int64)


def _read_labels(
    folder: Folder, label: str, found: bytes | Exception | None = None
) -> bytes | Exception:
    """The bytes of a label file, or why it can't be read. ``found`` is what its path gives; another
    spelling is tried only where there is no file."""
    paths = [label] if found is None else []
    if found is None or isinstance(found, FileNotFoundError):
        for found in folder.contents([*paths, *_spellings(label)], MAX_ANNOTATION):
            if not isinstance(found, FileNotFoundError):
                break
    assert found is not None
    return found


def _spellings(path: str) -> set[str]:
    """A path's other Unicode normalisations: images and labels can come from two systems."""
    return {normalize("NFC", path), normalize("NFD", path)} - {path}


def _defect(error: Exception) -> Defect:
    code, value = explain(error, "annotation")
    return Defect(code, 0, getattr(error, "field", ""), value)


def parse_labels(data: bytes, layout: YoloFolder, size: tuple[int, int]) -> Annotation:
    """The rows of a label file → boxes in pixels of an image of ``size`` (width, height). Of the
    ``layout``, ``names``, ``source`` and ``keypoints`` count. Raises AnnotationError
    (``annotation-unreadable``) for bytes that are not text."""
    width, height = size
    annotation = Annotation("", float(width), float(height))
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise AnnotationError("annotation-unreadable", "", str(error)) from None
    names = layout.names
    polygons = 0
    for at, line in enumerate(lines, 1):
        columns = line.split()
        if not columns:
            continue
        annotation.object_count += 1
        number = annotation.object_count
        values = [_number(column) for column in columns]
        if layout.keypoints and len(values) == 5 + layout.keypoints:
            del values[5:]
        code, field, value = "", "row", line[:80]
        if not _is_row(len(values), layout.keypoints):
            code = "row-malformed"
        elif not all(map(math.isfinite, values)) or values[0] % 1 or values[0] < 0:
            code = "number-bad"
        elif values[0] >= len(names):
            code, field = "class-undefined", "class id"
            value = f"{columns[0]} (line {at}; {layout.source}: {count_text(len(names), 'name')})"
        elif _has_keypoints(values):
            code = "row-malformed"
        elif max(values[1:]) >= _PIXELS:
            code = "box-pixels"
        if code:
            annotation.defects.append(Defect(code, number, field, value))
        else:
            polygons += len(values) > 5
            annotation.names.append(names[int(values[0])])
            left, top, right, bottom = _bounds(values[1:])
            annotation.boxes += (left * width, top * height, right * width, bottom * height)
            annotation.difficult.append(0)
            annotation.objects.append(number)
    if polygons:
        value = count_text(polygons, "object")
        annotation.defects.append(Defect("box-from-polygon", 0, "", value))
    return annotation


def _is_row(length: int, keypoints: int) -> bool:
    """Whether a row can have so many numbers: a box, or a polygon where no keypoints are."""
    return length == 5 or (not keypoints and length >= 7 and length % 2 == 1)


def _has_keypoints(values: Sequence[float]) -> bool:
    """Whether a row of a polygon's length looks like a box and keypoints x, y, visibility."""
    flags = values[7::3]
    return (
        len(values) % 3 == 2
        and len(flags) > 1
        and set(flags) <= {0.0, 1.0, 2.0}
        and (2.0 in flags or len(flags) > 3)
        and max(*values[1:5], *values[5::3], *values[6::3]) <= 1
    )


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
