"""YOLO folders: a text file an image, ``class centre-x centre-y width height`` a line, in ratios.

Source: Ultralytics' data set guide, and what its loader does: the labels of ``…/images/x.jpg`` are
``…/labels/x.txt``, an image without labels is background, a longer row is a polygon whose bounds
are taken, and ratios are of the upright image. Darknet and LabelImg keep the labels beside the
images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from recpack.annotation import Annotation, Defect
from recpack.config import Options
from recpack.errors import AnnotationError, DataError
from recpack.judge import Judge
from recpack.lst import unsafe_path
from recpack.problems import Action, Problem
from recpack.sources.dataset import Dataset, Task, chunks, image_bytes, read_image
from recpack.sources.yolo_layout import images_of, label_path
from recpack.texts import Texts
from recpack.trees.base import Opener, Tree

_MAX_LABELS = 16 << 20
_ROUNDING = 2e-6
"""How far an edge on the image's border may be beside it, of ratios with six decimals."""


class YoloDataset(Dataset):
    """Image sets of a YOLO folder: where their images are, by name. ``names`` are the classes by
    id: the folder's own, or those that were asked for where it tells none."""

    def __init__(self, root: Tree, sets: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
        if not names:
            raise DataError(
                f"{root}: no data.yaml or classes.txt tells the names of classes; name them in the "
                "order of their ids with --classes a,b,c"
            )
        self.root = root
        self.image_sets = list(sets)
        self._images = [Texts(images_of(root, places)) for places in sets.values()]
        self.counts = [len(images) for images in self._images]
        self.classes = list(dict.fromkeys(names))
        self._names = tuple(names)
        if not len(self):
            raise DataError(f"{root}: there are no images in {', '.join(sets)}")

    def tasks(self) -> Iterator[Task]:
        for rank, images in enumerate(self._images):
            for chunk in chunks(len(images)):
                part = images[chunk]
                labels = [label_path(image) for image in part]
                root = self.root.only([*part, *labels])
                yield YoloTask(root, rank, part, labels, self._names)

    def problems(self, action: Action) -> list[Problem]:
        del action
        return []

    def look_up(self, file: str) -> tuple[Annotation | None, bytes | None]:
        image = self._by_file.get(file)
        if image is None or unsafe_path(image):
            return None, None
        judge = Judge(Options())
        with self.root.folder(".") as folder:
            data = _label_bytes(partial(folder.open, label_path(image)), file, judge)
            found = read_image(folder, image, None, judge, image)
        if data is None or found is None:
            return None, image_bytes(self.root, ".", image)
        try:
            annotation = parse_labels(data, self._names, found[1].upright)
        except AnnotationError:
            annotation = None
        return annotation, image_bytes(self.root, ".", image)

    @cached_property
    def _by_file(self) -> dict[str, str]:
        """Each image by what problems may call it."""
        images = [image for images in self._images for image in images]
        return {label_path(image): image for image in images} | {image: image for image in images}


@dataclass(frozen=True)
class YoloTask(Task):
    """Images, and where the labels of each would be."""

    images: Texts
    labels: list[str]
    names: tuple[str, ...]

    def judge(self, judge: Judge) -> int:
        safe = [None if unsafe_path(image) else image for image in self.images]
        with self.root.folder(".") as folder:
            for image, label, opener, labels in zip(
                self.images,
                self.labels,
                folder.in_order(safe),
                folder.in_order(self.labels),
                strict=True,
            ):
                judge.start(image)
                if opener is None:
                    judge.note("path-unsafe", "error", field="image", value=image)
                    continue
                assert labels is not None
                data = _label_bytes(labels, label, judge)
                found = None if data is None else read_image(folder, image, opener, judge, image)
                if data is None or found is None:
                    continue
                try:
                    annotation = parse_labels(data, self.names, found[1].upright)
                except AnnotationError as error:
                    judge.note(error.code, "error", field=error.field, value=error.value)
                else:
                    judge.add(annotation, image, *found)
        return len(self.images)


def _label_bytes(opener: Opener, label: str, judge: Judge) -> bytes | None:
    """An image's label file, empty where there is none; None, and a problem noted, when it can't
    be read. Problems are the label file's from now on."""
    try:
        with opener() as file:
            judge.start(label)
            data = file.whole(_MAX_LABELS)
    except FileNotFoundError:
        return b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        judge.note("annotation-unreadable", "error", value=reason)
        return None
    if len(data) > _MAX_LABELS:
        judge.note("annotation-too-large", "error", field="bytes", value=f"> {_MAX_LABELS:,}")
        return None
    return data


def parse_labels(data: bytes, names: Sequence[str], size: tuple[int, int]) -> Annotation:
    """The rows of a label file → boxes in pixels of an image of ``size`` (width, height). Raises
    AnnotationError (``annotation-unreadable``) for bytes that are no text."""
    width, height = size
    annotation = Annotation("", float(width), float(height))
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise AnnotationError("annotation-unreadable", "", str(error)) from None
    for line in lines:
        words = line.split()
        if not words:
            continue
        annotation.object_count += 1
        number = annotation.object_count
        values = [_number(word) for word in words]
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


def _number(word: str) -> float:
    try:
        return math.nan if "_" in word else float(word)
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
